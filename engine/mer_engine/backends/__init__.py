"""One file per way to run the network."""
