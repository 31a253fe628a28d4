"""Work in a child process that must say how it ended, so that nothing the user's code does there passes for a success.

Code of the user's can end its process in ways that no Python catches: from a thread, by a signal, in a C library; and
it can hang where nothing interrupts it. The parent waits for a word, and takes anything else for a failure.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from rltf.support import user_code
from rltf.support.errors import Stopped, TaskHung, UserError
from rltf.support.guarded import die_with_parent

_GRACE = 5.0
"""Seconds that a call has to end once it was interrupted at its limit."""
_LOOK = 0.1
"""Seconds between two looks at whether the child is there: one of its own children may hold the pipe open."""
_NEVER = float("inf")


def watched(work: Callable[[], Any], seconds: float, subject: str) -> Any:
    """What `work` returns, of what JSON can hold, done in a fork of this process without standard input.

    Its calls of the user's code have a limit of `seconds`, and so has its end. Raises the `UserError` or `OSError` that
    it raises; `TaskHung` where a call goes on past its limit or the end does not come; `UserError` where the process
    ends in any other way. `subject` names what is worked on.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a program may be started without
        stream.flush()
    reading, writing = os.pipe()
    word = secrets.token_hex(8)
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reading)
        _work(work, _Reports(writing, word), parent, seconds)
    os.close(writing)
    try:
        return _Watch(child, reading, word, seconds, subject).outcome()
    finally:
        os.close(reading)


class _Reports:
    """What the child says to its parent: lines of JSON that begin with a word which only the two know.

    Where the user's code closed the pipe, nothing is said, and the parent takes that for what it is.
    """

    def __init__(self, pipe: int, word: str) -> None:
        self._pipe, self._word = pipe, word

    def __call__(self, kind: str, *said: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(self._pipe, json.dumps([self._word, kind, *said]).encode() + b"\n")


def _work(work: Callable[[], Any], report: _Reports, parent: int, seconds: float) -> NoReturn:
    # A session of its own: Ctrl-C reaches the parent alone, which ends all that belongs to the child.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent(parent)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # The first to be registered is the last to run.
    atexit.register(report, "over")
    user_code.report_to(report)
    try:
        with user_code.time_limit(seconds):
            value = work()
        report("result", value)
    except UserError as error:
        report("hung" if isinstance(error, TaskHung) else "wrong", str(error))
    except OSError as error:
        report("system", error.errno, error.strerror, error.filename)
    except SystemExit as error:
        # Of ours, such as where nobody reads what is printed: a call of the user's code raises another error instead.
        if error.code and not isinstance(error, Stopped):
            report("exit", error.code)
        else:
            report("left", f"a {type(error).__name__}")
    except KeyboardInterrupt as error:
        # Nobody but the user's code raises these here.
        report("left", f"a {type(error).__name__}")
    raise SystemExit(0)


class _Watch:
    """The parent's side."""

    def __init__(self, child: int, pipe: int, word: str, seconds: float, subject: str) -> None:
        self._child, self._pipe, self._word, self._seconds, self._subject = child, pipe, word, seconds, subject
        self._buffer = b""
        self._calls: list[str] = []
        """The calls of the user's code that the child is in, by what they are about."""
        self._limit, self._deadline = seconds, _NEVER
        self._left = ""
        self._over = False
        self._last: tuple[str, list[Any]] | None = None

    def outcome(self) -> Any:
        status: int | None = None
        try:
            while status is None:
                closed = self._listen(_LOOK)
                pid, found = os.waitpid(self._child, os.WNOHANG)
                if pid:
                    status = os.waitstatus_to_exitcode(found)
                elif time.monotonic() > self._deadline:
                    raise TaskHung(self._hung())
                elif closed:
                    # A program that took the child's place, or a child that closed all: it has the time of one call.
                    self._deadline = min(self._deadline, time.monotonic() + self._seconds)
                    time.sleep(_LOOK)
        finally:
            if status is None:
                self._end()
        while not self._listen(0):
            pass
        if status != 0 or not self._over or self._last is None:
            raise UserError(self._ended(status))
        kind, said = self._last
        if kind == "hung":
            raise TaskHung(said[0])
        if kind == "wrong":
            raise UserError(said[0])
        if kind == "system":
            raise OSError(*said)
        if kind == "exit":
            raise SystemExit(said[0])
        return said[0]

    def _end(self) -> None:
        for kill in (os.killpg, os.kill):
            try:
                kill(self._child, signal.SIGKILL)
            except OSError:  # killed before it had a session
                continue
        os.waitpid(self._child, 0)

    def _listen(self, seconds: float) -> bool:
        """Reads what there is, waiting so long for it; whether there is no more to come at present."""
        if not select.select([self._pipe], [], [], seconds)[0]:
            return seconds == 0
        read = os.read(self._pipe, 65536)
        *lines, self._buffer = (self._buffer + read).split(b"\n")
        for line in lines:
            self._hear(line)
        return not read

    def _hear(self, line: bytes) -> None:
        try:
            word, kind, *said = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            return
        if word != self._word:
            return
        if kind == "begin":
            self._calls.append(said[0])
            self._limit, self._deadline = said[1], time.monotonic() + said[1] + _GRACE
        elif kind == "end":
            self._calls.pop()
            self._deadline = _NEVER
        elif kind == "left":
            self._left = said[0]
        elif kind == "over":
            self._over = True
        else:
            self._last = kind, said
            self._deadline = time.monotonic() + self._seconds

    def _hung(self) -> str:
        if self._calls:
            return f"{self._calls[-1]}: took longer than {self._limit:g} seconds, and could not be interrupted"
        return (
            f"{self._subject}: the process did not end within {self._seconds:g} seconds: a thread or a function of "
            "atexit, begun by the task's code, goes on"
        )

    def _ended(self, status: int) -> str:
        how = f"with status {status}"
        if status < 0:
            how = f"by {signal.Signals(-status).name}" if -status in set(signal.Signals) else f"by signal {-status}"
        if self._left:
            how = f"by {self._left}"
        when = "as it was ending" if self._last is not None else "before all was checked"
        if self._calls:
            when = f"during {self._calls[-1]}"
        return f"{self._subject}: the process was ended {how} {when}; a task must never end the program"
