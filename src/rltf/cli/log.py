"""`rltf log`: make, check and convert logs of feedback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rltf.config import RunConfig
from rltf.config.load import apply_override, validate_config
from rltf.feedback.logged import LogEntry, read_log, write_log
from rltf.feedback.logged.convert import Chats, to_pair
from rltf.feedback.logged.entries import numbered_entries
from rltf.feedback.logged.forms import PAIR_FEEDBACK
from rltf.feedback.logged.tally import Tally
from rltf.rollouts.as_log import from_rollouts
from rltf.rollouts.episodes import fits
from rltf.runs.report import plain
from rltf.runs.run import Run
from rltf.support.errors import UserError
from rltf.text.prompts import Prompts


def check_command(path: Path, settings: Sequence[str]) -> None:
    """Reads a log whole and says what it holds, and which entries a run could not use.

    With `engine.model=...` it also says which entries that model's chat template refuses, or its context does not hold.
    """
    config = _config(path, settings)
    console = Console()
    tally = Tally(str(path), 1.0)
    rows = numbered_entries(path, tally)
    if any(setting.startswith("engine.") for setting in settings):
        rows = _fitting(rows, config, tally)
    entries = [entry for _, entry in rows]
    holds = {
        "a revision": sum(entry.revision is not None for entry in entries),
        "a reward": sum(entry.reward is not None for entry in entries),
        "an answer": sum(entry.answer is not None for entry in entries),
        "a problem": sum(entry.problem is not None for entry in entries),
    }
    console.print(plain(f"{path}: {len(entries):,} entries, each with messages, response and feedback"))
    for what, number in holds.items():
        console.print(f"{number:,} with {what}", highlight=False)
    repeated = len(entries) - len({(entry.messages, entry.response, entry.feedback) for entry in entries})
    console.print(f"{repeated:,} repeated", highlight=False)
    _print_unusable(console, tally)
    tally.most = config.log.max_unusable
    tally.check()


def _config(path: Path, settings: Sequence[str]) -> RunConfig:
    data: dict[str, Any] = {"log": {"path": str(path), "score": "none"}, "rollout": {"horizon": 1}}
    data["objective"] = {"name": "rltf_fm"}
    for setting in settings:
        if not setting.startswith(("engine.", "log.max_unusable=")):
            raise UserError(f"{setting}: rltf log check reads engine.* and log.max_unusable alone")
        apply_override(data, setting)
    return validate_config(data)


def _fitting(rows: Sequence[tuple[int, LogEntry]], config: RunConfig, tally: Tally) -> list[tuple[int, LogEntry]]:
    """The entries that the model can take; the others are counted."""
    # Imported here: transformers takes seconds to import.
    from rltf.engines.tinker.local import load_prompts

    renderer, max_tokens = load_prompts(config.engine, config.prompts)
    check = fits(renderer, Prompts(config.prompts), max_tokens)
    found: list[tuple[int, LogEntry]] = []
    for number, entry in rows:
        try:
            check(entry)
        except UserError as error:
            tally.add(f"entry {number} of the log", str(error))
        else:
            found.append((number, entry))
    return found


def _print_unusable(console: Console, tally: Tally) -> None:
    for line in tally.lines():
        console.print(plain(line), soft_wrap=True)


def from_run_command(run: Path, out: Path) -> None:
    """The attempts of a run that got feedback."""
    _refuse_existing(out)
    _told(out, write_log(out, from_rollouts(Run.open(run).rollouts())))


def from_chats_command(chats: str, out: Path, max_unusable: float, pair_feedback: str | None) -> None:
    """What users answered to the assistant in whole conversations, and what feedback sets hold."""
    _refuse_existing(out)
    instead = PAIR_FEEDBACK if pair_feedback is None else pair_feedback
    if not instead.strip():
        raise UserError("--pair-feedback: is empty; it stands for the feedback of pairs, which hold none")
    found = Chats(chats, Tally(chats, max_unusable, "--max-unusable"), instead)
    _told(out, write_log(out, list(found.entries())))
    console = Console()
    if found.without_feedback:
        console.print(f"{found.without_feedback:,} conversations hold no feedback", highlight=False)
    if found.pairs:
        told = f"{found.pairs:,} entries are preference pairs, which hold no feedback; theirs is: {instead}"
        console.print(plain(told), soft_wrap=True)
    _print_unusable(console, found.tally)


def to_pairs_command(log: Path, out: Path) -> None:
    """Pairs of a rejected and a chosen response, for other trainers."""
    _refuse_existing(out)
    pairs = [pair for entry in read_log(log) if (pair := to_pair(entry)) is not None]
    out.write_text("".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs), encoding="utf-8")
    _told(out, len(pairs))


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out}: exists already; choose another file or remove it")


def _told(out: Path, count: int) -> None:
    Console().print(plain(f"wrote {count:,} entries to {out}"))
