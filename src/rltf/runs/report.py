"""What a run's directory says, as tables for people. Reads nothing but the directory."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rltf.runs.directory import RunDir
from rltf.support.texts import sound

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str, style: str = "") -> Text:
    """Untrusted text for a terminal: no markup is read, and control characters show as `\\ufffd`."""
    return Text(_CONTROL.sub("\ufffd", sound(text)), style=style)


def percent(value: float | None, interval: float | None = None) -> str:
    """A share as a number of per cent with its interval, such as `71.2 ± 2.9 %`; `-` for None."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if interval is None else f"{100 * value:.1f} ± {100 * interval:.1f} %"


def run_report(run: RunDir, summary: dict[str, Any]) -> RenderableType:
    """The end of a run: its table, the examples before and after, and where everything lies."""
    before, after = summary["before"], summary["after"]
    table = Table(title=f"{summary['method']} on {summary['task']}, seed {summary['seed']}", title_justify="left")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for label, name in (("single-turn accuracy", "single_turn"), ("second-turn accuracy", "second_turn")):
        cells = [percent(figures[name], figures[f"{name}_interval"]) for figures in (before, after)]
        table.add_row(label, *cells)
    if before["reward"] != before["single_turn"] or after["reward"] != after["single_turn"]:
        for label, name in (
            ("mean reward, first attempts", "reward"),
            ("mean reward, second attempts", "second_reward"),
        ):
            table.add_row(label, percent(before[name]), percent(after[name]))
        if after["other_reward"] is not None:
            others = [percent(figures["other_reward"]) for figures in (before, after)]
            table.add_row("the same by the second judge, first attempts", *others)
        table.add_row("tokens of a first attempt", f"{before['tokens']:.0f}", f"{after['tokens']:.0f}")
    for task in after.get("by_task", {}):
        figures = [when.get("by_task", {}).get(task, {}) for when in (before, after)]
        cells = [percent(each.get("single_turn"), each.get("single_turn_interval")) for each in figures]
        table.add_row(plain(f"single-turn, {task}"), *cells)
    table.add_row("solved within the turns", percent(before["solved"]), percent(after["solved"]))
    table.add_section()
    table.add_row("rollouts", "", f"{summary['rollouts']:,}")
    table.add_row("tokens sampled", "", f"{summary['tokens']:,}")
    table.add_row("seconds", "", f"{summary['seconds']:,}")
    where = Table(box=None, show_header=False, padding=(0, 1))
    for name, meaning in (
        ("model", "the trained model, for AutoModelForCausalLM.from_pretrained"),
        ("rollouts.jsonl", "every attempt with its score and feedback"),
        ("metrics.jsonl", "one line per step"),
        ("summary.json", "these figures"),
    ):
        where.add_row(plain(name, "bold"), meaning)
    note = Text(
        f"Accuracy on {summary['test_problems']} test problems that no training step saw, ± 95 %. "
        "Single-turn: the first attempt, without feedback. Second-turn: the next attempt, after a wrong first one."
    )
    return Group(table, note, Text(), *_examples(run), plain(f"In {run.path}:"), where)


def _examples(run: RunDir) -> list[RenderableType]:
    records = [record for record in run.records("evaluations.jsonl") if record["split"] == "test"]
    rows: list[RenderableType] = []
    if not records:
        return rows
    later = {example["problem"]: example for example in records[-1]["examples"]}
    for before in records[0]["examples"]:
        after = later.get(before["problem"])
        if after is None:  # A judge gave no score.
            continue
        question = before["turns"][0]["prompt"][-1]["content"]
        table = Table(title=plain(f"{before['task']}, test problem {before['problem']}"), title_justify="left")
        table.add_column("question")
        for when, example in (("before", before), ("after", after)):
            score = example["turns"][0]["score"]
            verdict = (
                "right" if score["correct"] else "wrong" if not score["reward"] else f"reward {score['reward']:.2f}"
            )
            table.add_column(f"{when}: {verdict}")
        table.add_row(plain(question), *(plain(example["turns"][0]["text"]) for example in (before, after)))
        rows.append(table)
    return rows


def transcript(record: dict[str, Any]) -> RenderableType:
    """One rollout record as a readable transcript."""
    rows: list[RenderableType] = [
        plain(f"{record['task']}, {record['split']} problem {record['problem']}: {record['status']}", "bold")
    ]
    for number, turn in enumerate(record["turns"]):
        for message in turn["prompt"]:
            rows += [Text(message["role"], style="bold cyan"), plain(message["content"])]
        score = turn["score"]
        verdict = f"turn {number}: reward {score['reward']:g}, {score['explanation']}"
        if turn["status"] != "stop":
            verdict += f" (ended by {turn['status']})"
        rows += [Text("assistant", style="bold green"), plain(turn["text"]), plain(verdict, "italic")]
        feedback = turn["feedback"]
        if feedback is not None:
            kind = "feedback" if "text" in feedback else "feedback failed"
            rows.append(plain(f"{kind} ({feedback['source']}):", "bold yellow"))
            rows.append(plain(feedback.get("text", feedback.get("failure", ""))))
    if "failure" in record:
        failure = record["failure"]
        rows += [Text("assistant", style="bold green"), plain(record["text"])]
        rows.append(plain(f"no score ({failure['source']}): {failure['failure']}", "bold yellow"))
    return Group(*rows, Text())
