"""What `realtime-mer evaluate` measures."""
