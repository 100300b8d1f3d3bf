"""The configuration file: its tables and keys, the settings that they make, and its changes."""
