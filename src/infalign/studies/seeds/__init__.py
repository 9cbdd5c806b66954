"""Seeds of training."""
