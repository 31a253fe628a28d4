"""An event loop in a thread of its own, so that calls may wait also where a loop runs already, as in a notebook."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from rltf.support.side_by_side import wait_for

_T = TypeVar("_T")
_PATIENCE = 5.0
"""Seconds that work which was given up has to write down what it came to."""


class LoopThread:
    """Runs coroutines for a caller that waits. The thread starts with the first and ends with `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What the coroutine returns or raises. Where the caller need not go on, the coroutine is cancelled."""
        ended = threading.Event()

        async def watched() -> _T:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(watched(), self._started())
        try:
            wait_for([future])
            return future.result()
        except BaseException:
            # An interrupt reaches its own thread alone; nobody goes on before the calls under way are recorded.
            if future.cancel():
                ended.wait(_PATIENCE)
            raise

    def close(self) -> None:
        """Ends the thread; a later `run` starts another."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: a program that forgets to close must end all the same.
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return self._loop
