"""Inputs as they come in the wild, and what is right for each: `python -m tests.wild` says how many hold.

An area is a module of this package with `hold(case) -> (held, what was seen)`, and files of cases
`tests/data/wild/AREA*.jsonl`, one case a line. A case has a `kind`, an input and its right value; its other fields are
those of its area.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeAlias

Case: TypeAlias = dict[str, Any]

CORPUS = Path(__file__).parent.parent / "data" / "wild"


def areas() -> list[str]:
    """The modules that know how to try a case."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def cases(area: str) -> list[Case]:
    """All cases of an area, in the order of its files."""
    files = sorted(CORPUS.glob(f"{area}*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines() if line]


def kinds(area: str) -> dict[str, list[Case]]:
    """The cases of an area by their kind."""
    found: dict[str, list[Case]] = {}
    for case in cases(area):
        found.setdefault(case["kind"], []).append(case)
    return found


def faults(area: str, those: list[Case]) -> Iterator[tuple[Case, str]]:
    """The cases that do not hold, and what was seen instead. What a case raises is one of them."""
    hold = import_module(f"{__package__}.{area}").hold
    for case in those:
        try:
            held, seen = hold(case)
        except Exception as error:  # whatever the code that is tried raises
            held, seen = False, f"{type(error).__name__}: {error}"
        if not held:
            yield case, seen
