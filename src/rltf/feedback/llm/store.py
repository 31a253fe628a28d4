"""Every call to a judge, in SQLite: what was asked, what came back, what it cost.

An answer belongs to its request (endpoint, model, parameters, messages). Under the seed with which a run asked stands
the call that answered it, be it a failure: so a replay meets the same failures at the same places. A run that goes on
after a stop asks again where a call failed.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from rltf.support.errors import FeedbackStopped
from rltf.types import FailureCause

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    messages TEXT NOT NULL,
    text TEXT,
    cause TEXT,
    reason TEXT,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    dollars REAL NOT NULL,
    seconds REAL NOT NULL,
    tries INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_by_key ON calls (key);
CREATE TABLE IF NOT EXISTS asked (
    seed TEXT NOT NULL,
    key TEXT NOT NULL,
    call INTEGER NOT NULL REFERENCES calls (id),
    PRIMARY KEY (seed, key)
);
"""
_ADDED = {"cut": "INTEGER NOT NULL DEFAULT 0", "faults": "TEXT NOT NULL DEFAULT ''", "unusable": "TEXT"}
"""Columns of `calls` that stores of version 0.1 lack: whether the token limit cut the text, the causes of the tries
before the last, and the cause for which the text could not be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: its text, or why there is none."""

    text: str | None
    cut: bool = False
    """The token limit ended the text."""
    cause: FailureCause | None = None
    reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    tries: int = 1
    faults: tuple[FailureCause, ...] = ()
    """What the tries before the last failed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a call asks, as the store keeps it. It holds no key of the endpoint."""

    key: str
    endpoint: str
    model: str
    messages: str
    """As JSON."""


