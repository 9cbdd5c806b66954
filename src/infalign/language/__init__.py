"""Corpora, models, generation and scoring."""
