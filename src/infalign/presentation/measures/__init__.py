"""Kinds of claims that need no study."""
