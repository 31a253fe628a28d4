"""A run's growing files, read on from where the last reading ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from rltf.support.errors import UserError
from rltf.support.texts import values_of

R = TypeVar("R")


class Shrunk(Exception):
    """A file is shorter than what was read of it: a resumed run has cut it back, and reading begins anew."""


class Follower(Generic[R]):
    """One JSONL file, record by record, up to a step. A line that is not complete yet is left for later."""

    def __init__(self, path: Path, read: Callable[[Mapping[str, Any]], R]) -> None:
        """`read` makes a record of a line's values; it raises `ValueError` for what is none."""
        self._path, self._read = path, read
        self._bytes = self._lines = 0

    def until(self, step: int) -> Iterator[R]:
        """The records that were not read yet, of all steps up to `step`.

        Raises:
            Shrunk: the file was cut.
            UserError: a line is no record of a run.
        """
        if not self._path.is_file():
            if self._bytes:
                raise Shrunk
            return
        if self._path.stat().st_size < self._bytes:
            raise Shrunk
        with self._path.open("rb") as file:
            file.seek(self._bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                values = self._values(line)
                if values["step"] > step:
                    return
                record = self._sound(values)
                self._bytes += len(line)
                self._lines += 1
                yield record

    def _values(self, line: bytes) -> dict[str, Any]:
        try:
            values: dict[str, Any] = values_of(line.decode("utf-8", "replace"))
            values["step"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._path}, line {self._lines + 1}: is no record of a run; the file was changed or damaged: remove "
                "the line to go on"
            ) from error
        return values

    def _sound(self, values: Mapping[str, Any]) -> R:
        try:
            return self._read(values)
        except ValueError as error:
            raise UserError(f"{self._path}, line {self._lines + 1}: is damaged: {error}") from error