class CallStore:
    """A file of calls, opened when it is first needed. Any thread may use it."""

    def __init__(self, path: Path | None, *, to_read: bool = False) -> None:
        """`path` None: in memory, until it is closed. `to_read`: the file must be there, and is not written."""
        self._path, self._to_read = path, to_read
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """What the store is called towards people."""
        return "the record in memory" if self._path is None else str(self._path)

    def find(self, key: str, seed: int, *, failures: bool) -> Call | None:
        """What this seed got for the request, if it was an answer, or with `failures` whatever it was.

        Otherwise the newest answer to the request, which is this seed's from now on.
        """
        columns = "text, cut, cause, reason, prompt_tokens, completion_tokens, dollars, seconds, tries, faults"
        got = f"SELECT {columns} FROM calls JOIN asked ON asked.call = calls.id WHERE asked.key = ? AND asked.seed = ?"
        newest = f"SELECT id, {columns} FROM calls WHERE key = ? AND text IS NOT NULL ORDER BY id DESC LIMIT 1"
        with self._open() as connection, connection:
            row = connection.execute(got, (key, str(seed))).fetchone()
            if row is None or (row[0] is None and not failures):
                found = connection.execute(newest, (key,)).fetchone()
                row = found[1:] if found else None
                if found:
                    self._note(connection, seed, key, found[0])
        if row is None:
            return None
        text, cut, cause, reason, prompt_tokens, completion_tokens, dollars, seconds, tries, faults = row
        return Call(
            text=text,
            cut=bool(cut),
            cause=next(iter(_known(cause or "")), None),
            reason=reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            dollars=dollars,
            seconds=seconds,
            tries=tries,
            faults=_known(faults),
        )

    def add(self, request: Request, seed: int, call: Call) -> None:
        """Records a call at once, so that a program that dies loses none that has ended."""
        with self._open() as connection, connection:
            cursor = connection.execute(
                "INSERT INTO calls (key, endpoint, model, messages, text, cause, reason, prompt_tokens, "
                "completion_tokens, dollars, seconds, tries, cut, faults) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    request.key, request.endpoint, request.model, request.messages, call.text, call.cause, call.reason,
                    call.prompt_tokens, call.completion_tokens, call.dollars, call.seconds, call.tries, call.cut,
                    " ".join(call.faults),
                ),
            )  # fmt: skip
            self._note(connection, seed, request.key, cursor.lastrowid)

    def mark(self, key: str, seed: int, unusable: FailureCause | None) -> None:
        """Keeps whether the answer that a seed got could be used, for those who look at the record."""
        with self._open() as connection, connection:
            connection.execute(
                "UPDATE calls SET unusable = ? WHERE id = (SELECT call FROM asked WHERE key = ? AND seed = ?) "
                "AND unusable IS NOT ?",
                (unusable, key, str(seed), unusable),
            )

    @staticmethod
    def _note(connection: sqlite3.Connection, seed: int, key: str, call: int | None) -> None:
        """Keeps which call answered a request that was made with a seed."""
        row = (str(seed), key, call)
        connection.execute("INSERT OR REPLACE INTO asked (seed, key, call) VALUES (?, ?, ?)", row)

    def spent(self) -> tuple[float, int]:
        """Dollars and tokens of all calls."""
        with self._open() as connection:
            dollars, tokens = connection.execute(
                "SELECT COALESCE(SUM(dollars), 0), COALESCE(SUM(prompt_tokens + completion_tokens), 0) FROM calls"
            ).fetchone()
        return float(dollars), int(tokens)

    def outcomes(self) -> dict[str, int]:
        """How many calls ended how: `answered`, or the cause of a failure, be it that the answer could not be used."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT COALESCE(cause, unusable, 'answered'), COUNT(*) FROM calls GROUP BY 1 ORDER BY 2 DESC"
            )
            return {str(outcome): int(count) for outcome, count in rows}

    def seconds(self) -> list[float]:
        """How long each answered call took, in ascending order."""
        with self._open() as connection:
            rows = connection.execute("SELECT seconds FROM calls WHERE text IS NOT NULL ORDER BY seconds")
            return [float(seconds) for (seconds,) in rows]

    def retries(self) -> int:
        """Tries beyond the first of all calls."""
        with self._open() as connection:
            (retries,) = connection.execute("SELECT COALESCE(SUM(MAX(tries, 1) - 1), 0) FROM calls").fetchone()
        return int(retries)

    def faults(self) -> Counter[str]:
        """How often a try was followed by another, by the cause; stores of version 0.1 do not know it."""
        with self._open() as connection:
            rows = connection.execute("SELECT faults FROM calls WHERE faults != ''")
            return Counter(fault for (faults,) in rows for fault in _known(faults))

    def close(self) -> None:
        """Lets go of the file; a later use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection; errors of the database become one line that names the file."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connected()
                yield self._connection
            except sqlite3.Error as error:
                self.close()
                raise FeedbackStopped(
                    f"judge.store {self.name}: {error}; nothing that was saved is lost: mend the file or the disk, or "
                    "name another store, and go on with --resume"
                ) from error

    def _connected(self) -> sqlite3.Connection:
        # The lock sees to it that one thread at a time uses the connection.
        if self._to_read:
            stored = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, check_same_thread=False)
            if not _missing_columns(stored):
                return stored
            # Of version 0.1: a copy is brought up to date.
            copy = sqlite3.connect(":memory:", check_same_thread=False)
            stored.backup(copy)
            stored.close()
            _add_columns(copy)
            return copy
        connection = sqlite3.connect(self._path or ":memory:", timeout=60, check_same_thread=False)
        # Other processes may read and write the same store.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        _add_columns(connection)
        return connection


def _missing_columns(connection: sqlite3.Connection) -> list[str]:
    present = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
    return [column for column in _ADDED if present and column not in present]


def _add_columns(connection: sqlite3.Connection) -> None:
    for column in _missing_columns(connection):
        with suppress(sqlite3.OperationalError):  # another process was faster
            connection.execute(f"ALTER TABLE calls ADD COLUMN {column} {_ADDED[column]}")


def _known(causes: str) -> tuple[FailureCause, ...]:
    """The causes among words; what another version may have written is left out."""
    return tuple(known for word in causes.split() for known in get_args(FailureCause) if known == word)
