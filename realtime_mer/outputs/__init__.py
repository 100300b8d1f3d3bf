"""Where estimates go."""
