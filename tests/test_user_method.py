"""A method in a file of the user's: through the command line, with its own settings, and what is said of a bad one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import make_context
from typer.testing import CliRunner

from rltf.cli.main import app
from rltf.config.load import validate_config
from rltf.objectives import build_objective
from rltf.support.errors import UserError
from rltf.text.renderer import Renderer

EXAMPLE = Path(__file__).parent.parent / "examples" / "feedback_on_tokens.py"
METHOD = f"objective.path={EXAMPLE}:feedback_on_tokens"
SHORT = [
    "trainer.steps=2",
    "trainer.groups_per_batch=2",
    "trainer.minibatches=1",
    "evaluation.problems=2",
    "evaluation.samples=1",
]


def run(path: Path, *settings: str, says: str = "") -> list[dict[str, float]]:
    result = CliRunner().invoke(app, ["train", METHOD, *SHORT, *settings, "--run-dir", str(path)])
    assert result.exit_code == 0, result.output
    assert says in result.output
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_the_example_trains_through_the_command_line_and_its_settings_count(tmp_path: Path) -> None:
    metrics = run(tmp_path / "run", says="feedback_on_tokens on binary_matrix with builtin: 2 steps")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["method"] == "feedback_on_tokens"
    assert metrics[0]["samples/blame"] > 0
    assert metrics[0]["samples/policy"] > 0
    heavier = run(tmp_path / "heavier", "objective.settings.weight=4.0")
    assert heavier[0]["loss/blame"] == pytest.approx(4 * metrics[0]["loss/blame"], rel=1e-4)
    config = json.loads((tmp_path / "heavier" / "config.json").read_text())
    assert config["objective"]["settings"] == {"weight": 4.0}
    assert str(EXAMPLE) in json.loads((tmp_path / "heavier" / "inputs.json").read_text())


@pytest.mark.parametrize(
    ("code", "settings", "message"),
    [
        ("", {}, "has no function method"),
        ("raise RuntimeError('no')", {}, "the file raised RuntimeError: no"),
        ("def method(settings, context): return []", {}, "write def method"),
        ("{S}def method(settings: S, context: object): return []", {}, "not a list of rltf.Term"),
        ("{S}def method(settings: S, context: object): return 1 / 0", {}, r"raised ZeroDivisionError.*line"),
        ("{S}def method(settings: S, context: object): return []", {"b": 1}, r"objective\.settings\.b: .*known: a"),
        ("{S}def method(settings: S, context: object): return []", {"a": "x"}, r"objective\.settings\.a: "),
    ],
)
def test_a_method_that_cannot_be_used_is_one_clear_line(
    renderer: Renderer, tmp_path: Path, code: str, settings: dict[str, object], message: str
) -> None:
    file = tmp_path / "method.py"
    file.write_text(code.replace("{S}", "import rltf\nclass S(rltf.Section):\n    a: int = 0\n"))
    config = validate_config({"objective": {"path": f"{file}:method", "settings": settings}})
    with pytest.raises(UserError, match=message) as raised:
        build_objective(config.objective, make_context(renderer))
    assert "\n" not in str(raised.value)


def test_a_path_that_names_no_function_is_refused_when_the_settings_are_read() -> None:
    with pytest.raises(UserError, match=r"objective\.path"):
        validate_config({"objective": {"path": "method.py"}})
