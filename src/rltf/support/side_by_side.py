"""Pieces of work that wait for servers, side by side, each written as if it were alone.

Each piece has a thread, but only one of them computes at a time: who waits for a server, in `wait_for`, lets another go
on. So what they share needs no locks. What must not leave the thread that asked for the work (code of the user's, which
may hold on to its thread; a learner, whose device a thread chooses) goes back there, in `in_calling_thread`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 256
"""Pieces under way at the same time. They wait far more than they compute."""


class GivenUp(BaseException):
    """Another piece has failed, or who asked for the work was interrupted. No `Exception`, which a piece may catch."""


class _Shared:
    """What pieces that run side by side share."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        """Held by the piece that computes."""
        self.given_up: Future[None] = Future()
        self.for_caller: SimpleQueue[Future[Any] | Callable[[], None]] = SimpleQueue()
        """Pieces that have ended, and calls that are to be made in the calling thread."""


class _Here(threading.local):
    shared: _Shared | None = None
    """Of the pieces to which the one in this thread belongs."""


_here = _Here()


def side_by_side(pieces: Sequence[Callable[[], T]]) -> list[T]:
    """What each piece returns, in order.

    The first that raises ends the others where they wait, and its error is raised once all have ended; so do an
    interruption of this thread and its error.
    """
    shared = _Shared()

    def run(piece: Callable[[], T]) -> T:
        _here.shared = shared
        with shared.turn:
            _check(shared)
            return piece()

    with ThreadPoolExecutor(min(_MOST, max(1, len(pieces))), thread_name_prefix="rltf-side-by-side") as pool:
        try:
            futures = [pool.submit(run, piece) for piece in pieces]
            for future in futures:
                future.add_done_callback(shared.for_caller.put)
            left = len(futures)
            while left:
                asked = shared.for_caller.get()
                if isinstance(asked, Future):
                    asked.result()
                    left -= 1
                else:
                    asked()
        except BaseException:
            shared.given_up.set_result(None)
            raise
    return [future.result() for future in futures]


def in_daemon_thread(call: Callable[[], T]) -> Future[T]:
    """The outcome of a call in a thread of its own, which does not keep a program that is to end from ending."""
    future: Future[T] = Future()
    threading.Thread(target=_settle, args=(future, call), daemon=True).start()
    return future


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


class DaemonThreads:
    """A number of threads for calls that wait for a server.

    Those of a `ThreadPoolExecutor` would keep a program that is to end from ending until the server has answered.
    """

    def __init__(self, most: int, name: str) -> None:
        """`most`: how many calls are under way at the same time."""
        self._most, self._name = most, name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started = 0
        self._starting = threading.Lock()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Has a call made as soon as a thread is free."""
        future: Future[T] = Future()
        self._calls.put(lambda: _settle(future, call))
        with self._starting:
            if self._started < self._most:
                self._started += 1
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """Lets the threads end once they have made all calls. Nothing is submitted afterwards."""
        for _ in range(self._started):
            self._calls.put(None)

    def _serve(self) -> None:
        while (make := self._calls.get()) is not None:
            make()


def wait_for(futures: Sequence[Future[Any]]) -> None:
    """Waits until all are done, however they end; pieces beside this one go on meanwhile.

    Raises `GivenUp` where this piece need not go on.
    """
    shared = _here.shared
    if shared is None:
        wait(futures)
        return
    shared.turn.release()
    try:
        for future in futures:
            _wait(future, shared)
    finally:
        shared.turn.acquire()
    _check(shared)


def in_calling_thread(call: Callable[[], T]) -> T:
    """The result of a call that is made in the thread that asked for the work; here, where no piece runs.

    The others stand still meanwhile: it is still this piece that computes.
    """
    shared = _here.shared
    if shared is None:
        return call()
    outcome: Future[T] = Future()
    shared.for_caller.put(lambda: _settle(outcome, call))
    _wait(outcome, shared)
    if not outcome.done():
        raise GivenUp
    return outcome.result()


def _wait(future: Future[Any], shared: _Shared) -> None:
    until: tuple[Future[Any], ...] = (future, shared.given_up)
    wait(until, return_when=FIRST_COMPLETED)


def _check(shared: _Shared) -> None:
    if shared.given_up.done():
        raise GivenUp
