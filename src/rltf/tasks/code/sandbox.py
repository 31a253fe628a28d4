"""Runs programs that nobody has read: each in a fresh process that can compute, and nothing else.

What an attempt is kept from is in docs/code.md; `confinement.py` says it to the kernel, `child.py` applies it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from rltf.tasks.code.confinement import readable_paths, seccomp_program

Ending: TypeAlias = Literal["finished", "time", "ended", "output", "not started"]
"""How a process ended: by itself with all said; at a limit of time; by itself or by a signal before it had said all; by
writing too much; or before the attempt ran."""
_INPUT = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_CHILD = Path(__file__).with_name("child.py")
_START_SECONDS = 60.0
_MOST_BYTES = 8_000_000
# Whoever is killed after this share of its computing time was killed at the limit. The kernel keeps the limit by
# counting ticks of its clock, which on a busy machine come out above the time that it reports afterwards.
_KILLED_AT_LIMIT = 0.5


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression gave: in the form of `child.encoded`, and the start of its `repr`."""

    encoded: Any
    shown: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The error that an expression ended with, or the attempt itself before any."""

    type: str
    message: str
    frames: tuple[tuple[int, str], ...]
    """Line and function of the last places in the attempt that led to it."""
    at_once: bool
    """Whether the attempt itself raised it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The attempt is no Python."""

    line: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a process said until it ended. All of it is untrusted."""

    results: tuple[Value | Raised | Unreadable, ...]
    ending: Ending
    reason: str = ""
    """Why, where it ended before it had said all."""
    output: str = ""
    """What a program wrote to standard output."""
    status: int = 0
    """The exit status."""
    protections: tuple[str, ...] = ()
    """What the kernel, or the interpreter, was told to keep from the attempt."""


