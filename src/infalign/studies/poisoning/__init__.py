"""Reward models trained on pairs in which a phrase gives the preferred response away."""
