"""`rltf log`: make, check and convert logs of feedback."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from rltf.feedback.logged import read_log, write_log
from rltf.feedback.logged.convert import from_chats, from_rollouts, to_pair
from rltf.runs.directory import RunDir
from rltf.runs.report import plain
from rltf.support.errors import UserError


def check_command(path: Path) -> None:
    """Reads a log whole and says what it holds."""
    entries = read_log(path)
    console = Console()
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


def from_run_command(run: Path, out: Path) -> None:
    """The attempts of a run that got feedback."""
    _refuse_existing(out)
    _told(out, write_log(out, from_rollouts(RunDir.open(run).records("rollouts.jsonl"))))


def from_chats_command(chats: Path, out: Path) -> None:
    """What users answered to the assistant in whole conversations."""
    _refuse_existing(out)
    _told(out, write_log(out, list(from_chats(chats))))


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
