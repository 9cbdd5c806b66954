"""Judges of several sizes."""
