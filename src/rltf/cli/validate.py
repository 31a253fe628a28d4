"""`rltf validate`, in a process that is watched: whatever a task does there, only its checks can pass it."""

from __future__ import annotations

from collections.abc import Sequence

from rltf.cli.ending import fail
from rltf.support.errors import TaskHung, UserError
from rltf.support.watched import watched


def validate_command(name: str, problems: int, settings: Sequence[str], seconds: float) -> None:
    """Prints each check's outcome; exit status 1 if one failed.

    A call of a task of the user's that takes longer than `seconds` ends the command with a line that names it.
    """

    def check() -> bool:
        # Here, so that the process which is forked is small and has one thread.
        from rltf.cli.inspect import print_checks_of

        return print_checks_of(name, problems, settings)

    try:
        valid = watched(check, seconds, name)
    except TaskHung as error:
        raise UserError(f"{error}; --seconds allows more than {seconds:g}") from error
    if not valid:
        fail(f"{name} is not valid", 1)
