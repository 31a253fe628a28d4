"""The exceptions whose message is shown to the user without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can mend. The message is one line: what is wrong, where, and the mend."""


class Stopped(SystemExit):
    """The user wants the program to end at once.

    Not a KeyboardInterrupt, which libraries take for their own, but of a kind that event loops let through.
    """


class EngineLost(UserError):
    """A server that samples and trains is not there any more. A run can be resumed once it is again."""


class RunStopped(UserError):
    """The run must not go on: it ends in good order, to be resumed."""


class FeedbackStopped(RunStopped):
    """Not without feedback, or without more money."""


class TaskFailed(RunStopped):
    """Not with a task of the user's that raises, or that returns what it must not: no reward can be known."""


class TaskHung(TaskFailed):
    """Nor with one that does not come to an end."""
