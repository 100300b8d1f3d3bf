"""Where music comes from: one file per kind of source."""
