"""The data of a page: the runs that were named, what sets them apart, and the comparison that they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rltf.comparisons.report import OUTCOME
from rltf.config.flat import differing
from rltf.report.digest import Digest
from rltf.runs.directory import RunDir
from rltf.support.errors import UserError

SIZE = 3_600_000
"""Bytes that the rollouts of all runs on a page may take together; the rest of a page is far smaller."""
MOST_RUNS = 24
"""More curves than these nobody tells apart."""


def report(paths: Sequence[Path]) -> dict[str, Any]:
    """What the page of some runs, or of a comparison, shows. `left_out` says which of its runs could not be read.

    Args:
        paths: run directories, or directories of comparisons, whose runs are meant.

    Raises:
        UserError: one of them is neither, or is damaged; or so is every run of what was named.
    """
    found, comparison = _found(paths)
    named = {path.resolve() for path in paths}
    runs: list[dict[str, Any]] = []
    left_out: list[str] = []
    for path in found:
        try:
            digest = Digest(RunDir.open(path), size=SIZE // len(found))
            digest.advance()
            runs.append(digest.data())
        except UserError as error:
            if path.resolve() in named:
                raise
            # A comparison is worth a page without one of its runs.
            left_out.append(str(error))
    if not runs:
        raise UserError(left_out[0])
    for run in runs:
        run["findings"] = [*({"tone": "bad", "text": f"Left out here: {each}"} for each in left_out), *run["findings"]]
    return assembled(runs, comparison) | {"left_out": left_out}


def assembled(runs: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The page's data, from those of its runs."""
    names = [run["name"] for run in runs]
    title = comparison["title"] if comparison else names[0] if len(names) == 1 else f"{len(names)} runs"
    return {
        "title": title,
        "runs": list(runs),
        "differing": differing([run["settings"] for run in runs]),
        "comparison": comparison,
    }


def runs_of(paths: Sequence[Path]) -> list[RunDir]:
    """The runs that are meant. Raises `UserError` where a path is no run."""
    return [RunDir.open(path) for path in _found(paths)[0]]


def _found(paths: Sequence[Path]) -> tuple[list[Path], dict[str, Any] | None]:
    """Where the runs meant should be, and the outcome of the comparison where one was named alone."""
    runs: list[Path] = []
    comparison: dict[str, Any] | None = None
    for path in paths:
        if (path / OUTCOME).is_file():
            outcome = _outcome(path / OUTCOME)
            comparison = outcome if len(paths) == 1 else None
            runs += [path / f"{arm}-seed{seed}" for arm in outcome["arms"] for seed in outcome["seeds"]]
        elif inner := list(_runs_in(path)):
            runs += inner
        else:
            runs.append(path)
    distinct = list({run.resolve(): run for run in runs}.values())
    if len(distinct) > MOST_RUNS:
        raise UserError(f"{len(distinct)} runs are more than one page can tell apart; name at most {MOST_RUNS}")
    return distinct, comparison


def _runs_in(path: Path) -> Iterator[Path]:
    """The runs of a directory that is none itself, such as a comparison that is not finished."""
    if path.is_dir() and not (path / "config.json").is_file():
        for inner in sorted(path.iterdir()):
            if (inner / "config.json").is_file():
                yield inner


def _outcome(path: Path) -> dict[str, Any]:
    try:
        outcome: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        outcome["arms"], outcome["seeds"], outcome["title"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged: it is not what rltf compare writes there") from error
    return outcome
