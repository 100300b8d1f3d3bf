"""Training: from labelled music to a model file."""
