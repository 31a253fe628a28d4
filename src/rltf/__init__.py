"""Reinforcement learning from text feedback.

Importing this package, its settings, tasks, objectives and reports does not import torch.
"""

__version__ = "0.1.0"
