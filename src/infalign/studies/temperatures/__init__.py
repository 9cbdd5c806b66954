"""Sampling temperatures at evaluation."""
