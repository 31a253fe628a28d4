"""The word lists that the package ships; written for it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _rows() -> tuple[dict[str, Any], ...]:
    lines = (Path(__file__).parent / "lexicon.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


@cache
def word_list(name: str) -> tuple[str, ...]:
    """`nouns`, `adjectives`, `verbs` (with an object), `adverbs` or `function` words."""
    return next(tuple(row["words"]) for row in _rows() if row.get("list") == name)


@cache
def categories() -> dict[str, tuple[str, tuple[str, ...]]]:
    """By name, such as `fruit`: how one of it is called ("a fruit") and all that count as one."""
    return {row["category"]: (row["one"], tuple(row["words"])) for row in _rows() if "category" in row}


@cache
def rhymes() -> dict[str, tuple[str, ...]]:
    """By the letters in which they end: words."""
    return {row["ending"]: tuple(row["words"]) for row in _rows() if "ending" in row}


@cache
def languages() -> dict[str, tuple[str, str, frozenset[str]]]:
    """By ISO 639 code: the language's name, a text in it, which may be empty, and its most frequent words."""
    return {
        row["language"]: (row["name"], row["text"], frozenset(row["words"])) for row in _rows() if "language" in row
    }
