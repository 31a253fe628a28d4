"""`best/`: the policy with the highest accuracy of first attempts on the validation split, where accuracies differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import VERSION, scripted_engine

import rltf
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


def test_no_best_policy_is_kept_where_none_is_wanted(renderer: Renderer, tmp_path: Path) -> None:
    for name, more in (("off", {"evaluation__keep_best": False}), ("never", {"evaluation__every": 0})):
        run, _ = begin(tmp_path / name, renderer, (0, 1, 3), **more)
        with run:
            run.train()
        assert not (run.path / "best").exists()
