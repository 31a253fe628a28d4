from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, rltf
from helpers import make_accuracies, make_evaluation, make_summary

from rltf.comparisons.comparison import Comparison, load_comparison, outcome, spread
from rltf.comparisons.report import side_by_side, table
from rltf.config.load import overlay
from rltf.rollouts.records import Fluency
from rltf.runs.directory import RunDir
from rltf.support.errors import UserError

COMPARISONS = sorted((Path(__file__).parent.parent / "comparisons").glob("*.toml"))
TOML = """
title = "Two methods"
seeds = [0, 1]
baseline = "grpo"

[common.trainer]
steps = 2

[arms.grpo]
objective.name = "grpo"

[arms.sd]
objective.name = "rltf_sd"
objective.sd.coefficient = 0.5
"""


def write(path: Path, text: str = TOML) -> Path:
    file = path / "two.toml"
    file.write_text(text)
    return file


def test_every_arm_gets_every_seed_with_its_own_settings_over_the_common_ones(tmp_path: Path) -> None:
    comparison = load_comparison(write(tmp_path))
    assert [run.name for run in comparison.runs] == ["grpo-seed0", "grpo-seed1", "sd-seed0", "sd-seed1"]
    assert {run.config.trainer.steps for run in comparison.runs} == {2}
    assert [run.config.seed for run in comparison.runs] == [0, 1, 0, 1]
    assert comparison.runs[3].config.objective.model_dump()["sd"]["coefficient"] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baseline", "bassline", "bassline"),
        ('"grpo"\n\n[common', '"ppo"\n\n[common', "baseline='ppo' is no arm; arms: grpo, sd"),
        ("[0, 1]", "[]", "seeds"),
        ("[0, 1]", "[1, 1]", "a seed stands twice"),
        ("steps = 2", "step = 2", "arm grpo: trainer.step: unknown setting; did you mean steps?"),
        ("sd.coefficient = 0.5", "sd.coefficient = -1", "arm sd: objective.sd.coefficient"),
        ("[arms.sd]", "[arms.sd]\ntrainer.steps = 3", "different numbers of rollouts (grpo 256, sd 384)"),
        ("[arms.sd]", '[arms."s/d"]', "arms"),
        ("title = ", "title = [", "not valid TOML"),
        ('"Two methods"', '"Two | methods"', "title"),
        ("[common.trainer]", "[common]\nseed = 3\n[common.trainer]", "common.seed: the seeds of a comparison are in"),
        ("[arms.sd]", "[arms.sd]\nseed = 3", "arms.sd.seed"),
        ("[arms.sd]", '[arms.sd]\ntask.name = "shortest_path"', "arms differ in task"),
        ("[arms.sd]", "[arms.sd]\nevaluation.samples = 2", "arms differ in evaluation"),
        ("[arms.sd]", '[arms.sd]\nengine.model = "other"', "arms differ in engine.model"),
        ("[arms.sd]", '[arms.twin]\nobjective.name = "grpo"\n[arms.sd]', "grpo and twin have the same settings"),
    ],
)
def test_a_wrong_file_is_one_clear_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in TOML
    with pytest.raises(UserError) as caught:
        load_comparison(write(tmp_path, TOML.replace(old, new)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_the_command_line_go_over_every_arm(tmp_path: Path) -> None:
    comparison = load_comparison(write(tmp_path), ["seeds=[7]", "objective.gamma=0.5", "trainer.steps=3"])
    assert [run.name for run in comparison.runs] == ["grpo-seed7", "sd-seed7"]
    assert [run.config.objective.gamma for run in comparison.runs] == [0.5, 0.5]
    assert comparison.runs[1].config.objective.model_dump()["sd"]["coefficient"] == 0.5
    assert {run.config.trainer.steps for run in comparison.runs} == {3}
    one = load_comparison(write(tmp_path), ["seeds=[7]", "arms.sd.objective.gamma=0.5"])
    assert [run.config.objective.gamma for run in one.runs] == [0.1, 0.5]
    with pytest.raises(UserError, match="grpo and sd have the same settings"):
        load_comparison(write(tmp_path, TOML.replace("objective.sd.coefficient = 0.5", "")), ["objective.name=grpo"])
    for wrong, message in (("seed=1", "the seeds of a comparison are in"), ("trainer.step=3", "unknown setting")):
        with pytest.raises(UserError, match=message):
            load_comparison(write(tmp_path), [wrong])


def test_different_numbers_of_rollouts_can_be_allowed(tmp_path: Path) -> None:
    text = TOML.replace("[arms.sd]", "[arms.sd]\ntrainer.steps = 3").replace("seeds", "unequal_rollouts = true\nseeds")
    assert len(load_comparison(write(tmp_path, text)).runs) == 4


def test_overlay_goes_down_into_sections_and_leaves_its_arguments_alone() -> None:
    below = {"a": {"x": 1, "y": 2}, "b": 3}
    assert overlay(below, {"a": {"y": 5}, "c": 4}) == {"a": {"x": 1, "y": 5}, "b": 3, "c": 4}
    assert overlay({"a": 1}, {"a": {"x": 2}}) == {"a": {"x": 2}}
    assert overlay({"a": {"name": "p", "x": 1}}, {"a": {"name": "q"}}) == {"a": {"name": "q"}}
    assert overlay({"a": {"name": "p", "x": 1}}, {"a": {"name": "p", "y": 2}}) == {"a": {"name": "p", "x": 1, "y": 2}}
    assert overlay({"a": {"x": 1}}, {"a": {"name": "q"}}) == {"a": {"name": "q", "x": 1}}
    assert overlay({"a": {"x": 1}, "b": 2}, {"a": "none"}) == {"b": 2}
    assert below == {"a": {"x": 1, "y": 2}, "b": 3}


def test_the_interval_is_students_t_over_seeds() -> None:
    assert spread([0.5]).half is None
    found = spread([0.1, 0.2, 0.3])
    assert found.mean == pytest.approx(0.2)
    assert found.half == pytest.approx(4.303 * 0.1 / 3**0.5)
    assert spread([0.7, 0.7]).half == pytest.approx(0.0)
    # At the end of the table of t the approximation takes over without a jump.
    assert spread([0.0, 1.0] * 8).half == pytest.approx(2.131 * 0.5164 / 4, rel=1e-3)
    assert spread([0.0, 1.0] * 8 + [0.5]).half == pytest.approx(2.120 * 0.5 / 17**0.5, rel=5e-3)


def finished_run(path: Path, config: Any, single: float, second: float | None) -> None:
    run = RunDir.create(path)
    run.write_text("config.json", json.dumps(config.model_dump(mode="json")))
    summary = make_summary(make_accuracies(0.0, 0.1), make_accuracies(single, second))
    run.write_text("summary.json", json.dumps(summary.to_json()))
    evaluations = [make_evaluation(1, "validation", single, second), make_evaluation(2, "test", 0.99, 0.99)]
    run.append("evaluations.jsonl", [evaluation.to_json() for evaluation in evaluations])


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Comparison, Path]:
    comparison = load_comparison(write(tmp_path))
    values = {"grpo-seed0": (0.1, None), "grpo-seed1": (0.3, None), "sd-seed0": (0.5, 0.8), "sd-seed1": (0.6, None)}
    for run in comparison.runs:
        finished_run(tmp_path / "out" / run.name, run.config, *values[run.name])
    return comparison, tmp_path / "out"


def test_the_outcome_has_means_paired_differences_and_curves_of_the_validation_split(
    finished: tuple[Comparison, Path],
) -> None:
    arms = outcome(*finished)["arms"]
    assert arms["grpo"]["after"]["first_turn"]["spread"]["mean"] == pytest.approx(0.2)
    assert arms["grpo"]["after"]["second_turn"]["spread"] is None
    assert arms["grpo"]["difference"] == {}
    # Seed by seed 0.4 and 0.3: narrower than the arms' own intervals.
    assert arms["sd"]["difference"]["first_turn"]["mean"] == pytest.approx(0.35)
    assert arms["sd"]["difference"]["first_turn"]["half"] == pytest.approx(12.706 * 0.0707107 / 2**0.5, rel=1e-4)
    assert arms["sd"]["difference"]["second_turn"] is None
    (point,) = arms["sd"]["curve"]
    assert point["rollouts"] == 128
    assert point["first_turn"]["mean"] == pytest.approx(0.55)
    assert point["second_turn"] == {"mean": 0.8, "half": None}


def test_the_table_names_every_arm_its_seeds_and_the_command(finished: tuple[Comparison, Path]) -> None:
    text = table(outcome(*finished), "rltf compare two.toml")
    assert "| `sd` | 55.0 ± 63.5 (50.0, 60.0) | 35.0 ± 63.5 | 80.0 (80.0, -) | 256 | 1,000 | 10 | 2 |" in text
    assert "| `grpo` | 20.0 ± 127.1 (10.0, 30.0) |  | - |" in text
    assert "| before training | 0.0" in text
    assert "`rltf compare two.toml`" in text


def test_where_arms_start_apart_the_table_says_from_where(finished: tuple[Comparison, Path]) -> None:
    found = outcome(*finished)
    start = {"seeds": {"0": 0.2, "1": 0.4}, "spread": {"mean": 0.3, "half": 0.1}}
    found["arms"]["sd"]["before"]["second_turn"] = start
    text = table(found, "rltf compare two.toml")
    assert "| before training | 0.0 ± 0.0 (0.0, 0.0) |  | differs |" in text
    assert "| 80.0 (80.0, -), from 30.0 ± 10.0 |" in text


def test_comparisons_stand_side_by_side_with_a_gap_where_one_lacks_an_arm(finished: tuple[Comparison, Path]) -> None:
    first = outcome(*finished)
    second = {**first, "title": "Other", "arms": {"sd": first["arms"]["sd"], "fm": first["arms"]["grpo"]}}
    lines = side_by_side([first, second], "rltf compare a.toml b.toml").splitlines()
    assert lines[0] == "| first attempts, % | Two methods | Other |"
    assert lines[2:6] == [
        "| before training | 0.0 ± 0.0 | 0.0 ± 0.0 |",
        "| `grpo` | 20.0 ± 127.1 | - |",
        "| `sd` | 55.0 ± 63.5 | 55.0 ± 63.5 |",
        "| `fm` | - | 20.0 ± 127.1 |",
    ]
    assert "`rltf compare a.toml b.toml`" in lines[-1]


def test_rollouts_to_fixed_accuracies_stand_below_the_table(finished: tuple[Comparison, Path]) -> None:
    found = outcome(*finished)
    assert found["arms"]["grpo"]["rollouts_to"] == {
        "0.25": {"0": None, "1": 128},
        "0.5": {"0": None, "1": None},
        "0.75": {"0": None, "1": None},
    }
    lines = table(found, "rltf compare two.toml").splitlines()
    at = lines.index("| rollouts | to 25 % | to 50 % | to 75 % |")
    assert lines[at + 2 : at + 4] == [
        "| `grpo` | never, 128 | never, never | never, never |",
        "| `sd` | 128, 128 | 128, 128 | never, never |",
    ]
    for arm in found["arms"].values():
        arm["curve"] = []
    assert "to 25 %" not in table(found, "rltf compare two.toml")


def test_how_first_attempts_read_stands_below_the_table_where_all_runs_measured_it(
    finished: tuple[Comparison, Path],
) -> None:
    comparison, directory = finished
    assert outcome(*finished)["arms"]["sd"]["fluency"] is None
    assert "nats a token" not in table(outcome(*finished), "rltf compare two.toml")
    for i, run in enumerate(comparison.runs):
        records = [
            replace(
                make_evaluation(step, "test", 0.5), fluency=Fluency(initial_logprob=logprob, copies=share, echoes=0.0)
            )
            for step, logprob, share in ((0, -1.0, 0.0), (2, -2.0 - i, 0.25))
        ]
        (directory / run.name / "evaluations.jsonl").unlink()
        RunDir(directory / run.name).append("evaluations.jsonl", [record.to_json() for record in records])
    text = table(outcome(*finished), "rltf compare two.toml")
    assert "| before training | -1.00 | 0.0 | 0.0 | 10.0 |\n| `grpo` | -2.50 | 25.0 | 0.0 | 10.0 |" in text
    assert "| `sd` | -4.50 | 25.0 | 0.0 | 10.0 |" in text


def by_kind(words: float, case: float) -> dict[str, dict[str, float | None]]:
    figures = {"first_turn_interval": 0.05, "second_turn": None, "second_turn_interval": None}
    return {
        "use_words": {"problems": 40, "first_turn": words, **figures},
        "a | b": {"problems": 9, "first_turn": case, **figures},
    }


def test_accuracy_by_kind_stands_below_the_table_where_the_task_tells_kinds(
    finished: tuple[Comparison, Path],
) -> None:
    comparison, directory = finished
    assert outcome(*finished)["arms"]["sd"]["by_kind"] == {}
    assert "by kind" not in table(outcome(*finished), "rltf compare two.toml")
    for i, run in enumerate(comparison.runs):
        before, after = by_kind(0.0, 0.1), by_kind(0.2 * i, 1.0)
        summary = make_summary(
            replace(make_accuracies(0.0), by_kind=before), replace(make_accuracies(0.5), by_kind=after)
        )
        (directory / run.name / "summary.json").write_text(json.dumps(summary.to_json()))
    found = outcome(*finished)
    half = 12.706 * 0.2 / 2
    assert found["arms"]["sd"]["by_kind"]["use_words"]["after"]["half"] == pytest.approx(half, rel=1e-3)
    lines = table(found, "rltf compare two.toml").splitlines()
    at = lines.index("| first attempts by kind, % | problems | before | `grpo` | `sd` |")
    assert lines[at + 2 : at + 4] == [
        "| use_words | 40 | 0.0 ± 0.0 | 10.0 ± 127.1 | 50.0 ± 127.1 |",
        "| a ¦ b | 9 | 10.0 ± 0.0 | 100.0 ± 0.0 | 100.0 ± 0.0 |",
    ]
    assert "interval over seeds" in lines[at + 5]
    # Of one seed, the interval is the evaluation's own.
    runs = tuple(run for run in comparison.runs if run.seed == 0)
    alone = table(outcome(replace(comparison, runs=runs), directory), "rltf compare two.toml")
    assert "| use_words | 40 | 0.0 ± 5.0 | 0.0 ± 5.0 | 40.0 ± 5.0 |" in alone
    assert "interval over problems" in alone


def test_an_unfinished_run_is_named(finished: tuple[Comparison, Path]) -> None:
    (finished[1] / "sd-seed1" / "summary.json").unlink()
    with pytest.raises(UserError, match="sd-seed1: the run is not finished"):
        outcome(*finished)


@pytest.mark.parametrize("file", COMPARISONS, ids=lambda path: path.stem)
def test_the_shipped_comparisons_are_valid(file: Path) -> None:
    assert len(load_comparison(file).seeds) >= 3


# The command


def small(model: Path, seeds: str = "[0, 1]") -> str:
    common = "\n".join(SMALL)
    head = f'title = "Small"\nseeds = {seeds}\nbaseline = "grpo"\n'
    arms = '[arms.grpo]\nobjective.name = "grpo"\n[arms.sd]\nobjective.name = "rltf_sd"\n'
    quoted = common.replace("engine.device=cpu", 'engine.device="cpu"')
    return f'{head}[common]\n{quoted}\nengine.model = "{model}"\nevaluation.every = 1\n{arms}'


def test_a_comparison_trains_what_is_missing_and_writes_table_and_figures(tiny_model: Path, tmp_path: Path) -> None:
    write(tmp_path, small(tiny_model))
    done = rltf("compare", "two.toml", "--processes", "2", cwd=tmp_path)
    assert "| `sd` |" in done.stdout
    out = tmp_path / "runs" / "compare" / "two"
    first = {name: (out / name).read_bytes() for name in ("outcome.json", "table.md", "curves.svg")}
    assert first["curves.svg"].startswith(b"<?xml")
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(first["outcome.json"])
    assert [point["rollouts"] for point in found["arms"]["sd"]["curve"]] == [4, 8]
    assert found["arms"]["grpo"]["cost"]["feedback_calls"] == 0
    # Nothing is missing: the same files at once.
    again = rltf("compare", "two.toml", cwd=tmp_path)
    assert "done in" not in again.stdout
    assert {name: (out / name).read_bytes() for name in first} == first
    # Other settings under the same names are refused.
    write(tmp_path, small(tiny_model) + "objective.gamma = 0.5\n")
    refused = rltf("compare", "two.toml", cwd=tmp_path, status=2)
    assert "sd-seed0: was made with other settings" in refused.stderr


def test_several_comparisons_are_checked_before_any_is_trained(tiny_model: Path, tmp_path: Path) -> None:
    two, other = write(tmp_path, small(tiny_model, "[0]")), tmp_path / "other.toml"
    other.write_text(two.read_text().replace('"grpo"\n[arms', '"grpp"\n[arms'))
    refused = rltf("compare", "two.toml", "other.toml", cwd=tmp_path, status=2)
    assert "other.toml" in refused.stderr
    clash = rltf("compare", "two.toml", str(two), cwd=tmp_path, status=2)
    assert "same name" in clash.stderr
    assert "needs a comparison" in rltf("compare", "seeds=[0]", cwd=tmp_path, status=2).stderr
    assert not (tmp_path / "runs").exists()


def test_a_short_form_of_the_main_table_is_one_command(tmp_path: Path) -> None:
    main = [file for file in COMPARISONS if file.stem in ("binary_matrix", "shortest_path", "knights_and_knaves")]
    trainer = {"steps": 1, "warmup_steps": 0, "groups_per_batch": 2, "group_size": 2, "minibatches": 1}
    short = ["seeds=[0]", "evaluation.problems=2", "evaluation.every=1", "task.train_size=50"]
    short += [f"trainer.{name}={value}" for name, value in trainer.items()]
    done = rltf("compare", *map(str, main), *short, "--processes", "2", cwd=tmp_path)
    text = (tmp_path / "runs" / "compare" / "table.md").read_text()
    assert text in done.stdout
    assert text.splitlines()[0].count("|") == 2 + len(main)
    for arm in ("grpo", "grpo_multi", "rejection_sampling", "rltf_sd", "rltf_fm", "rltf_sd_fm"):
        assert f"| `{arm}` |" in text
    assert "trainer.steps=1" in text


def test_a_run_that_fails_is_named_with_its_reason(tiny_model: Path, tmp_path: Path) -> None:
    text = small(tiny_model, "[0]").replace(str(tiny_model), str(tmp_path / "nowhere"))
    write(tmp_path, text)
    failed = rltf("compare", "two.toml", cwd=tmp_path, status=2)
    assert "grpo-seed0 failed: engine.model=" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_ctrl_c_stops_the_runs_and_a_second_call_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    text = small(tiny_model, "[0]").replace("trainer.steps=2", "trainer.steps=30").replace("every = 1", "every = 10")
    write(tmp_path, text)
    command = [sys.executable, "-m", "rltf", "compare", "two.toml", "--out", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "out" / "grpo-seed0" / "metrics.jsonl"
    while not metrics.is_file():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert not (tmp_path / "out" / "grpo-seed0" / "summary.json").exists()
    rltf("compare", "two.toml", "--out", "out", cwd=tmp_path)
    assert len(metrics.read_text().splitlines()) == 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_no_run_outlives_its_comparison(number: signal.Signals, tiny_model: Path, tmp_path: Path) -> None:
    write(
        tmp_path, small(tiny_model).replace("trainer.steps=2", "trainer.steps=3000").replace("every = 1", "every = 0")
    )
    command = [sys.executable, "-m", "rltf", "compare", "two.toml", "--out", "out", "--processes", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs = [tmp_path / "out" / name for name in ("grpo-seed0", "grpo-seed1")]
    while not all((run / "metrics.jsonl").is_file() for run in runs):
        assert process.poll() is None
        time.sleep(0.01)
    second = rltf("compare", "two.toml", "--out", "out", cwd=tmp_path, status=2)
    assert second.stderr.startswith("rltf: out: another process is working here")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stderr == "rltf: stopped\n"
    for run in runs:
        RunDir(run).lock()
