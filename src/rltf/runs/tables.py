"""A run's rollouts as a table with a row per attempt, and its records as Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rltf.rollouts.records import RolloutRecord
from rltf.runs.directory import RunDir
from rltf.support.errors import UserError
from rltf.support.texts import sound

_ROWS_AT_A_TIME = 5_000
_WHOLE = frozenset({"step", "group", "rollout", "turn", "problem", "prompt_tokens", "tokens", "version"})
_TRUTH = frozenset({"correct", "well_formed"})
_NUMBER = frozenset({"reward", "logprob"})
COLUMNS = (
    "step", "group", "rollout", "turn", "task", "split", "problem", "prompt", "thinking", "attempt", "status", "reward",
    "correct", "well_formed", "answer", "explanation", "right_answer", "feedback", "feedback_source", "failure_cause",
    "failure", "prompt_tokens", "tokens", "logprob", "version",
)  # fmt: skip
"""Of a table of attempts; beside them stands `weight/COMPONENT` for each term that trained it."""


def attempt_rows(rollouts: Iterable[RolloutRecord]) -> Iterator[dict[str, Any]]:
    """A row per attempt, with the names of `COLUMNS`; what an attempt does not have is None.

    `prompt` is what was said to the policy since its last attempt. An attempt without a score has no reward.
    """
    for record in rollouts:
        about = {
            "step": record.step,
            "group": record.group,
            "rollout": record.rollout,
            "task": record.task,
            "split": record.split,
            "problem": record.problem,
            "right_answer": record.answer,
        }
        if record.failure is not None:
            failed = {"turn": record.turn, "attempt": record.text, "status": record.status}
            cause = {"failure_cause": record.failure.cause, "failure": record.failure.failure}
            yield _row(about | failed | cause)
        for number, turn in enumerate(record.turns):
            feedback = turn.feedback
            yield _row(
                about
                | {
                    "turn": number,
                    "prompt": "\n\n".join(message.content for message in turn.prompt),
                    "thinking": turn.thinking,
                    "attempt": turn.text,
                    "status": turn.status,
                    "reward": turn.score.reward,
                    "correct": turn.score.correct,
                    "well_formed": turn.score.well_formed,
                    "answer": turn.score.answer,
                    "explanation": turn.score.explanation,
                    "feedback": None if feedback is None else feedback.text,
                    "feedback_source": None if feedback is None else feedback.source,
                    "failure_cause": None if feedback is None else feedback.cause,
                    "failure": None if feedback is None else feedback.failure,
                    "prompt_tokens": turn.prompt_tokens,
                    "tokens": turn.completion_tokens,
                    "logprob": turn.logprob,
                    "version": turn.version,
                    **{f"weight/{name}": weight.weight for name, weight in turn.weights.items()},
                }
            )


def _row(values: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    # Half a surrogate pair is no text that a table takes.
    return row | {name: sound(value) if isinstance(value, str) else value for name, value in values.items()}


def columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns by name, which pandas, polars and pyarrow take; None where a row has no such value."""
    kept = list(rows)
    names = dict.fromkeys(name for row in kept for name in row)
    return {name: [row.get(name) for row in kept] for name in names}


def export(run: RunDir, folder: Path) -> list[Path]:
    """Writes `attempts.parquet`, `metrics.parquet` and `evaluations.parquet`; rollouts are read a few at a time.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter, write_table
    except ImportError:
        raise UserError("writing parquet needs pyarrow: pip install -c constraints.txt '.[parquet]'") from None
    metrics = run.metrics()
    kinds = {**dict.fromkeys(_WHOLE, pyarrow.int64()), **dict.fromkeys(_TRUTH, pyarrow.bool_())}
    kinds |= dict.fromkeys((*_NUMBER, *_weights(metrics)), pyarrow.float64())
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in (*COLUMNS, *_weights(metrics))])
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.parquet" for name in ("attempts", "metrics", "evaluations")]
    rows = attempt_rows(run.rollouts())
    # A table gets its name when all three are whole.
    partial = [path.with_name(path.name + ".tmp") for path in paths]
    try:
        with ParquetWriter(partial[0], schema) as writer:
            while chunk := list(islice(rows, _ROWS_AT_A_TIME)):
                writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
        write_table(pyarrow.table(columns(metrics)), partial[1])
        evaluations = [_figures(record.to_json()) for record in run.evaluations()]
        write_table(pyarrow.table(columns(evaluations)), partial[2])
        for made, path in zip(partial, paths, strict=True):
            made.replace(path)
    finally:
        for made in partial:
            made.unlink(missing_ok=True)
    return paths


def _weights(metrics: Sequence[Mapping[str, float]]) -> list[str]:
    """The columns of weights: each step says which components it had."""
    begins = "samples/"
    named = dict.fromkeys(name.removeprefix(begins) for row in metrics for name in row if name.startswith(begins))
    return [f"weight/{name}" for name in named if name not in ("total", "too_long")]


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation without what is no figure of the whole: examples, and lists by turn or task."""
    return {name: value for name, value in record.items() if not isinstance(value, list | dict)}
