"""The multi-task theorem."""
