"""The engine `tinker` against a real SkyRL server on this machine: `python -m tests.real_skyrl`."""
