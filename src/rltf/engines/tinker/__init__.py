"""The engine `tinker`: a server of the Tinker API samples and trains."""
