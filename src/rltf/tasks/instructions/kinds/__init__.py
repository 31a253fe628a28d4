"""The kinds of constraint: each knows how it is asked for, checked, said to be broken, met and broken on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rltf.tasks.instructions.kinds import case, counts, layout, letters, marks, places, whole, words
from rltf.tasks.instructions.kinds.base import Kind

_MODULES = (words, places, counts, letters, case, marks, layout, whole)


def _all() -> dict[str, type[Kind]]:
    found = [
        member
        for module in _MODULES
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Kind) and member.__module__ == module.__name__
    ]
    return {kind.name: kind for kind in found}


KINDS: Mapping[str, type[Kind]] = _all()
"""Every kind by its name."""


def make(settings: Mapping[str, Any]) -> Kind:
    """The constraint that a table such as `{kind = "use_words", words = ["please"]}` describes.

    Raises ValueError with what is wrong in one line.
    """
    arguments = dict(settings)
    name = arguments.pop("kind", None)
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"kind {name!r} is unknown; known: {', '.join(sorted(KINDS))}")
    try:
        return KINDS[name](**arguments)
    except (ValidationError, TypeError) as error:
        raise ValueError(f"{name}: {_first(error)}") from None


def _first(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    # Settings are written as lists and kept as tuples.
    told = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list").replace("Tuple", "List")
    return f"{place}: {told}" if place else told


def as_table(kind: Kind) -> dict[str, Any]:
    """The table from which `make` makes it again."""
    return {"kind": kind.name, **kind.model_dump(mode="json")}


__all__ = ["KINDS", "Kind", "as_table", "make"]
