"""What `realtime-mer bench` measures: one file per question."""
