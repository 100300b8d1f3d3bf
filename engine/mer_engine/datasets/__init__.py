"""Labelled music from disk. Needs no torch."""
