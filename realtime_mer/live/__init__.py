"""Live streams: threads, sessions, losses, and the distribution of estimates to subscribers."""
