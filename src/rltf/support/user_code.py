"""Calls of code that the user wrote: trusted, but not to end the program without a word, nor to run for ever."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

R = TypeVar("R")
_AGAIN = 1.0
_GRACE = 20.0
"""Seconds after which a call that cannot be interrupted ends the program, with a traceback."""


class TookTooLong(Exception):
    """A call was still running at the limit."""


class _Interrupted(BaseException):
    """Not an `Exception`, which the interrupted code may catch."""


class _Here(threading.local):
    calls = 0
    """How many calls of the user's code this thread is in."""


_here = _Here()
_limit: list[float] = []


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Within it, every call of the user's code has so many seconds. Only the innermost limit counts."""
    _limit.append(seconds)
    try:
        yield
    finally:
        _limit.pop()


def call_user_code(call: Callable[[], R], share: int = 1) -> R:
    """The result of a call, which has the limit `share` times.

    Raises what the call raises, `SystemExit` where it calls `os._exit`, and `TookTooLong`.
    """
    _catch_exits()
    _here.calls += 1
    try:
        if not _limit:
            return call()
        seconds = _limit[-1] * share
        with _interrupted_after(seconds):
            return call()
    except _Interrupted as error:
        raise TookTooLong(f"took longer than {seconds:g} seconds").with_traceback(error.__traceback__) from None
    finally:
        _here.calls -= 1


@contextlib.contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise _Interrupted

    # What holds the interpreter, in C, cannot be interrupted but by the end of the process.
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(seconds + _GRACE, exit=True, file=sys.__stderr__)
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
        faulthandler.cancel_dump_traceback_later()


def _catch_exits() -> None:
    """Has `os._exit` raise in a call of the user's code, in this process: it would end the run as if all were well."""
    if getattr(os._exit, "raises", False):
        return
    leave, owner = os._exit, os.getpid()

    def exit_or_raise(status: int) -> None:
        if _here.calls and os.getpid() == owner:
            raise SystemExit(f"os._exit({status})")
        leave(status)

    exit_or_raise.raises = True  # type: ignore[attr-defined]
    os._exit = exit_or_raise  # type: ignore[assignment]
