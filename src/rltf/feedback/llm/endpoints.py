"""What a run has open for its LLM judges: a connection for each endpoint, a record and a budget for each store."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from rltf.config.feedback import JudgeConfig
from rltf.feedback.failures import Breaker
from rltf.feedback.llm.budget import Budget
from rltf.feedback.llm.client import ChatClient
from rltf.feedback.llm.connection import Connection, key_of
from rltf.feedback.llm.loop import LoopThread
from rltf.feedback.llm.store import CallStore
from rltf.support.errors import UserError


class Endpoints:
    """Owns everything that the sources and scorers of a run open to ask LLM judges, and closes it.

    Whoever asks the same address with the same key shares a connection with its limits and its breaker, whichever
    settings name it; whoever records in the same store shares its budget. Calls run in a thread of their own, so that
    they work inside a running event loop too. Nothing is opened before the first call.
    """

    def __init__(self, store: Path | None = None, stop_after_failures: int | None = None) -> None:
        """
        Args:
            store: the file that records the calls of judges whose settings name none; None keeps them in memory.
            stop_after_failures: failures in a row after which an endpoint counts as down; None: never.
        """
        self._store, self._stop_after_failures = store, stop_after_failures
        self._loop = LoopThread("rltf-llm-judges")
        self._connections: dict[tuple[str, str | None], Connection] = {}
        self._records: dict[Path | None, tuple[CallStore, Budget]] = {}

    def client(self, config: JudgeConfig, json_schema: dict[str, Any]) -> ChatClient:
        """What asks one judge for answers of one form; raises `UserError` where a library or the key is missing."""
        try:
            import aiolimiter  # noqa: F401
            import openai  # noqa: F401
            import tenacity  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"feedback.source=llm needs {error.name}: pip install -c constraints.txt '.[judge]'"
            ) from error
        key = key_of(config)
        place = (config.base_url, key)
        if place not in self._connections:
            self._connections[place] = Connection(config.base_url, key, Breaker(self._stop_after_failures))
        connection = self._connections[place]
        connection.admit(config)
        store, budget = self._record(config)
        return ChatClient(config, json_schema, connection, store, budget, self._loop)

    def store(self, config: JudgeConfig) -> CallStore:
        """Where the calls to a judge are recorded."""
        return self._record(config)[0]

    def _record(self, config: JudgeConfig) -> tuple[CallStore, Budget]:
        path = Path(config.store) if config.store else self._store
        place = path and path.absolute()
        if place not in self._records:
            self._records[place] = CallStore(path), Budget()
        return self._records[place]

    def close(self) -> None:
        """Ends connections and the thread, and lets go of the stores' files. A later call would open them again."""
        for connection in self._connections.values():
            if connection.is_open:
                self._loop.run(connection.close())
        self._loop.close()
        for store, _ in self._records.values():
            store.close()

    def __enter__(self) -> Endpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
