"""The computation from samples to estimates: no thread, no socket, no clock of its own."""
