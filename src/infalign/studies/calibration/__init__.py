"""Calibration from few rollouts and with few anchors."""
