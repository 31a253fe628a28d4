"""Rows with named fields, from a file or from a hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rltf.support.errors import UserError

HUB = "hub:"
_HUB = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<subset>[\w.-]+))?(?:@(?P<split>\w+))?")


def load_rows(source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place, for error messages, and fields of each row of a file or of `hub:OWNER/NAME[/SUBSET][@SPLIT]`.

    Raises `UserError` where there is no such thing. The split is `train` unless named.
    """
    if source.startswith(HUB):
        yield from _hub(source)
        return
    path = Path(source).expanduser()
    for number, row in read_rows(path):
        yield f"{path}, line {number}", row


def is_hub_source(source: str) -> bool:
    """Whether it is of the form `hub:OWNER/NAME[/SUBSET][@SPLIT]`."""
    return _HUB.fullmatch(source) is not None


def source_label(source: str) -> str:
    """A short name for a file, or for a data set of a hub."""
    hub = _HUB.fullmatch(source)
    return hub["name"].split("/")[1] if hub else Path(source).stem


def field_of(row: Mapping[str, Any], name: str, place: str) -> Any:
    """The value at `name`, which may lead into nested fields: `reward_model.ground_truth`, `prompt.0.content`."""
    here: Any = row
    for part in [name] if name in row else name.split("."):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list) and part.isdigit() and int(part) < len(here):
            here = here[int(part)]
        else:
            raise UserError(f"{place}: has no field {name}; its fields: {', '.join(map(str, row)) or 'none'}")
    return here


def text_of(row: Mapping[str, Any], name: str, place: str) -> str:
    """The text at `name`; a number counts as its digits."""
    value = field_of(row, name, place)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{place}: {name}: must be a text that is not empty")
    return value


def _hub(source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match = _HUB.fullmatch(source)
    if match is None:
        raise UserError(f"{source}: is not of the form hub:OWNER/NAME[/SUBSET][@SPLIT]")
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserError(f"{source}: needs datasets: pip install -c constraints.txt '.[data]'") from None
    try:
        rows = load_dataset(match["name"], match["subset"], split=match["split"] or "train")
    except Exception as error:  # whatever the hub, the network or the data set's files hold
        raise UserError(f"{source}: cannot be loaded: {type(error).__name__}: {error}") from error
    for number, row in enumerate(rows, start=1):
        yield f"{source}, row {number}", row


def read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Number, from 1, and fields of each row of a JSONL or parquet file."""
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), start=1)
        return
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UserError(f"{path}, line {number}: is not valid JSON: {error}") from error
                if not isinstance(row, Mapping):
                    raise UserError(f"{path}, line {number}: is not an object with fields")
                yield number, row
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text: {error}") from error
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
            for batch in file.iter_batches(batch_size=4096):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: is no readable parquet file: {error}") from error
