"""What the settings of every task have."""

from __future__ import annotations

from typing import ClassVar

from rltf.config.section import Section


class TaskSection(Section):
    """The settings of a task."""

    implementation: ClassVar[str]
    """`module:name` of the task's class, or of what makes it; it takes the fields as keyword arguments."""
    special_levels: ClassVar[frozenset[str]] = frozenset()
    """Levels of feedback (`feedback.level`) that this task gives beside those that all tasks give."""
    local_files: ClassVar[tuple[str, ...]] = ()
    """Fields that may name a file of the user's: a run keeps its full path, and notices when it changes."""

    @property
    def judged(self) -> bool:
        """Whether a judge scores attempts, at least in part, as no program can."""
        return False
