"""Accuracy of a model on labelled songs, as `realtime-mer evaluate` measures it."""
