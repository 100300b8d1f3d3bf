"""Measurements behind `realtime-mer bench`."""
