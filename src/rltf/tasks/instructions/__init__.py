"""Writing and answering under constraints that a program checks."""

from rltf.tasks.instructions.task import Instructions

__all__ = ["Instructions"]
