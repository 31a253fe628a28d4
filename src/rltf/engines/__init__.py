"""Engines: each holds one policy, samples from it and trains it."""
