"""What `realtime-mer bench` measures."""
