"""Rows with named fields, from a file or from a hub."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

from rltf.support.errors import UserError
from rltf.support.hub import copies_alone_without_hub
from rltf.support.texts import digits_of

HUB = "hub:"
_HUB = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<subset>[\w.-]+))?(?:@(?P<split>\w+))?")
_INDEX = re.compile(r"-?\d+")
_NOT_TEXT = {
    b"\xff\xfe": "is not UTF-8 text but UTF-16; save it as UTF-8",
    b"\xfe\xff": "is not UTF-8 text but UTF-16; save it as UTF-8",
    b"\x1f\x8b": "is not UTF-8 text but compressed (gzip); unpack it first",
    b"PK\x03\x04": "is not UTF-8 text but an archive (zip); unpack it, or export its rows as JSONL",
    b"\x28\xb5\x2f\xfd": "is not UTF-8 text but compressed (zstd); unpack it first",
    b"PAR1": "is not UTF-8 text but parquet; give it the ending .parquet",
}
"""By its first bytes, what a file is in place of lines of JSON."""
OnBad: TypeAlias = Callable[[str, str], None]
"""Told of a row that cannot be read: its place and why."""


def load_rows(source: str, on_bad: OnBad | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place, for error messages, and fields of each row of a file or of `hub:OWNER/NAME[/SUBSET][@SPLIT]`.

    Raises `UserError` where there is no such thing. The split is `train` unless named. `on_bad` as in `read_rows`.
    """
    if source.startswith(HUB):
        yield from _hub(source)
        return
    path = Path(source).expanduser()
    for number, row in read_rows(path, on_bad):
        yield f"{path}, line {number}", row


def is_hub_source(source: str) -> bool:
    """Whether it is of the form `hub:OWNER/NAME[/SUBSET][@SPLIT]`."""
    return _HUB.fullmatch(source) is not None


def is_parquet(path: str | Path) -> bool:
    """Whether a file's name says that it is a parquet file."""
    return Path(path).suffix.lower() == ".parquet"


def source_label(source: str) -> str:
    """A short name for a file, or for a data set of a hub."""
    hub = _HUB.fullmatch(source)
    return hub["name"].split("/")[1] if hub else Path(source).stem


def field_of(row: Mapping[str, Any], name: str, place: str) -> Any:
    """The value at `name`, which may lead into nested fields: `reward_model.ground_truth`, `prompt.0.content`.

    A number counts the entries of a list from 0, a negative one from its end: `prompt.-1.content`.
    """
    here: Any = row
    for part in [name] if name in row else name.split("."):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list) and _INDEX.fullmatch(part) and -len(here) <= int(part) < len(here):
            here = here[int(part)]
        else:
            raise UserError(f"{place}: has no field {name}; its fields: {', '.join(map(str, row)) or 'none'}")
    return here


def text_of(row: Mapping[str, Any], name: str, place: str) -> str:
    """The text at `name`; a number counts as its digits, a date as 2024-05-31. Raises `UserError` for all else."""
    value = field_of(row, name, place)
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{place}: {name}: holds bytes that are not UTF-8 text") from None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        if not isfinite(value):
            raise UserError(
                f"{place}: {name}: is {value}, as tables write a missing number; fill it in or remove the row"
            )
        return digits_of(value)
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str) or not value.strip():
        what = "" if isinstance(value, str) else f", not {_kind(value)}"
        raise UserError(f"{place}: {name}: must be a text that is not empty{what}")
    return value


def kinds_in(row: Mapping[str, Any], name: str, place: str) -> tuple[str, ...]:
    """A row's kinds: one text or number, a list of them, or null for none; raises `UserError` for anything else."""
    value = field_of(row, name, place)
    listed = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(kind, str | int | float) for kind in listed):
        raise UserError(f"{place}: {name}: must be a text, a number, or a list of them, not {_kind(value)}")
    return tuple(str(kind) for kind in listed)


def _kind(value: object) -> str:
    names = {type(None): "nothing (null)", bool: "true or false", list: "a list", dict: "a group of fields"}
    return names.get(type(value), f"a {type(value).__name__}")


def _hub(source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match = _HUB.fullmatch(source)
    if match is None:
        raise UserError(f"{source}: is not of the form hub:OWNER/NAME[/SUBSET][@SPLIT]")
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserError(f"{source}: needs datasets: pip install -c constraints.txt '.[data]'") from None
    with copies_alone_without_hub() as missing:
        try:
            rows = load_dataset(match["name"], match["subset"], split=match["split"] or "train")
        except Exception as error:  # whatever the hub, the network or the data set's files hold
            reason = missing or f"{type(error).__name__}: {error}"
            raise UserError(f"{source}: cannot be loaded: {reason}") from error
    for number, row in enumerate(rows, start=1):
        yield f"{source}, row {number}", row


def read_rows(path: Path, on_bad: OnBad | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Number, from 1, and fields of each row of a JSONL or parquet file.

    `on_bad` is told of lines that are JSON and yet no row, of bytes that are not UTF-8, and of a last line that was cut
    while it was written, and reading goes on; without it these raise `UserError`, as what is no JSON always does.
    """
    if is_parquet(path):
        yield from enumerate(_parquet(path), start=1)
        return
    for number, text, cut in _lines(path):
        place = f"{path}, line {number}"
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            if on_bad is None or not cut:
                raise UserError(f"{place}: is not valid JSON: {error}") from error
            on_bad(place, "was cut while it was written")
            continue
        fault = "" if isinstance(row, Mapping) else "is not an object with fields"
        # What is no UTF-8 was decoded as halves of surrogate pairs. JSON's spelling of them is text all the same.
        fault = "is not UTF-8 text" if any("\udc80" <= character <= "\udcff" for character in text) else fault
        if not fault:
            yield number, row
        elif on_bad is None:
            raise UserError(f"{place}: {fault}")
        else:
            on_bad(place, fault)


def check_is_text(path: Path) -> None:
    """Refuses a file whose first bytes say that it is none of text in UTF-8."""
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    told = next((what for magic, what in _NOT_TEXT.items() if begins.startswith(magic)), None)
    if told is not None:
        raise UserError(f"{path}: {told}")


def _lines(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Number and text of each line that is not blank, and whether it is a last one without its end."""
    check_is_text(path)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line, not line.endswith("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows, some thousands in memory at a time."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(f"{path}: reading parquet needs pyarrow: pip install -c constraints.txt '.[parquet]'") from None
    try:
        with ParquetFile(path) as file:
            narrow = {field.name: mend for field in file.schema_arrow if (mend := _widening(field.type)) is not None}
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    yield row | {name: mend(row[name]) for name, mend in narrow.items()}
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: is no readable parquet file: {error}") from error


def _widening(kind: Any) -> Callable[[Any], Any] | None:
    """For a column of numbers with fewer digits than Python's, also within lists and groups: how to read a value.

    0.1 is kept there as the nearest that has 32 bits, which Python would write as 0.10000000149011612.
    """
    import numpy
    from pyarrow import types

    if types.is_float16(kind) or types.is_float32(kind):
        narrow = numpy.float16 if types.is_float16(kind) else numpy.float32
        return lambda value: None if value is None else float(str(narrow(value)))
    if types.is_list(kind) or types.is_large_list(kind):
        inner = _widening(kind.value_type)
        return inner and (lambda value: None if value is None else [inner(each) for each in value])
    if types.is_struct(kind):
        mends = {field.name: mend for field in kind if (mend := _widening(field.type)) is not None}
        return (lambda value: value and value | {name: mends[name](value[name]) for name in mends}) if mends else None
    return None
