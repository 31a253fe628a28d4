"""Calls of functions on untrusted text in processes of their own, which may run wild and are killed then.

Arguments and results travel as JSON, so that nothing a worker says can do more than be wrong.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue
from typing import Any

from rltf.support.errors import UserError

_CLONE_NEWUSER, _CLONE_NEWNET, _PR_SET_PDEATHSIG = 0x10000000, 0x40000000, 1
_START_SECONDS = 60.0
_LONGEST_LINE = 1_000_000


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that gave no result."""

    reason: str


class GuardedFunction:
    """A function of an importable module, called in worker processes without a network.

    A call that takes too long, or that ends its worker, gives `Failed`; the next one has a fresh worker.
    """

    def __init__(self, function: str, *, seconds: float, megabytes: int, workers: int = 2) -> None:
        """`function` is `module:name`; `seconds` limit each call, `megabytes` a worker's memory."""
        self._seconds = seconds
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._workers = [_Worker(function, megabytes) for _ in range(workers)]
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="guarded")
        atexit.register(self.close)

    def __call__(self, *arguments: Any) -> Any:
        """The function's result on arguments that JSON can hold, or `Failed`."""
        worker = self._idle.get()
        try:
            return worker.call(arguments, self._seconds)
        finally:
            self._idle.put(worker)

    def map(self, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The result of each call, several at a time."""
        return list(self._threads.map(lambda arguments: self(*arguments), calls))

    def close(self) -> None:
        """Ends the workers; a later call starts them anew."""
        for worker in self._workers:
            worker.kill()


class _Worker:
    """One process; started at its first call."""

    def __init__(self, function: str, megabytes: int) -> None:
        self._function, self._megabytes = function, megabytes
        self._process: subprocess.Popen[bytes] | None = None
        self._calls = 0

    def call(self, arguments: Sequence[Any], seconds: float) -> Any:
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._calls += 1
        try:
            self._process.stdin.write(json.dumps([self._calls, *arguments]).encode() + b"\n")
            self._process.stdin.flush()
            line = self._line(seconds)
        except (BrokenPipeError, TimeoutError, EOFError) as error:
            self.kill()
            return Failed(str(error) or "the process that was asked ended")
        try:
            number, kind, value = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            number, kind, value = None, "", None
        if number != self._calls:
            # Also what a call that wrote to the pipe itself has left there for the next.
            self.kill()
            return Failed("the process that was asked answered rubbish")
        if kind == "exhausted":
            # What the function keeps may fill the memory: the next call is to have a fresh process.
            self.kill()
        return value if kind == "result" else Failed(str(value))

    def kill(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._process = None

    def _start(self) -> None:
        self.kill()
        # Nothing of our environment, in which keys may lie, but where modules are found.
        environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            # The same result in every worker, also from a function that goes through a set.
            "PYTHONHASHSEED": "0",
            # Threads of numpy take address space, which is limited.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = _starter().submit(self._open, environment).result()
        try:
            ready = self._line(_START_SECONDS)
        except (TimeoutError, EOFError):
            ready = b""
        if ready != b"ready":
            self.kill()
            command = f"python -P -m rltf.support.guarded {self._function} {self._megabytes}"
            raise UserError(f"the process for {self._function} did not start; `{command}` says why")

    def _open(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            # -P: a file beside the user, such as numbers.py, is not taken for a module of a library.
            [sys.executable, "-P", "-m", "rltf.support.guarded", self._function, str(self._megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )

    def _line(self, seconds: float) -> bytes:
        """The next line that the worker writes; raises TimeoutError, or EOFError if it ends."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        read = b""
        while not read.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise TimeoutError(f"it took longer than {seconds:g} seconds")
            chunk = os.read(pipe, 65536)
            if not chunk or len(read) > _LONGEST_LINE:
                raise EOFError("the process that was asked ended, or wrote too much")
            read += chunk
        return read[:-1]


@cache
def _starter() -> ThreadPoolExecutor:
    """The thread that starts every worker. The kernel ends a worker with the thread that started it, not with the
    process, and a caller's thread may be gone before the next call."""
    return ThreadPoolExecutor(1, thread_name_prefix="guarded-starter")


def limit_process(megabytes: int) -> None:
    """Limits of this process and its children: memory, no files, no core dumps, no network; it dies with its parent."""
    resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, megabytes * 2**20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    die_with_parent()
    with contextlib.suppress(OSError, AttributeError):  # Linux alone
        libc = ctypes.CDLL(None)
        if libc.unshare(_CLONE_NEWNET) != 0:
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def die_with_parent(parent: int | None = None) -> None:
    """Has the kernel end this process with the thread that started it, at once if the process `parent` is gone."""
    with contextlib.suppress(OSError, AttributeError):  # Linux alone
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _serve(place: str, megabytes: int) -> None:
    """Answers calls from standard input until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # What a called function prints is not to be taken for an answer.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    module, _, name = place.partition(":")
    function = getattr(importlib.import_module(module), name)
    limit_process(megabytes)
    answers.write(b"ready\n")
    answers.flush()
    calls = io.BufferedReader(os.fdopen(os.dup(0), "rb", buffering=0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in calls:
        number, *arguments = json.loads(line)
        try:
            answer = json.dumps([number, "result", function(*arguments)])
        except BaseException as error:  # the function's, on text that may want this process to end
            kind = "exhausted" if isinstance(error, MemoryError) else "failed"
            answer = json.dumps([number, kind, f"{type(error).__name__}: {error}"[:500]])
        answers.write(answer.encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
