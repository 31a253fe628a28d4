"""What is done to text and numbers from outside before they are kept."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

THINKING = (
    r"(?:[\w-]+:)?(?:[\w-]*(?:think|thought|reason|reflect|scratch|monologue|deliberat|ruminat)[\w-]*|analysis|cot)"
)
"""A pattern of the names by which models' tags mark what they only thought."""
_MOST_ZEROS = 30


def sound(text: str) -> str:
    """The text with a mark in place of what no file can hold: half a surrogate pair, which JSON can spell."""
    return text.encode("utf-8", "replace").decode("utf-8")


def digits_of(value: float | Decimal) -> str:
    """A finite number as people write it: in plain digits, unless that takes dozens of zeros.

    The digits of a float are the fewest that give it back: 0.00001 for 1e-05.
    """
    if isinstance(value, int):
        return str(value)
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return format(exact, "f") if not exact or abs(exact.adjusted()) <= _MOST_ZEROS else str(value)


def values_of(text: str) -> Any:
    """What JSON says; raises `ValueError` also for `NaN` and `Infinity`, which are no JSON and which no run writes."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
