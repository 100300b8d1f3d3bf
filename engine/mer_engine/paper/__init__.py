"""What the paper's own protocol needs and the live tracker does not."""
