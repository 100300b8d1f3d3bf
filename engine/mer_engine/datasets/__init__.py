"""Labelled music on disk: loaders for the supported formats. Needs no torch."""
