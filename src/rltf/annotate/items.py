"""What is to be annotated, who has what before them, and what was written: a log that training reads."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rltf.feedback.logged.entries import LogEntry, entry_record, read_entry
from rltf.rollouts.as_log import first_attempt
from rltf.rollouts.records import RolloutRecord
from rltf.support.errors import UserError
from rltf.support.rows import read_rows
from rltf.support.texts import sound

LEASE_SECONDS = 900.0
"""How long an item that somebody has before them is not shown to anybody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An attempt that waits for feedback."""

    key: str
    entry: LogEntry
    """With what is known so far; its feedback is empty."""
    score: str
    """The verdict on the attempt, for the annotator."""


def items_of_run(records: Iterable[RolloutRecord]) -> list[Item]:
    """The distinct first attempts of a run's `rollouts.jsonl` that are wrong; not those that got no score."""
    found: dict[str, Item] = {}
    for record in records:
        entry = first_attempt(record)
        if entry is None:
            continue
        score = record.turns[0].score
        if not score.correct and entry.response.strip():
            item = _item(entry, f"reward {score.reward:g}: {score.explanation}")
            found.setdefault(item.key, item)
    return list(found.values())


def items_of_file(path: Path) -> list[Item]:
    """The rows of a JSONL or parquet file that are log entries but for their feedback."""
    found: dict[str, Item] = {}
    for number, row in read_rows(path):
        entry = read_entry(row, f"{path}, line {number}", with_feedback=False)
        item = _item(entry, "" if entry.reward is None else f"reward {entry.reward:g}")
        found.setdefault(item.key, item)
    return list(found.values())


def _item(entry: LogEntry, score: str) -> Item:
    record = entry_record(replace(entry, reward=None, answer=None, problem=None))
    text = json.dumps(record, sort_keys=True).encode("utf-8", "surrogatepass")
    return Item(key=hashlib.sha256(text).hexdigest()[:16], entry=entry, score=score)


class Desk:
    """Hands out items and keeps what is written, each entry on the disk before the next is handed out.

    Several people may work at the same time; nobody gets what another has before them or has done.
    """

    def __init__(self, items: Iterable[Item], path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Goes on with the file at `path`, if there is one; raises `UserError` where it is none of ours."""
        self._items = {item.key: item for item in items}
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._leases: dict[str, tuple[str, float]] = {}
        self._skipped: dict[str, set[str]] = {}
        self._lines: list[dict[str, Any]] = []
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UserError(
                f"{path}: another rltf annotate writes there; open its page, or name another file"
            ) from None
        self._mend_end()
        for number, row in read_rows(path):
            if not isinstance(row.get("item"), str) or not isinstance(row.get("annotator"), str):
                raise UserError(f"{path}, line {number}: was not written by rltf annotate; name another file")
            self._lines.append(dict(row))

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def add(self, item: Item) -> None:
        """One more item, if it is not among them."""
        with self._lock:
            self._items.setdefault(item.key, item)

    def next(self, annotator: str, wanted: str = "") -> Item | None:
        """What this person is to read now: the same again until it is saved or skipped; None if nothing is left.

        `wanted`: the key of an item that they asked for; it comes first if nobody has it or has done it.
        """
        with self._lock:
            done = {line["item"] for line in self._lines}
            now = self._clock()
            holder, _ = self._leases.get(wanted, (annotator, 0.0))
            if wanted in self._items and wanted not in done and holder == annotator:
                self._leases = {key: lease for key, lease in self._leases.items() if lease[0] != annotator}
                self._leases[wanted] = (annotator, now)
            for key, (holder, since) in list(self._leases.items()):
                if holder != annotator and now - since > LEASE_SECONDS:
                    del self._leases[key]
            held = next((key for key, (holder, _) in self._leases.items() if holder == annotator), None)
            if held is not None:
                self._leases[held] = (annotator, now)
                return self._items[held]
            free = [key for key in self._items if key not in done and key not in self._leases]
            passed_over = self._skipped.get(annotator, set())
            # What somebody skipped comes back to them when nothing else is left.
            for key in sorted(free, key=lambda key: key in passed_over):
                self._leases[key] = (annotator, now)
                return self._items[key]
            return None

    def save(self, annotator: str, key: str, feedback: str) -> None:
        """Keeps somebody's feedback on an item; raises `KeyError` for an item that is not before them."""
        with self._lock:
            self._check_lease(annotator, key)
            record = entry_record(replace(self._items[key].entry, feedback=sound(feedback)))
            line = {**record, "annotator": annotator, "item": key}
            self._append(line)
            self._lines.append(line)
            self._leases.pop(key, None)

    def skip(self, annotator: str, key: str) -> None:
        """Leaves an item to somebody else, or for later."""
        with self._lock:
            self._check_lease(annotator, key)
            self._leases.pop(key, None)
            self._skipped.setdefault(annotator, set()).add(key)

    def undo(self, annotator: str) -> tuple[Item, str] | None:
        """Takes somebody's newest entry back; returns its item, which is before them again, and its text."""
        with self._lock:
            known = [(i, line) for i, line in enumerate(self._lines) if line["item"] in self._items]
            mine = [i for i, line in known if line["annotator"] == annotator]
            if not mine:
                return None
            line = self._lines.pop(mine[-1])
            self._rewrite()
            for key in [key for key, (holder, _) in self._leases.items() if holder == annotator]:
                del self._leases[key]
            self._leases[line["item"]] = (annotator, self._clock())
            return self._items[line["item"]], str(line["feedback"])

    def progress(self, annotator: str) -> dict[str, int]:
        """How many items there are, are done, and are done by this person."""
        with self._lock:
            done = {line["item"] for line in self._lines} & set(self._items)
            mine = sum(line["annotator"] == annotator for line in self._lines)
            return {"items": len(self._items), "done": len(done), "mine": mine}

    def _check_lease(self, annotator: str, key: str) -> None:
        """An item that somebody left lying is still theirs, unless it is done or another has it."""
        holder, _ = self._leases.get(key, (annotator, 0.0))
        if key not in self._items or holder != annotator or any(line["item"] == key for line in self._lines):
            raise KeyError(key)

    def _append(self, line: Mapping[str, Any]) -> None:
        """Writes a whole line or nothing."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._file.truncate(end)
            raise

    def _rewrite(self) -> None:
        """Puts all lines in place of what the file holds, which stays locked."""
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines)
        copy = self._path.with_name(self._path.name + ".new")
        copy.write_text(text, encoding="utf-8")
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()
        os.fsync(self._file.fileno())
        copy.unlink()

    def _mend_end(self) -> None:
        """A last line without its end was cut in mid-write, or edited by hand: it goes, or gets its end."""
        self._file.seek(0)
        text = self._file.read()
        if not text or text.endswith("\n"):
            return
        whole, _, last = text.rpartition("\n")
        try:
            json.loads(last)
        except ValueError:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(whole + "\n" * bool(whole))
        else:
            self._file.write("\n")
        self._file.flush()
