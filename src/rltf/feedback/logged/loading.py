"""A log as training takes it: the entries that its settings can use, and the problem that each is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rltf.config.log import LogConfig
from rltf.feedback.logged.entries import LogEntry, numbered_entries
from rltf.feedback.logged.tally import Tally, UnusableRow
from rltf.feedback.logged.task import LoggedAnswers, problem_of_entry
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks.base import Rubric, Task
from rltf.tasks.mixture import parts_of
from rltf.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLog:
    """The entries of a log that can be used."""

    entries: Sequence[LogEntry]
    problems: Sequence[Problem]
    """What each entry is about, as its scorer needs it."""
    numbers: Sequence[int]
    """The row of each entry in its file, from 1."""
    about: Task
    """Scores revisions of the entries."""
    evaluated: Task
    """Has the problems of evaluations: `about`, or the task of the settings."""
    tally: Tally
    """The entries that cannot be used."""

    def record(self) -> dict[str, Any]:
        """As plain JSON values, for a run's directory."""
        used = {"entries": len(self.entries), "evaluated_on": self.evaluated.name}
        return {**used, **self.tally.record()}

    def told(self) -> list[str]:
        """For people: what is left out, and what evaluations are on."""
        if self.evaluated is not self.about:
            return [*self.tally.lines(), f"evaluations are on {self.evaluated.name}, not on the log's own questions"]
        if self.about.name != LoggedAnswers.name:
            return self.tally.lines()
        sizes = [f"{self.about.size(split):,} for {split}" for split in ("validation", "test")]
        held_out = f"evaluations are on questions of the log that no step trains on: {', '.join(sizes)}"
        return [*self.tally.lines(), held_out]


def load_log(config: LogConfig, task: Task, seed: int, check: Callable[[LogEntry], None] | None = None) -> LoadedLog:
    """The log of the settings; raises `UserError` where too many of its entries cannot be used.

    Args:
        config: its settings, with a path.
        task: the task of the run.
        seed: the run's, which chooses the questions that are held out for evaluation.
        check: raises `UserError` on an entry that the model cannot take.
    """
    assert config.path is not None
    path = Path(config.path)
    tally = Tally(str(path), config.max_unusable)
    rows = numbered_entries(path, tally)
    kept: list[tuple[int, LogEntry]] = []
    problems: list[Problem] = []
    for number, entry in rows:
        try:
            problem = _problem(config, entry, task)
            if check is not None:
                check(entry)
        except UserError as error:
            tally.add(f"entry {number} of the log", str(error))
            continue
        kept.append((number, entry))
        problems += [problem] if problem is not None else []
    tally.check()
    if not kept:
        raise UserError(f"{path}: no entry can be used")
    if config.score == "task":
        entries = [entry for _, entry in kept]
        numbers = [number for number, _ in kept]
        return LoadedLog(entries=entries, problems=problems, numbers=numbers, about=task, evaluated=task, tally=tally)
    on_log = _evaluated_on_log(config, [entry for _, entry in kept], task)
    held_out: dict[str, list[LogEntry]] = {"validation": [], "test": []}
    if on_log:
        held_out, kept = _hold_out(config, kept, seed)
    entries = [entry for _, entry in kept]
    rubric = Rubric(passing=config.passing_score) if config.score == "judge" else None
    scored = config.score == "answer" or (on_log and config.learns_logged_revisions)
    about = LoggedAnswers(entries, scored=scored, rubric=rubric, **held_out)
    return LoadedLog(
        entries=entries,
        problems=[about.problem("train", i) for i in range(len(entries))],
        numbers=[number for number, _ in kept],
        about=about,
        evaluated=about if on_log else task,
        tally=tally,
    )


def _problem(config: LogConfig, entry: LogEntry, task: Task) -> Problem | None:
    """The task's problem that an entry is about, where it is scored by one; raises where the entry lacks something."""
    if config.score == "task":
        return problem_of_entry(entry, task)
    has_answer = bool(entry.answer and entry.answer.strip())
    if config.score == "answer" and not has_answer:
        raise UnusableRow("log.score=answer", "it has no answer; add it or remove the entry")
    if config.learns_logged_revisions:
        if entry.revision is None or not entry.revision.strip():
            raise UnusableRow(f"log.score={config.score}", "it has no revision; add it or remove the entry")
        if config.evaluate_on == "log" and not has_answer:
            raise UnusableRow("log.evaluate_on=log", "it has no answer to score by; add it or remove the entry")
    return None


def _evaluated_on_log(config: LogConfig, entries: Sequence[LogEntry], task: Task) -> bool:
    parts = parts_of(task)
    own = all(entry.problem is None or entry.problem.task not in parts for entry in entries)
    return config.evaluate_on == "log" or (config.may_be_evaluated_on and own)


def _hold_out(
    config: LogConfig, rows: Sequence[tuple[int, LogEntry]], seed: int
) -> tuple[dict[str, list[LogEntry]], list[tuple[int, LogEntry]]]:
    """For validation and test one entry of each question held out, and the rows of all other questions."""
    questions = list({entry.messages: entry for _, entry in rows}.values())
    Random(derive_seed(seed, "log", "held out")).shuffle(questions)
    count = max(1, round(config.held_out * len(questions)))
    held_out = {"test": questions[:count], "validation": questions[count : 2 * count]}
    kept_from = {entry.messages for entries in held_out.values() for entry in entries}
    rest = [(number, entry) for number, entry in rows if entry.messages not in kept_from]
    if not rest or not held_out["validation"]:
        raise UserError(
            f"log.held_out={config.held_out:g}: of the log's {len(questions)} questions none are left to train on; "
            "lower it, add entries, or evaluate on the task with log.evaluate_on=task"
        )
    return held_out, rest
