"""The command line as tests use it: in processes of its own (`start`: new ones), with runs as small as they come."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from warm_process import run_warm

RECIPES = Path(__file__).parent.parent / "recipes"
SMALL = (
    "trainer.steps=2",
    "trainer.groups_per_batch=2",
    "trainer.group_size=2",
    "trainer.warmup_steps=1",
    "evaluation.problems=4",
    "evaluation.samples=1",
    "rollout.max_new_tokens=12",
    "task.train_size=50",
    "task.validation_size=5",
    "task.test_size=5",
    "engine.device=cpu",
)


def rltf(*arguments: str, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command and checks its exit status; a traceback is never right."""
    done = run_warm(arguments, cwd, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rltf", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    if process.poll() is None:
        process.kill()
        raise AssertionError(f"{path} never had {count} lines")


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
