"""Figures over groups of rollouts, by literal values."""

from __future__ import annotations

import pytest
from helpers import make_group, make_rollout, make_turn

from rltf.rollouts.evaluate import summarize


def test_half_an_interval_comes_from_the_spread_over_problems() -> None:
    groups = [
        make_group(make_rollout(make_turn(reward=r)), make_rollout(make_turn(reward=r))) for r in (0.0, 1.0, 1.0, 0.0)
    ]
    figures = summarize(groups, "test", 2, 1.0)
    assert figures.first_turn == 0.5
    # Residuals -1, 1, 1, -1 of problems with 2 attempts each: 1.96 sqrt(4/3 * 4) / 8.
    assert figures.first_turn_interval == pytest.approx(1.96 * (16 / 3) ** 0.5 / 8)
    assert figures.second_turn is None
    assert figures.second_turn_interval is None


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_without_any_spread_it_is_what_so_many_problems_leave_open(reward: float) -> None:
    groups = [make_group(make_rollout(make_turn(reward=reward))) for _ in range(58)]
    figures = summarize(groups, "test", 1, 1.0)
    assert figures.first_turn == reward
    # 0.95 ^ 58 = 0.051: five in a hundred would just have shown.
    assert figures.first_turn_interval == pytest.approx(0.0503, abs=1e-3)
