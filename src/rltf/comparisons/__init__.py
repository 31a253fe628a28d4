"""Several runs side by side: which to make, and what they say together."""
