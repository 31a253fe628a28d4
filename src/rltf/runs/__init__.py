"""A run: its directory, its trainer, its report, and the way from settings to objects."""
