"""Runs the golden trajectory and writes it anew: `python -m tests.golden.renew`, from the checkout's root."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from rltf.config.load import load_config
from rltf.feedback.llm import Endpoints
from rltf.runs.build import build_engine, build_task, build_trainer
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer
from rltf.runs.provenance import environment

GOLDEN = Path(__file__).parent / "trajectory.json"
SETTINGS = (
    "objective.name=rltf_sd_fm",
    "trainer.steps=4",
    "trainer.groups_per_batch=4",
    "trainer.group_size=4",
    "trainer.minibatches=2",
    "trainer.warmup_steps=2",
    "evaluation.problems=4",
    "evaluation.samples=1",
    "engine.device=cpu",
)


def trajectory(directory: Path) -> list[dict[str, float]]:
    """The metrics of each step of a short run of the built-in model."""
    config = load_config([], SETTINGS)
    run = RunDir.create(directory)
    engine, task = build_engine(config), build_task(config.task)
    build_trainer(config, run_dir=run, engine=engine, endpoints=Endpoints(), task=task, observer=Observer()).run()
    return run.metrics()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        steps = trajectory(Path(directory) / "run")
    GOLDEN.write_text(json.dumps({"environment": environment(), "settings": SETTINGS, "steps": steps}, indent=2) + "\n")
    print(f"wrote {GOLDEN}")
