"""Three estimates of the KL."""