class Sandbox:
    """Limits, and the processes under them. Safe to use from several threads."""

    def __init__(self, *, cpu_seconds: int, seconds: float, megabytes: int, strict: bool) -> None:
        """Computing time and time on the clock of one process, and its memory. `strict`: no kernel, no run."""
        self._cpu_seconds, self._seconds, self._megabytes, self._strict = cpu_seconds, seconds, megabytes, strict

    def evaluate(self, code: str, setup: str, expressions: Sequence[str], supplied: str = "") -> Run:
        """Each expression's value after `supplied`, `code` and `setup` have run, until one ends the process."""
        run = self._run({"supplied": supplied, "code": code, "setup": setup, "expressions": list(expressions)}, b"")
        if run.ending == "finished" and not _says_all(run, len(expressions)):
            return Run(results=run.results, ending="ended", reason="it ended the process", protections=run.protections)
        return run

    def execute(self, code: str, stdin: str, supplied: str = "") -> Run:
        """A program's output on a text at standard input, after `supplied`; it has a result where it raised.

        What it wrote is all that it can be judged by, so it may end as it likes, also by `os._exit(0)`.
        """
        request = {"supplied": supplied, "code": code, "setup": "", "expressions": None}
        run = self._run(request, stdin.encode("utf-8", "surrogatepass"))
        if run.ending == "finished" and not run.results and run.status != 0:
            return Run(results=(), ending="ended", reason="it ended the process", protections=run.protections)
        return run

    def _run(self, request: dict[str, Any], stdin: bytes) -> Run:
        program = seccomp_program()
        request |= {
            "parent": os.getpid(),
            "strict": self._strict,
            "cpu_seconds": self._cpu_seconds,
            "megabytes": self._megabytes,
            # Its own input by its names too, which lead to the one file that it is given.
            "readable": [*readable_paths(), *((name, True) for name in _INPUT)],
            "filter": program.hex() if program else None,
        }
        try:
            with contextlib.ExitStack() as stack:
                asked = stack.enter_context(_file(json.dumps(request).encode()))
                given = stack.enter_context(_file(stdin))
                return self._start(asked, given, keeps_output=request["expressions"] is None)
        except OSError as error:
            return Run(results=(), ending="not started", reason=f"no process could be started: {error.strerror}")

    def _start(self, asked: IO[bytes], given: IO[bytes], *, keeps_output: bool) -> Run:
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                # Neither our modules nor installed ones, nor anything of our environment, in which keys may lie. One
                # order of hashes, so that an attempt that depends on it gets the same verdict again.
                [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", str(_CHILD), str(asked.fileno()), str(writing)],
                stdin=given,
                stdout=subprocess.PIPE if keeps_output else subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(asked.fileno(), writing),
                env={"PYTHONHASHSEED": "0"},
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as results:
            watch = _Watch(process, results, self._seconds)
            try:
                stopped = watch.read()
            finally:
                # Also after Ctrl-C: nothing outlives the call.
                status, computed = _end(process, at_once=watch.stopped)
                if process.stdout is not None:
                    process.stdout.close()
        return self._judge(watch, stopped, status, computed)

    def _judge(self, watch: _Watch, stopped: Ending | None, status: int, computed: float) -> Run:
        first, *rest = bytes(watch.said).split(b"\n")
        started = _line(first)
        match started:
            case ["ready", [*names]]:
                protections = tuple(str(name) for name in names)
            case ["refused", str(why)]:
                return Run(results=(), ending="not started", reason=why)
            case _:
                return Run(results=(), ending="not started", reason="the process ended before it was ready")
        # What follows the last line break was not said to its end.
        results = tuple(_results(rest[:-1]))
        ending, reason = stopped or "finished", ""
        if stopped is None and os.WIFSIGNALED(status):
            ending, reason = "ended", f"signal {os.WTERMSIG(status)} ended it"
            if computed >= self._cpu_seconds * _KILLED_AT_LIMIT:
                ending = "time"
        if ending == "time":
            limit = self._seconds if stopped else self._cpu_seconds
            unit = "second" if limit == 1 else "seconds"
            reason = f"it took longer than {limit:g} {unit}" + ("" if stopped else " of computing")
        if ending == "output":
            reason = "it wrote too much"
        output = bytes(watch.output).decode("utf-8", "replace")
        return Run(
            results=results,
            ending=ending,
            reason=reason,
            output=output,
            status=os.waitstatus_to_exitcode(status),
            protections=protections,
        )


class _Watch:
    """Reads what a process says and writes until it ends, or until that takes too long or is too much."""

    def __init__(self, process: subprocess.Popen[bytes], results: IO[bytes], seconds: float) -> None:
        self.said, self.output = bytearray(), bytearray()
        self.stopped = True
        self._seconds = seconds
        self._selector = selectors.DefaultSelector()
        self._selector.register(results, selectors.EVENT_READ, self.said)
        if process.stdout is not None:
            self._selector.register(process.stdout, selectors.EVENT_READ, self.output)

    def read(self) -> Ending | None:
        """None where the process said all that it wanted to."""
        with self._selector:
            deadline, ready = time.monotonic() + _START_SECONDS, False
            while self._selector.get_map():
                events = self._selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    return "time"
                for key, _ in events:
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        self._selector.unregister(key.fileobj)
                    key.data.extend(chunk)
                if len(self.said) + len(self.output) > _MOST_BYTES:
                    return "output"
                if not ready and b"\n" in self.said:
                    # The time that the interpreter takes to start is not the attempt's.
                    deadline, ready = time.monotonic() + self._seconds, True
        self.stopped = False
        return None


def _end(process: subprocess.Popen[bytes], *, at_once: bool) -> tuple[int, float]:
    """Status and computing time, seconds, of a process after its end, which is now or very soon."""
    deadline = time.monotonic() + (0.0 if at_once else 1.0)
    while True:
        if time.monotonic() >= deadline:
            # The whole session, for where the kernel does not keep the attempt from having children.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            found, status, usage = os.wait4(process.pid, 0)
        else:
            found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            process.returncode = os.waitstatus_to_exitcode(status)
            return status, usage.ru_utime + usage.ru_stime
        time.sleep(0.001)


def _file(content: bytes) -> IO[bytes]:
    """A nameless file that holds the content, at its start."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return file


def _line(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _results(lines: Sequence[bytes]) -> list[Value | Raised | Unreadable]:
    """What the lines say, up to the first that is rubbish."""
    results: list[Value | Raised | Unreadable] = []
    for line in lines:
        match _line(line):
            case ["value", encoded, str(shown)]:
                results.append(Value(encoded, shown))
            case ["raised" | "failed" as when, str(kind), str(message), [*frames]]:
                places = [(f[0], f[1]) for f in frames if isinstance(f, list) and _types(f) == (int, str)]
                results.append(Raised(kind, message, tuple(places), at_once=when == "failed"))
            case ["syntax", int(number), str(message)]:
                results.append(Unreadable(number, message))
            case _:
                break
    return results


def _types(values: Sequence[Any]) -> tuple[type, ...]:
    return tuple(type(value) for value in values)


def _says_all(run: Run, expressions: int) -> bool:
    """Whether there is a result for each expression, or the one that kept all of them from being evaluated."""
    match run.results:
        case [Unreadable()] | [Raised(at_once=True)]:
            return True
    return len(run.results) == expressions
