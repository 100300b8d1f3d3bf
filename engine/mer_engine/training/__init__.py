"""Training: data sets, fitting, metrics, export. Needs the `train` extra."""
