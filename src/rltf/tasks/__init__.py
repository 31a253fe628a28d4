"""Tasks: families of problems with a scorer and rule-based feedback."""

from rltf.tasks.base import FeedbackLevel, Task
from rltf.tasks.binary_matrix import BinaryMatrix

__all__ = ["BinaryMatrix", "FeedbackLevel", "Task"]
