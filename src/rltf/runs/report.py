"""What a run's records say, for people at a terminal of 80 columns or in a log, with colour or without."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rltf.rollouts.records import Accuracies, EvaluationRecord, RolloutRecord, Summary, TurnRecord
from rltf.support.texts import sound
from rltf.types import turn_name

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MOST_LINES = 40
"""Lines of an attempt that are shown whole; of longer ones, those that differ and some beside them."""
_BESIDE = 2


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
        ("rollouts.jsonl", "every attempt with score and feedback"),
        ("metrics.jsonl", "one line per step"),
        ("summary.json", "these figures"),
    ):
        where.add_row(plain(name, "bold"), meaning)
    look = plain(f"See it as a page: rltf report {path}")
    note = Text(
        f"On {summary.test_problems} test problems that no training step saw, ± 95 %. First attempts are made without "
        "feedback; a second one follows a wrong first one and its feedback."
    )
    return Group(table, note, Text(), *before_and_after(evaluations), plain(f"In {path}:"), where, look)


def transcript(record: RolloutRecord) -> RenderableType:
    """One rollout record as a readable transcript. What was said stands indented below who said it."""
    rows: list[RenderableType] = [
        plain(f"{record.task}, {record.split} problem {record.problem}: {record.status}", "bold")
    ]
    before: TurnRecord | None = None
    for number, turn in enumerate(record.turns):
        for message in turn.prompt:
            rows += [plain(f"{message.role}:", "bold cyan"), _indented(_without_feedback(message.content, before))]
        rows.append(Text("assistant:", style="bold green"))
        if turn.thinking:
            rows.append(_indented(turn.thinking, "dim"))
        verdict = f"{turn_name(number).replace('_', ' ')}: reward {turn.score.reward:g}, {turn.score.explanation}"
        if turn.status != "stop":
            verdict += f" (ended by {turn.status})"
        rows += [_indented(turn.text), plain(verdict, "italic")]
        feedback = turn.feedback
        if feedback is not None:
            kind = "feedback failed" if feedback.text is None else "feedback"
            rows.append(plain(f"{kind} ({feedback.source}):", "bold yellow"))
            rows.append(_indented((feedback.failure or "") if feedback.text is None else feedback.text))
        before = turn
    if record.failure is not None:
        rows += [Text("assistant:", style="bold green"), _indented(record.text or "")]
        rows.append(plain(f"no score ({record.failure.source}): {record.failure.failure}", "bold yellow"))
    return Group(*rows, Text())


def _without_feedback(prompt: str, before: TurnRecord | None) -> str:
    """A later prompt without the feedback, which stands right above it."""
    told = before.feedback.text if before is not None and before.feedback is not None else None
    return prompt.replace(told, "(the feedback)", 1) if told else prompt


def _indented(text: str, style: str = "") -> Padding:
    return Padding(plain(text, style), (0, 0, 0, 2), expand=False)


def before_and_after(evaluations: Sequence[EvaluationRecord]) -> list[RenderableType]:
    """First attempts at the same test problems before and after training, as lines that went (-) and came (+).

    Of the questions, what the one before has too is left out.
    """
    records = [record for record in evaluations if record.split == "test"]
    if not records:
        return []
    later = {(example.task, example.problem): example for example in records[-1].examples if example.turns}
    rows: list[RenderableType] = []
    shown: list[str] = []
    for before in records[0].examples:
        after = later.get((before.task, before.problem))
        if after is None or not before.turns:  # A judge gave no score.
            continue
        question = before.turns[0].prompt[-1].content.split("\n\n")
        title = f"{before.task}, test problem {before.problem}: {_verdict(before)} before, {_verdict(after)} after"
        rows += [plain(title, "bold"), *_new_paragraphs(question, shown), Text()]
        rows += [*_changes(before.turns[0].text, after.turns[0].text), Text()]
        shown = question
    return rows


def _verdict(example: RolloutRecord) -> str:
    score = example.turns[0].score
    return "right" if score.correct else "wrong" if not score.reward else f"reward {score.reward:.2f}"


def _new_paragraphs(paragraphs: Sequence[str], shown: Sequence[str]) -> Iterator[RenderableType]:
    """The paragraphs of a question, with one sign for those that were just shown."""
    left_out = False
    for paragraph in paragraphs:
        if paragraph not in shown:
            yield _indented(paragraph)
        elif not left_out:
            yield Text("  …", style="dim")
        left_out = paragraph in shown


def _changes(before: str, after: str) -> Iterator[RenderableType]:
    """Two attempts as one text: common lines, those of the first alone, those of the second alone."""
    old, new = before.splitlines(), after.splitlines()
    if old == new:
        yield plain("  the same attempt before and after:", "dim")
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    groups: list[list[tuple[str, int, int, int, int]]] = [[*matcher.get_opcodes()]]
    if len(old) + len(new) > 2 * _MOST_LINES:
        groups = [[*group] for group in matcher.get_grouped_opcodes(_BESIDE)]
    for number, hunk in enumerate(groups):
        if number:
            yield Text("  …", style="dim")
        for tag, first, last, start, end in hunk:
            if tag == "equal":
                yield from (plain(f"    {line}") for line in old[first:last])
            else:
                yield from (plain(f"  - {line}", "red") for line in old[first:last])
                yield from (plain(f"  + {line}", "green") for line in new[start:end])
