"""`best/`: the policy with the highest accuracy of first attempts on the validation split, where accuracies differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import rltf as command
from scripted_engine import VERSION, scripted_engine

import rltf
from rltf.rollouts.records import BestRecord, Timing
from rltf.runs.build import build_task
from rltf.tasks import Task
from rltf.text.renderer import Renderer


def begin(path: Path, renderer: Renderer, right: Sequence[int], **more: Any) -> tuple[rltf.Run, Task]:
    """A run of as many steps as `right` tells of, on four validation problems, and its task.

    One of four stays wrong: where no attempt gets feedback, no step is made.
    """
    changes = {
        "objective.name": "rltf_fm",
        "trainer.steps": len(right) - 1,
        "trainer.groups_per_batch": 4,
        "trainer.group_size": 2,
        "trainer.minibatches": 1,
        "trainer.warmup_steps": 0,
        "evaluation.every": 1,
        "evaluation.problems": 4,
        "evaluation.samples": 1,
        "task.train_size": 20,
        "task.validation_size": 4,
        "task.test_size": 4,
    }
    config = rltf.configure(changes=changes | {name.replace("__", "."): value for name, value in more.items()})
    task = build_task(config.task)
    return rltf.Run.begin(config, path, engine=scripted_engine(task, renderer, right)), task


def validated(run: rltf.Run) -> list[float]:
    return [record.first_turn for record in run.evaluations() if record.split == "validation"]


@pytest.mark.parametrize(
    ("right", "best"),
    [
        # After how many steps the accuracy was highest; of equals, the first.
        ((0, 1, 3, 2, 3), 2),
        ((0, 3, 2, 1, 0), 1),
        ((3, 0, 0, 1, 2), 4),
        ((0, 2, 2, 2, 2), 1),
        ((3, 0, 0, 0, 0), 1),
    ],
)
def test_the_best_policy_on_the_validation_split_is_kept(
    right: tuple[int, ...], best: int, renderer: Renderer, tmp_path: Path
) -> None:
    run, _ = begin(tmp_path / "run", renderer, right)
    with run:
        summary = run.train()
    assert validated(run) == [count / 4 for count in right[1:]]
    assert (summary.before.first_turn, summary.after.first_turn) == (right[0] / 4, right[-1] / 4)
    assert summary.best is not None
    assert (summary.best.step, summary.best.validation_first_turn) == (best, right[best] / 4)
    assert (run.path / "best" / VERSION).read_text() == str(best)
    assert (run.model / VERSION).read_text() == "4"


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_the_best_policy_is_the_same_however_often_the_run_is_stopped(
    stop_after: int, renderer: Renderer, tmp_path: Path
) -> None:
    right = (0, 1, 3, 2, 3)
    run, task = begin(tmp_path / "run", renderer, right)
    with run, pytest.raises(rltf.Interrupted):
        run.train(stop=lambda: len(run.metrics().get("step", [])) == stop_after)
    engine = scripted_engine(task, renderer, right)
    with rltf.Run.resume(run.path, engine=engine) as run:
        summary = run.train()
    assert validated(run) == [0.25, 0.75, 0.5, 0.75]
    assert summary.best is not None
    assert summary.best.step == 2
    assert (run.path / "best" / VERSION).read_text() == "2"


def test_the_best_policy_is_never_newer_than_what_a_run_goes_on_from(renderer: Renderer, tmp_path: Path) -> None:
    """Killed after its best step, a run goes on on a machine where it would not be as good again."""

    class Killed(rltf.Observer):
        def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
            if step == 3:
                raise KeyboardInterrupt

    run, task = begin(tmp_path / "run", renderer, (0, 1, 3, 2, 3), trainer__save_every=0)
    with run, pytest.raises(KeyboardInterrupt):
        run.train(observers=[Killed()])
    with rltf.Run.resume(run.path, engine=scripted_engine(task, renderer, (0, 0, 0, 1, 1))) as run:
        summary = run.train()
    assert validated(run) == [0.25, 0.75, 0.25, 0.25]
    assert summary.best == BestRecord(step=2, validation_first_turn=0.75)
    assert (run.path / "best" / VERSION).read_text() == "2"


def test_no_best_policy_is_kept_where_none_is_wanted(renderer: Renderer, tmp_path: Path) -> None:
    for name, more in (("off", {"evaluation__keep_best": False}), ("never", {"evaluation__every": 0})):
        run, _ = begin(tmp_path / name, renderer, (0, 1, 3), **more)
        with run:
            run.train()
        assert not (run.path / "best").exists()


ENGINE = Path(__file__).parent / "scripted_engine.py"
SHORT = (
    "objective.name=rltf_fm",
    "trainer.steps=3",
    "trainer.groups_per_batch=4",
    "trainer.group_size=2",
    "trainer.minibatches=1",
    "trainer.warmup_steps=0",
    "evaluation.every=1",
    "evaluation.problems=4",
    "evaluation.samples=1",
)


def test_an_engine_in_a_file_trains_is_kept_at_its_best_and_evaluated_from_the_command_line(tmp_path: Path) -> None:
    command("train", f"engine.path={ENGINE}:scripted", *SHORT, "--run-dir", "run", cwd=tmp_path)
    run = rltf.Run.open(tmp_path / "run")
    # Four problems, of which 0, 3, 1 and 2 are right before and after each of three steps.
    assert validated(run) == [0.75, 0.25, 0.5]
    assert run.summary is not None
    assert (run.summary.before.first_turn, run.summary.after.first_turn) == (0.0, 0.5)
    assert run.summary.best == BestRecord(step=1, validation_first_turn=0.75)
    assert (tmp_path / "run" / "best" / VERSION).read_text() == "1"
    assert str(ENGINE) in json.loads((tmp_path / "run" / "inputs.json").read_text())
    done = command("eval", "run", "-n", "4", "-k", "1", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["first_turn"] == 0.5


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "has no function make"),
        ("def make(config): return 1 / 0", "raised ZeroDivisionError: division by zero"),
        ("def make(config): return 3", "has no answer"),
    ],
)
def test_an_engine_that_is_none_is_one_clear_line(code: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(code)
    done = command("train", "engine.path=engine.py:make", *SHORT, "--run-dir", "run", cwd=tmp_path, status=2)
    assert message in done.stderr
    assert not (tmp_path / "run").exists()
