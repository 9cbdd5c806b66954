"""Which exponential transform is best for little and much inference-time compute."""
