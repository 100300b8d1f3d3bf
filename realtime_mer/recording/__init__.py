"""Recordings of sessions: folders that `--record` writes and `replay` and `report` read."""
