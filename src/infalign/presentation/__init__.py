"""Figures, claims and the report; reads tables only."""
