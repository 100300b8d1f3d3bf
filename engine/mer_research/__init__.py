"""Research code that the product does not need: the paper's networks and experiments."""
