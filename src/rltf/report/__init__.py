"""A run as a page: what it learned, and why."""
