"""The engine `torch`."""
