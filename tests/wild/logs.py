"""Files of conversations and of feedback, read as logs.

A case has the file (`rows`, one JSON value a line; or `text`; or `base64`), its `name` if that matters, `read` (`chats`
for `rltf log from-chats`, else `log` for a log of ours) and `most`, the share of rows that may be unusable. Its `right`
has `error`, words of the refusal; or the number of `entries`, and where they matter `unusable`, `said` (words about
these), `without` (conversations without feedback), `pairs`, and `first`, the first entry: `messages` as pairs of role
and text, `response`, `feedback`, `revision`, `reward`.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rltf.feedback.logged import LogEntry, read_log
from rltf.feedback.logged.convert import Chats
from rltf.feedback.logged.tally import Tally
from rltf.support.errors import UserError


def hold(case: dict[str, Any]) -> tuple[bool, str]:
    with TemporaryDirectory() as directory:
        path = Path(directory) / case.get("name", "file.jsonl")
        path.write_bytes(content(case))
        seen = _read(path, case)
    right = case["right"]
    if "error" in right:
        return right["error"] in seen.get("error", ""), str(seen)
    told = seen.pop("said", "")
    held = right.get("said", "") in told and all(seen.get(name) == right[name] for name in right if name != "said")
    return held, f"{seen} {told}"


def content(case: dict[str, Any]) -> bytes:
    """The bytes of a case's file."""
    if "base64" in case:
        return base64.b64decode(case["base64"])
    text = case["text"] if "text" in case else "".join(json.dumps(row) + "\n" for row in case["rows"])
    return str(text).encode("utf-8")


def _read(path: Path, case: dict[str, Any]) -> dict[str, Any]:
    tally = Tally(path.name, case.get("most", 0.5))
    chats = Chats(str(path), tally)
    try:
        entries = read_log(path, tally) if case.get("read") == "log" else list(chats.entries())
    except UserError as error:
        return {"error": str(error)}
    return {
        "entries": len(entries),
        "unusable": tally.unusable,
        "without": chats.without_feedback,
        "pairs": chats.pairs,
        "first": _entry(entries[0]) if entries else None,
        "said": " ".join(tally.lines()),
    }


def _entry(entry: LogEntry) -> dict[str, Any]:
    return {
        "messages": [[message.role, message.content] for message in entry.messages],
        "response": entry.response,
        "feedback": entry.feedback,
        "revision": entry.revision,
        "reward": entry.reward,
    }
