"""What a run's records say, as tables for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rltf.rollouts.records import Accuracies, EvaluationRecord, RolloutRecord, Summary
from rltf.support.texts import sound
from rltf.types import turn_name

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str, style: str = "") -> Text:
    """Untrusted text for a terminal: no markup is read, and control characters show as `\\ufffd`."""
    return Text(_CONTROL.sub("\ufffd", sound(text)), style=style)


def percent(value: float | None, interval: float | None = None) -> str:
    """A share as a number of per cent with its interval, such as `71.2 ± 2.9 %`; `-` for None."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if interval is None else f"{100 * value:.1f} ± {100 * interval:.1f} %"


def run_report(path: Path, summary: Summary, evaluations: Sequence[EvaluationRecord]) -> RenderableType:
    """The end of a run: its table, the examples before and after, and where everything lies in `path`."""
    before, after = summary.before, summary.after
    table = Table(title=f"{summary.method} on {summary.task}, seed {summary.seed}", title_justify="left")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")

    def row(label: str | Text, figure: Callable[[Accuracies], float | None], half: str | None = None) -> None:
        intervals = [getattr(figures, half) if half else None for figures in (before, after)]
        values = [figure(figures) for figures in (before, after)]
        table.add_row(label, *(percent(value, each) for value, each in zip(values, intervals, strict=True)))

    row("first attempts that are right", lambda figures: figures.first_turn, "first_turn_interval")
    row("second attempts that are right", lambda figures: figures.second_turn, "second_turn_interval")
    if any(figures.reward != figures.first_turn for figures in (before, after)):
        row("mean reward, first attempts", lambda figures: figures.reward)
        row("mean reward, second attempts", lambda figures: figures.second_reward)
        if after.other_reward is not None:
            row("the same by the second judge, first attempts", lambda figures: figures.other_reward)
        table.add_row("tokens of a first attempt", f"{before.tokens:.0f}", f"{after.tokens:.0f}")
    for task in after.by_task:
        cells = [figures.by_task.get(task, {}) for figures in (before, after)]
        shown = [percent(cell.get("first_turn"), cell.get("first_turn_interval")) for cell in cells]
        table.add_row(plain(f"first attempts that are right, {task}"), *shown)
    row("solved within the turns", lambda figures: figures.solved)
    table.add_section()
    table.add_row("rollouts", "", f"{summary.rollouts:,}")
    table.add_row("tokens sampled", "", f"{summary.tokens:,}")
    table.add_row("seconds", "", f"{summary.seconds:,}")
    where = Table(box=None, show_header=False, padding=(0, 1))
    for name, meaning in (
        ("model", "the trained model, for AutoModelForCausalLM.from_pretrained"),
        ("rollouts.jsonl", "every attempt with its score and feedback"),
        ("metrics.jsonl", "one line per step"),
        ("summary.json", "these figures"),
    ):
        where.add_row(plain(name, "bold"), meaning)
    note = Text(
        f"On {summary.test_problems} test problems that no training step saw, ± 95 %. First attempts are made without "
        "feedback; a second one follows a wrong first one and its feedback."
    )
    return Group(table, note, Text(), *_examples(evaluations), plain(f"In {path}:"), where)


def _examples(evaluations: Sequence[EvaluationRecord]) -> list[RenderableType]:
    records = [record for record in evaluations if record.split == "test"]
    rows: list[RenderableType] = []
    if not records:
        return rows
    later = {example.problem: example for example in records[-1].examples}
    for before in records[0].examples:
        after = later.get(before.problem)
        if after is None:  # A judge gave no score.
            continue
        question = before.turns[0].prompt[-1].content
        table = Table(title=plain(f"{before.task}, test problem {before.problem}"), title_justify="left")
        table.add_column("question")
        for when, example in (("before", before), ("after", after)):
            score = example.turns[0].score
            verdict = "right" if score.correct else "wrong" if not score.reward else f"reward {score.reward:.2f}"
            table.add_column(f"{when}: {verdict}")
        table.add_row(plain(question), *(plain(example.turns[0].text) for example in (before, after)))
        rows.append(table)
    return rows


def transcript(record: RolloutRecord) -> RenderableType:
    """One rollout record as a readable transcript."""
    rows: list[RenderableType] = [
        plain(f"{record.task}, {record.split} problem {record.problem}: {record.status}", "bold")
    ]
    for number, turn in enumerate(record.turns):
        for message in turn.prompt:
            rows += [Text(message.role, style="bold cyan"), plain(message.content)]
        name = turn_name(number).replace("_", " ")
        verdict = f"{name}: reward {turn.score.reward:g}, {turn.score.explanation}"
        if turn.status != "stop":
            verdict += f" (ended by {turn.status})"
        rows.append(Text("assistant", style="bold green"))
        if turn.thinking:
            rows.append(plain(turn.thinking, "dim"))
        rows += [plain(turn.text), plain(verdict, "italic")]
        feedback = turn.feedback
        if feedback is not None:
            kind = "feedback failed" if feedback.text is None else "feedback"
            rows.append(plain(f"{kind} ({feedback.source}):", "bold yellow"))
            rows.append(plain((feedback.failure or "") if feedback.text is None else feedback.text))
    if record.failure is not None:
        rows += [Text("assistant", style="bold green"), plain(record.text or "")]
        rows.append(plain(f"no score ({record.failure.source}): {record.failure.failure}", "bold yellow"))
    return Group(*rows, Text())
