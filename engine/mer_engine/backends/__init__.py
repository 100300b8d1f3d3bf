"""Backends: one module for each way to run the network."""
