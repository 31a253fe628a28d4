"""A look at a task draws few of its problems, and finds settings that give far fewer than they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import RECIPES, rltf

from rltf.cli.dry_run import dry_run
from rltf.config.load import configure, load_config
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks import knights_and_knaves
from rltf.tasks.glance import glance
from rltf.tasks.mixture import Mixture
from rltf.tasks.splits import DisjointSplits
from rltf.types import Problem, Split


class Urn:
    """Draws one of `different` problems, and nothing every third time."""

    def __init__(self, different: int, total: int = 10_000) -> None:
        self.different, self.draws = different, 0
        self.splits = DisjointSplits(self._draw, {"train": total - 400, "validation": 200, "test": 200}, 0)

    def _draw(self, split: Split, index: int, seed: int, position: int) -> Problem | None:
        self.draws += 1
        if position % 3 == 0:
            return None
        number = derive_seed(seed, position) % self.different
        return Problem(task="urn", split=split, index=index, prompt=str(number), answer="")


def test_a_look_draws_a_few_hundred_problems_of_a_rich_generator() -> None:
    urn = Urn(10**9)
    found = urn.splits.glance("train")
    assert len({problem.prompt for problem in found}) == len(found) > 200
    assert urn.draws < 500
    # What is drawn afterwards is what would have been drawn without the look.
    assert urn.splits.problem("train", 40) == Urn(10**9).splits.problem("train", 40)


@pytest.mark.parametrize("different", [1, 300, 2_000, 5_000])
def test_a_look_finds_a_generator_that_is_far_too_poor(different: int) -> None:
    with pytest.raises(UserError, match=r"size=\d+: these task settings give only \d+ distinct problems"):
        Urn(different).splits.glance("train")


def test_of_few_problems_all_are_drawn() -> None:
    assert len(Urn(10**9, total=500).splits.glance("train")) == 100
    with pytest.raises(UserError, match=r"these task settings give only 4\d\d distinct problems"):
        Urn(490, total=500).splits.glance("train")


def test_each_part_of_a_mixture_is_looked_at() -> None:
    sizes = {"task.train_size": 20, "task.validation_size": 5, "task.test_size": 5}
    parts = {
        name: (build_task(configure(changes={"task.name": name, **sizes}).task), 1.0)
        for name in ("binary_matrix", "shortest_path")
    }
    assert {problem.task for problem in glance(Mixture(parts))} == set(parts)


def test_validate_refuses_settings_that_training_refuses(tmp_path: Path) -> None:
    few = ("task.min_side=3", "task.max_side=3")
    refused = rltf("validate", "binary_matrix", *few, "--problems", "5", cwd=tmp_path, status=2)
    assert "these task settings give only" in refused.stderr
    trained = rltf("train", *few, "--run-dir", "run", cwd=tmp_path, status=2)
    assert trained.stderr.split("give only")[0] == refused.stderr.split("give only")[0]


def test_a_dry_run_draws_few_problems_of_a_generator_that_is_slow(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As reasoning-gym's is for many people."""
    paper = [RECIPES / "paper" / f"{name}.toml" for name in ("common", "knights_and_knaves", "rltf_sd")]
    config = load_config(
        paper, [f"engine.model={tiny_model}", "engine.device=cpu", "judge.model=m", "rollout.max_new_tokens=64"]
    )
    draws = 0

    def generate(people: int, depth: int, width: int, seed: int, position: int) -> Problem:
        nonlocal draws
        draws += 1
        return Problem(task="knights_and_knaves", split="train", index=0, prompt=f"{seed} {position}", answer="x")

    monkeypatch.setattr(knights_and_knaves, "generate", generate)
    dry_run(config)
    assert "problems: good" in capsys.readouterr().out
    assert draws < 1000
