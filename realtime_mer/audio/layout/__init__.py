"""What a music file holds, by a scan of its container that is independent of the decoder."""
