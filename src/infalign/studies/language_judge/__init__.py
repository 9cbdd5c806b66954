"""A language model as a further judge."""
