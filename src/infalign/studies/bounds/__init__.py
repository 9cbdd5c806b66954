"""The lower bound of variational best-of-N."""
