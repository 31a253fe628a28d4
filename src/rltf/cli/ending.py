"""How a command ends before its end: one line for an error, a signal that stops at once or once all is saved."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NoReturn

from rich.console import Console

from rltf.runs.report import plain
from rltf.support.errors import Stopped


def fail(message: str, status: int = 2) -> NoReturn:
    """Ends the program with one line on stderr."""
    line = " ".join(message.split())
    Console(stderr=True, soft_wrap=True).print(plain(f"rltf: {line}"))
    raise SystemExit(status)


def stop_at_once(number: int, frame: object) -> NoReturn:
    """A signal handler."""
    raise Stopped


class StopSignal:
    """Ctrl-C asks for a stop at the next point where all is saved; a second one stops at once."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._asked = False

    def install(self) -> None:
        """Takes over SIGINT and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def _handle(self, number: int, frame: object) -> None:
        if self._asked:
            raise Stopped
        self._asked = True
        self._announce()
