"""A refactor must reproduce the golden trajectory; see CONTRIBUTING.md for a change that moves it on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from golden.renew import GOLDEN, SETTINGS, trajectory


def test_a_short_run_of_the_built_in_model_is_the_golden_one(tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    recorded = golden["environment"]["packages"]["torch"].split("+")[0]
    if torch.__version__.split("+")[0] != recorded:
        pytest.skip(f"the golden trajectory was recorded with torch {recorded}, here is {torch.__version__}")
    assert golden["settings"] == list(SETTINGS)
    steps = trajectory(tmp_path / "run")
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    for found, expected in zip(steps, golden["steps"], strict=True):
        assert found.keys() == expected.keys()
        for name in expected:
            # Processors differ in the last digits; a gap, and a sum that cancels, are nothing but such digits.
            tolerance = 1e-5 if name in ("policy/sampler_gap", "loss/policy") else 1e-7
            assert found[name] == pytest.approx(expected[name], rel=2e-3, abs=tolerance), name
