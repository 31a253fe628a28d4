"""Files of questions and answers, read as tasks.

A case has the file: `rows`, one JSON value a line; or `text`; or `base64`; or `columns` of a parquet file, by name the
Arrow type and the values, where a decimal, a date or bytes are written as text. `task` is `maths` or `rows`, with
`settings`. Its `right` is `gold`, the first problem's answer, or `error`, words of the refusal; `told`, words of what
`rltf validate` says about the golds (empty: nothing); `question`, the first problem's.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rltf.config import MathsConfig, RowsConfig
from rltf.support.errors import UserError
from rltf.tasks import Maths, RowsTask
from rltf.types import Problem

from .logs import content


def hold(case: dict[str, Any]) -> tuple[bool, str]:
    with TemporaryDirectory() as directory:
        path = Path(directory) / case.get("name", "file.parquet" if "columns" in case else "file.jsonl")
        if "columns" in case:
            _write_parquet(path, case["columns"])
        else:
            path.write_bytes(content(case))
        seen = _read(path, case)
    right = case["right"]
    if "error" in right:
        return right["error"] in seen.get("error", ""), str(seen)
    if "told" in right:
        told = right["told"]
        return ("told" in seen and (told in seen["told"] if told else not seen["told"])), str(seen)
    return all(seen.get(name) == right[name] for name in right), str(seen)


def _read(path: Path, case: dict[str, Any]) -> dict[str, Any]:
    settings = case.get("settings", {})
    try:
        if case["task"] == "maths":
            maths = MathsConfig.model_validate({"name": "maths", "train": str(path), "test": None, **settings})
            task: Maths | RowsTask = Maths(**maths.model_dump(exclude={"name"}))
        else:
            rows = RowsConfig.model_validate({"name": "rows", "path": str(path), **settings})
            task = RowsTask(**rows.model_dump(exclude={"name"}))
        item = task._read()[0][0]
        fault = task.gold_fault(
            Problem(task="", split="test", index=0, prompt="", answer=item.answer, metadata=item.metadata)
        )
    except (UserError, ValueError) as error:
        return {"error": str(error)}
    return {"gold": item.metadata.get("gold", item.answer), "question": item.question, "told": fault}


def _write_parquet(path: Path, columns: dict[str, tuple[str, list[Any]]]) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    arrays = {name: _array(pyarrow, kind, values) for name, (kind, values) in columns.items()}
    write_table(pyarrow.table(arrays), path)


def _array(pyarrow: Any, kind: str, values: list[Any]) -> Any:
    """A column of the named type."""
    name, _, inner = kind.partition(" ")
    if name == "decimal":
        digits, places = map(int, inner.split())
        return pyarrow.array([None if v is None else Decimal(v) for v in values], pyarrow.decimal128(digits, places))
    if name == "date":
        return pyarrow.array([date.fromisoformat(v) for v in values], pyarrow.date32())
    if name == "timestamp":
        return pyarrow.array([datetime.fromisoformat(v) for v in values], pyarrow.timestamp("us"))
    if name in ("binary", "large_binary"):
        return pyarrow.array([v.encode(inner or "utf-8") for v in values], getattr(pyarrow, name)())
    if name == "dictionary":
        return pyarrow.array(values, pyarrow.string()).dictionary_encode()
    if name == "float16":
        import numpy

        return pyarrow.array([numpy.float16(v) for v in values], pyarrow.float16())
    if name in ("list", "struct"):
        return pyarrow.array(values)
    return pyarrow.array([float(v) if isinstance(v, str) and name.startswith("float") else v for v in values],
                         getattr(pyarrow, name)())  # fmt: skip
