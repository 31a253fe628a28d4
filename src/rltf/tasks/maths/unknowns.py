"""Values of named unknowns in a list: one solution, several, or several values of each, and what belongs together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rltf.tasks.maths.values import NAMED

_EITHER = re.compile(
    r"(?<![a-zA-Z])(?:or|oder|ou)(?![a-zA-Z])|\u0438\u043b\u0438|\u6216|\ub610\ub294|\\(?:lor|vee)(?![a-zA-Z])"
)
_SIGNS = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])")


class Values(NamedTuple):
    """What a list says of unknowns: entries with names, or solutions as entries.

    `ends` is `=` where a name has several values, or where it is not known what belongs to what.
    """

    entries: tuple[str, ...]
    names: tuple[str, ...] = ()
    ends: str = ""


def bare(name: str) -> str:
    """A name without spaces, braces and what only sets it."""
    return re.sub(r"\\(?:vec|overrightarrow|mathbf|mathrm|text|hat|angle)(?![a-zA-Z])|[\s{}]", "", name)


def one_solution(parts: Sequence[str]) -> Values | None:
    """`x = 1`, `y = 2`: the values of unknowns of different names; None where the parts are not that."""
    named = [NAMED.fullmatch(part) for part in parts]
    names = tuple(bare(match[1]) for match in named if match)
    if not len(names) == len(parts) == len(set(names)):
        return None
    return Values(tuple(match[2].strip() for match in named if match), names)


def values_of_unknowns(parts: Sequence[str], text: str) -> Values | None:
    """What the parts of a list say; None where not all belong to some unknown.

    Args:
        parts: what stands between the commas of `text`, with `and` and `or` for commas too.
        text: the whole of it.
    """
    if (single := one_solution(parts)) is not None:
        return single
    named = [NAMED.fullmatch(part) for part in parts]
    equations = [part for part, match in zip(parts, named, strict=True) if match is None and "=" in part]
    if named[0] is None or equations or _SIGNS.search(text):
        return None
    names = [bare(match[1]) for match in named if match]
    if len(set(names)) == 1 and len(names) in (1, len(parts)):  # x = 1, 2 and x = 1, x = 2
        values = (match[2].strip() if match else part for match, part in zip(named, parts, strict=True))
        return Values(tuple(values))
    if len(names) == len(parts) and (solutions := _solutions(parts, names)) is not None:
        return solutions
    if _EITHER.search(text):
        # It is not known what belongs to what.
        return Values(tuple(parts), ends="=")
    found: dict[str, list[str]] = {}
    name = ""
    for match, part in zip(named, parts, strict=True):
        name, value = (bare(match[1]), match[2].strip()) if match else (name, part)
        found.setdefault(name, []).append(value)
    return Values(tuple(map(", ".join, found.values())), tuple(found), ends="=")


def _solutions(parts: Sequence[str], names: Sequence[str]) -> Values | None:
    """`x = 1, y = 2 or x = 2, y = 1`: an entry for each solution; None where they are not of the same unknowns."""
    groups: list[dict[str, str]] = [{}]
    for part, name in zip(parts, names, strict=True):
        if name in groups[-1]:
            groups.append({})
        groups[-1][name] = part
    if any(group.keys() != groups[0].keys() for group in groups):
        return None
    return Values(tuple(", ".join(group.values()) for group in groups))
