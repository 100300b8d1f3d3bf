"""Training: data sets, teacher, fitting, calibration, metrics, export. Needs the `train` extra."""
