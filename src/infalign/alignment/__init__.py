"""Rewards to maximise and the methods that maximise them."""
