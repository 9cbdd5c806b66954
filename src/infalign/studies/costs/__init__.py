"""What a run would cost, from its configuration alone."""
