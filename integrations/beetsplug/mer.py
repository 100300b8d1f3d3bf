"""The beets plugin `mer`: mood fields for the tracks of a beets library."""
