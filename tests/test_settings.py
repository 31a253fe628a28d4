"""The reference of settings, in the terminal and in docs/settings.md; and recipes that are directories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rltf.cli.main import app
from rltf.cli.settings import as_markdown
from rltf.config import MixtureConfig, PartConfig, RunConfig
from rltf.config.load import configure
from rltf.config.reference import find, sections, settings
from rltf.config.variants import members
from rltf.support.errors import UserError

ROOT = Path(__file__).parent.parent


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["settings", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_document_is_what_the_command_makes() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == shown("--markdown")


def leaves(prefix: str, annotation: object) -> Iterator[str]:
    """The names of all fields below a section that are no sections themselves."""
    for model in members(annotation):
        for name, field in model.model_fields.items():
            # The settings of a mixture's task are those of a task.
            if model is not PartConfig or name != "task":
                inner = f"{prefix}.{name}.N" if model is MixtureConfig and name == "tasks" else f"{prefix}.{name}"
                yield from leaves(inner, field.annotation) if members(field.annotation) else [inner]


def test_every_field_of_a_run_stands_there_with_its_meaning() -> None:
    known = {setting.name: setting.meaning for setting in settings()}
    expected = [name for section, field in RunConfig.model_fields.items() for name in leaves(section, field.annotation)]
    assert len(set(expected)) > 150
    assert [name for name in expected if not known.get(name)] == []


def test_the_terminal_shows_sections_one_section_and_one_field() -> None:
    assert all(section in shown() for section in sections())
    text = shown("trainer")
    assert "trainer.steps = 200" in text
    assert "Batches of rollouts to train on." in text
    assert "rollout." not in text
    only = shown("trainer.schedule")
    assert "(constant, linear, cosine)" in only
    assert "trainer.steps" not in only


def test_types_defaults_and_variants_are_said() -> None:
    known = {setting.name: setting for setting in find("objective")}
    assert known["objective.sd.baseline"].of == ("rltf_sd", "rltf_sd_fm")
    assert known["objective.gamma"].of == ()
    assert known["objective.gamma"].type == "number from 0 to 1"
    assert known["objective.sd.logprob_floor"].type == "number to 0, or none"
    coefficients = {s.of: s.default for s in find("objective.policy_coefficient")}
    assert coefficients[("sdpo",)] == "0.0"
    assert find("task.path")[0].default == ""  # It must be set.


def test_a_bare_name_and_a_part_of_a_section_are_found() -> None:
    assert [setting.name for setting in find("learning_rate")] == ["trainer.learning_rate"]
    assert {setting.name for setting in find("engine.lora")} >= {"engine.lora", "engine.lora.rank"}
    assert [setting.name for setting in find("evaluation.judge.model")] == ["evaluation.judge.model"]


@pytest.mark.parametrize(
    ("name", "close"),
    [("trainer.lerning_rate", "trainer.learning_rate"), ("trainr", "trainer"), ("zzz", "the sections are task")],
)
def test_an_unknown_name_gets_a_close_match(name: str, close: str) -> None:
    with pytest.raises(UserError, match=close):
        find(name)


def test_no_cell_of_the_document_breaks_its_table() -> None:
    for line in as_markdown().splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 5, line


def test_a_directory_of_recipes_says_which_files_to_lay_over_each_other() -> None:
    with pytest.raises(UserError) as error:
        configure(ROOT / "recipes" / "paper")
    said = str(error.value)
    assert "\n" not in said
    assert said.index("common.toml, then one task (") < said.index("then one method (grpo, ")
    assert "knights_and_knaves" in said
    with pytest.raises(UserError, match=r"give one of its recipes \(grpo, "):
        configure(ROOT / "recipes" / "binary_matrix")
    with pytest.raises(UserError, match=r"one of its recipes \(hf_full, .*, or recipes of .* \(binary_matrix, .*paper"):
        configure(ROOT / "recipes")


def test_other_directories_say_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give a recipe, which is a TOML file"):
        configure(tmp_path)
    (tmp_path / "broken.toml").write_text("[")
    with pytest.raises(UserError, match="give a recipe"):
        configure(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"settings of the run there are .*config.json"):
        configure(tmp_path)
