"""Research that the product does not need: the networks of the paper and its experiments."""
