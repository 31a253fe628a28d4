"""The card of a trained model, made from the run that trained it: method, data, figures, feedback, licence."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rltf.config import RunConfig
from rltf.config.engines import BUILTIN, SMOLLM2
from rltf.rollouts.records import Accuracies, Summary
from rltf.runs.directory import RunDir

CARD = "README.md"
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license:[ \t]*(?P<licence>[\w.+-]+)[ \t]*\n(?:.*\n)*?---", re.MULTILINE)
_LICENCES = {BUILTIN: "apache-2.0", SMOLLM2: "apache-2.0"}
_FENCE = re.compile(r"[`|<>\n\r]")


def write_cards(run: RunDir, config: RunConfig, summary: Summary) -> None:
    """Puts a card beside each model that the run has exported."""
    for name in ("model", "best"):
        if (run.path / name).is_dir():
            (run.path / name / CARD).write_text(card(config, summary, best=name == "best"), encoding="utf-8")


def card(config: RunConfig, summary: Summary, *, best: bool = False) -> str:
    """The card as Markdown with the front matter that the hub reads. It holds no path of this machine.

    `best`: of the model that was best on the validation problems, whose test figures the run does not know.
    """
    base, licence = config.engine.model, licence_of(config.engine.model)
    named = _named(base)
    head = {"library_name": "transformers", "tags": ["rltf", "reinforcement-learning", "text-feedback"]}
    if "/" in base and not Path(base).expanduser().exists():
        head["base_model"] = base
    if licence is not None:
        head["license"] = licence
    # JSON is YAML, and quotes whatever needs it.
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())
    source = config.feedback.source
    judge = f" ({_plain(config.judge.model)})" if source == "llm" and config.judge.model else ""
    trainer = config.trainer
    lines = [
        f"---\n{front}\n---",
        f"# {named}, trained on {_plain(summary.task)} from text feedback",
        f"Trained with rltf by the method `{_plain(summary.method)}` from `{named}`: {summary.steps} steps of "
        f"{trainer.groups_per_batch} problems with {trainer.group_size} rollouts each, {summary.rollouts:,} rollouts "
        f"and {summary.tokens:,} sampled tokens, seed {summary.seed}. Feedback was for training: it answers without.",
        "## Data and feedback",
        f"Problems of the task `{_plain(summary.task)}`; feedback from `{_plain(source)}`{judge}, "
        f"asked for {summary.feedback_calls:,} times.",
        "## Figures",
        *([] if summary.best is None or not best else [_best(summary)]),
        *_figures(summary, best),
        "## Licence",
        f"The base model's: {licence}."
        if licence is not None
        else f"That of the base model, `{named}`, whose files name none: look it up before you pass this model on.",
    ]
    return "\n\n".join(lines) + "\n"


def licence_of(model: str) -> str | None:
    """What the card in a model's directory names; None for a model that lies elsewhere, or whose card names none."""
    if model in _LICENCES:
        return _LICENCES[model]
    try:
        found = _LICENCE.match((Path(model).expanduser() / CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RuntimeError, ValueError):
        return None
    return found["licence"] if found else None


def _best(summary: Summary) -> str:
    best = summary.best
    assert best is not None
    return (
        f"The model after step {best.step}, which was best on the validation problems: there "
        f"{100 * best.validation_first_turn:.1f} % of its first attempts were right. The table is of the last model."
    )


def _figures(summary: Summary, best: bool) -> list[str]:
    def row(name: str, value: str, half: str | None) -> str:
        cells = [_share(figures, value, half) for figures in (summary.before, summary.after)]
        return f"| {name} | {cells[0]} | {cells[1]} |"

    after = "after, last model" if best else "after"
    table = [
        f"| on {summary.test_problems} test problems, % | before | {after} |",
        "|---|---|---|",
        row("right first attempts, without feedback", "first_turn", "first_turn_interval"),
        row("right second attempts, after feedback on a wrong first one", "second_turn", "second_turn_interval"),
        row("mean reward of first attempts", "reward", "reward_interval"),
    ]
    return ["\n".join(table), "± is half the 95 % interval over problems. No training step saw the test problems."]


def _share(figures: Accuracies, name: str, half: str | None) -> str:
    value, width = getattr(figures, name), getattr(figures, half) if half else None
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if width is None else f"{100 * value:.1f} ± {100 * width:.1f}"


def _named(model: str) -> str:
    """A model's name without the path of this machine."""
    return _plain(Path(model).name if Path(model).expanduser().is_absolute() or Path(model).exists() else model)


def _plain(text: str) -> str:
    """A name that neither ends a code span nor a cell."""
    return _FENCE.sub("", text)[:100]
