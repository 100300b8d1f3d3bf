"""What `report` makes of recordings."""
