"""Libraries of music: one row a file, tables of them, what is made from these."""
