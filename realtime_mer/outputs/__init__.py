"""Outputs of estimates: terminal, recording, table, plot."""
