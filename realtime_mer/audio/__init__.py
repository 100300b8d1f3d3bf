"""Audio sources: one module per kind of input."""
