"""Calls of code that the user wrote: trusted, but not to end the program without a word, nor to run for ever."""

from __future__ import annotations

import atexit
import contextlib
import os
import posix
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rltf.support.side_by_side import in_calling_thread

R = TypeVar("R")
_AGAIN = 1.0
_LEAVING = ("_exit", "execv", "execve")
_STATUS = 3


class TookTooLong(Exception):
    """A call was still running at the limit."""


class _Interrupted(BaseException):
    """Not an `Exception`, which the interrupted code may catch."""


class _Here(threading.local):
    calls = 0
    """How many calls of the user's code this thread is in."""


_here = _Here()
_limit: list[float] = []
_reports: list[Callable[..., None]] = []
"""Who is told of each call, and of an end of the process that no call can raise: at most one."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Within it, every call of the user's code has so many seconds. Only the innermost limit counts."""
    _limit.append(seconds)
    try:
        yield
    finally:
        _limit.pop()


def report_to(report: Callable[..., None]) -> None:
    """From now on, `report("begin", place, seconds)` and `report("end")` tell of each call that has a limit, and
    `report("left", by)` of a thread, or a function of atexit, that ends the process.

    What is registered now is the last to run of what is registered from now on: then the program is at its end.
    """
    _reports[:] = [report]
    atexit.register(_reports.clear)


def say_who_ends_the_program() -> None:
    """From now on, a thread or a function of atexit that ends this process says so on stderr; the status is 3.

    For a program of ours alone: what a notebook's process does at its end is not for us to change.
    """

    def report(kind: str, *said: Any) -> None:
        if kind == "left":
            line = f"rltf: {said[0]} ended the program, in a thread or a function of atexit; no file may do so"
            os.write(2, f"{line}\n".encode())

    report_to(report)


def call_user_code(call: Callable[[], R], share: int = 1, place: str = "") -> R:
    """The result of a call, which has the limit `share` times; `place` says what it is about.

    Raises what the call raises, `SystemExit` where it calls `os._exit` or `os.execv`, and `TookTooLong`.
    """
    return in_calling_thread(lambda: _called(call, share, place))


def _called(call: Callable[[], R], share: int, place: str) -> R:
    _catch_exits()
    _here.calls += 1
    try:
        if not _limit:
            return call()
        seconds = _limit[-1] * share
        with _interrupted_after(seconds, place):
            return call()
    except _Interrupted as error:
        raise TookTooLong(f"took longer than {seconds:g} seconds").with_traceback(error.__traceback__) from None
    finally:
        _here.calls -= 1


@contextlib.contextmanager
def _interrupted_after(seconds: float, place: str) -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise _Interrupted

    for report in _reports:
        report("begin", place, seconds)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, interrupt) if main else None
    try:
        if main:
            # Again and again: the code may catch the interruption itself.
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        yield
    finally:
        if main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        for report in _reports:
            report("end")


def _catch_exits() -> None:
    """Has what ends this process at once raise in a call of the user's code: the run would end as if all were well."""
    if getattr(os._exit, "raises", False):
        return
    leave, owner = os._exit, os.getpid()

    def caught(name: str) -> Callable[..., Any]:
        function = getattr(os, name)

        def raise_or_leave(*arguments: Any) -> Any:
            # A child that the user's code forks ends as it likes.
            if os.getpid() == owner:
                shown = f"os.{name}({', '.join(map(repr, arguments[:1]))})"
                if _here.calls:
                    raise SystemExit(shown)
                for report in _reports:
                    report("left", shown)
                    leave(_STATUS)
            return function(*arguments)

        raise_or_leave.raises = True  # type: ignore[attr-defined]
        return raise_or_leave

    for name in _LEAVING:
        replacement = caught(name)
        for module in (os, posix):
            setattr(module, name, replacement)
