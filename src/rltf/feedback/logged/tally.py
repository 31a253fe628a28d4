"""Rows of a log that cannot be used: counted, named by their reason, and too many of them refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rltf.support.errors import UserError

_NUMBERS = re.compile(r"\[\d+\]")
_VALUES = re.compile(r"\b\d[\d,]*\b")
_MOST_NAMED = 5


class UnusableRow(UserError):
    """One row that cannot be used: where it stands, and why."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place, self.reason = place, reason


@dataclass(slots=True)
class Tally:
    """Counts the rows of one source. Reasons that differ by numbers alone count as one."""

    source: str
    most: float = 0.0
    """The share of the rows that may be unusable."""
    setting: str = "log.max_unusable"
    """What raises that share."""
    rows: int = 0
    """All that were read, usable or not."""
    _found: dict[str, list[UnusableRow]] = field(default_factory=dict)

    @property
    def unusable(self) -> int:
        """How many rows cannot be used."""
        return sum(map(len, self._found.values()))

    def add(self, place: str, reason: str) -> None:
        """A row that cannot be used."""
        kind = _VALUES.sub("N", _NUMBERS.sub("[]", reason))
        self._found.setdefault(kind, []).append(UnusableRow(place, reason))

    @contextmanager
    def row(self, place: str) -> Iterator[None]:
        """Counts the row that is read within; what makes it unusable is kept, not raised."""
        self.rows += 1
        try:
            yield
        except UnusableRow as error:
            self.add(error.place, error.reason)
        except UserError as error:
            self.add(place, str(error))

    def unread(self, place: str, reason: str) -> None:
        """A row that is none."""
        self.rows += 1
        self.add(place, reason)

    def check(self) -> None:
        """Raises `UserError` where more rows than `most` allows cannot be used, with the first of them."""
        if self.unusable > self.most * self.rows:
            first = next(iter(self._found.values()))[0]
            if self.rows == self.unusable == 1 or (not self.most and self.unusable == 1):
                mend = "" if self.rows == 1 else f"; mend it, or leave it out with {self.setting}"
                raise UserError(f"{first}{mend}")
            raise UserError(
                f"{first}; in all {self.unusable:,} of {self.rows:,} rows cannot be used, and {self.setting} allows a "
                f"share of {self.most:g}"
            )

    def lines(self) -> list[str]:
        """For people: how many rows are left out, and for each reason how many and the first."""
        if not self._found:
            return []
        often = sorted(self._found.values(), key=len, reverse=True)
        told = [f"{self.unusable:,} of {self.rows:,} rows cannot be used and are left out:"]
        told += [f"  {len(rows):,}: {rows[0]}" for rows in often[:_MOST_NAMED]]
        if len(often) > _MOST_NAMED:
            told.append(f"  {sum(map(len, often[_MOST_NAMED:])):,}: for {len(often) - _MOST_NAMED} other reasons")
        return told

    def record(self) -> dict[str, Any]:
        """As plain JSON values, for a run's directory."""
        left_out = [
            {"count": len(rows), "first": rows[0].place, "reason": rows[0].reason} for rows in self._found.values()
        ]
        return {"rows": self.rows, "unusable": self.unusable, "left_out": left_out}
