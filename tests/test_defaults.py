"""What was not set follows from model and task, is settled once, and is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import rltf

import rltf.runs.defaults as defaults
from rltf.config import RunConfig
from rltf.config.engines import on_this_machine
from rltf.config.load import configure, validate_config
from rltf.engines.torch import arithmetic
from rltf.engines.torch.arithmetic import Arithmetic
from rltf.runs.build import build_task
from rltf.runs.defaults import learning_rate, read_defaults, settle, with_defaults
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer
from rltf.runs.run import Run
from rltf.support.errors import UserError
from rltf.tasks import Task

# hidden, intermediate, layers, heads, key-value heads, vocabulary, tied
SHAPES = {
    "135M": (576, 1536, 30, 9, 3, 49152, True),
    "0.6B": (1024, 3072, 28, 16, 8, 151936, True),
    "8B": (4096, 14336, 32, 32, 8, 128256, False),
}
FAST = Arithmetic(device="cpu", float32=2e11, bfloat16=8e11)
SLOW = Arithmetic(device="cpu", float32=2e11, bfloat16=2.5e11)
SHORT = (
    "trainer.steps=3",
    "trainer.group_size=2",
    "trainer.save_every=1",
    "evaluation.problems=1",
    "evaluation.samples=1",
    "engine.device=cpu",
)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "measured", lambda device: FAST)


def described(path: Path, shape: str, context: int = 8192) -> str:
    """A directory with a config alone, as sizes are read from it."""
    from transformers import LlamaConfig

    hidden, intermediate, layers, heads, key_values, vocabulary, tied = SHAPES[shape]
    LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_values,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        max_position_embeddings=context,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(path)
    return str(path)


def settled(changes: dict[str, Any]) -> RunConfig:
    config = configure(changes=changes)
    return settle(config, build_task(config.task)).config


def test_the_built_in_model_and_those_of_its_size_keep_its_settings(tiny_model: Path) -> None:
    for model in ("builtin", str(tiny_model)):
        config = configure(changes={"engine.model": model})
        found = settle(config, build_task(config.task))
        assert found.defaults == ()
        assert found.config == config
    assert (config.trainer.learning_rate, config.trainer.groups_per_batch, config.trainer.minibatches) == (4e-4, 16, 2)


@pytest.mark.parametrize(
    ("shape", "lora", "rate", "groups", "coefficient"),
    [
        ("135M", False, 1e-5, 8, 1.0),
        ("135M", True, 2e-4, 8, 1.0),
        ("0.6B", False, 3.6e-6, 8, 1.0),
        ("8B", False, 1e-6, 32, 0.1),
        ("8B", True, 2e-5, 32, 0.1),
    ],
)
def test_settings_follow_from_size_and_adapters(
    tmp_path: Path, shape: str, lora: bool, rate: float, groups: int, coefficient: float
) -> None:
    model = described(tmp_path / "m", shape)
    config = settled({"engine.model": model, **({"engine.lora.rank": 8} if lora else {})})
    assert config.trainer.learning_rate == pytest.approx(rate, rel=0.05)
    assert (config.trainer.groups_per_batch, config.trainer.minibatches) == (groups, 1)
    assert config.objective.model_dump()["sd"]["coefficient"] == coefficient
    assert on_this_machine(config.engine).dtype == "bfloat16"


def test_the_rate_falls_with_size_and_never_below_the_usual() -> None:
    rates = [learning_rate(size * 10**6, adapters=False) for size in (20, 135, 600, 1700, 4000, 8000, 70_000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == rates[-2] == 1e-6


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("trainer.learning_rate", 4e-4),
        ("trainer.groups_per_batch", 16),
        ("trainer.minibatches", 2),
        ("rollout.max_new_tokens", 32),
        ("objective.sd.coefficient", 1.0),
        ("engine.dtype", "float32"),
    ],
)
def test_what_is_set_stays_also_where_it_is_the_built_in_models(tmp_path: Path, setting: str, value: Any) -> None:
    model = described(tmp_path / "m", "8B")
    config = configure(changes={"engine.model": model, setting: value})
    found = settle(config, build_task(config.task))
    here: Any = found.config
    for part in setting.split("."):
        here = getattr(here, part)
    assert here == value
    assert setting not in {default.setting for default in found.defaults}


def test_groups_fit_the_minibatches_that_are_set(tmp_path: Path) -> None:
    config = settled({"engine.model": described(tmp_path / "m", "135M"), "trainer.minibatches": 4})
    assert (config.trainer.groups_per_batch, config.trainer.minibatches) == (8, 4)
    assert defaults.groups(large=False, minibatches=3) == 9


def test_feedback_modelling_gets_a_mean_over_tokens_unless_it_is_set(tmp_path: Path) -> None:
    model = described(tmp_path / "m", "135M")
    fm = settled({"engine.model": model, "objective.name": "rltf_fm"}).objective.model_dump()["fm"]
    assert (fm["coefficient"], fm["normalize"]) == (0.2, "token_mean")
    own = {"engine.model": model, "objective.name": "rltf_fm", "objective.fm.coefficient": 0.05}
    fm = settled(own).objective.model_dump()["fm"]
    assert (fm["coefficient"], fm["normalize"]) == (0.05, "token_sum")


def rows(path: Path, answer: str) -> Task:
    lines = [json.dumps({"question": f"What is thing {i}?", "answer": f"{answer} {i}"}) for i in range(40)]
    path.write_text("\n".join(lines))
    return build_task(configure(changes={"task.path": str(path)}).task)


def test_new_tokens_follow_from_golds_family_and_context(tmp_path: Path) -> None:
    short, long = rows(tmp_path / "s.jsonl", "ten"), rows(tmp_path / "l.jsonl", "a word " * 60)

    def limit(task: Task, context: int, horizon: int, *, worked_out: bool = False) -> int:
        return defaults.new_tokens(task, context, horizon, worked_out=worked_out)[0]

    assert limit(short, 8192, 2) == 128
    assert 300 < limit(long, 8192, 2) < 400
    assert limit(short, 8192, 2, worked_out=True) == 512
    assert limit(short, 1024, 2, worked_out=True) == 256
    assert limit(short, 1024, 1, worked_out=True) == 512


@pytest.mark.parametrize(
    ("settings", "limit"), [({}, 128), ({"task.scorer": "numeric"}, 512), ({"task.path": "none"}, 512)]
)
def test_where_answers_are_worked_out_there_is_room_for_it(
    tmp_path: Path, settings: dict[str, Any], limit: int
) -> None:
    rows(tmp_path / "s.jsonl", "")
    task = {} if "task.path" in settings else {"task.path": str(tmp_path / "s.jsonl"), **settings}
    config = settled({"engine.model": described(tmp_path / "m", "135M"), **task})
    assert config.rollout.max_new_tokens == limit


def test_a_damaged_record_of_it_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "defaults.json").write_text("[{}]")
    with pytest.raises(UserError, match="is damaged"):
        read_defaults(RunDir(tmp_path))


def test_a_settled_run_is_settled(tmp_path: Path) -> None:
    model = described(tmp_path / "m", "0.6B")
    once = settled({"engine.model": model})
    again = settle(once, build_task(once.task))
    assert again.defaults == ()
    assert again.config == once


def test_what_is_not_set_survives_a_comparisons_recipe(tmp_path: Path) -> None:
    config = configure(changes={"engine.model": described(tmp_path / "m", "0.6B"), "trainer.steps": 30})
    recipe = json.loads(config.model_dump_json(exclude_unset=True))
    found, read = (settle(c, build_task(c.task)) for c in (config, validate_config(recipe)))
    assert found == read
    assert with_defaults(config, found.defaults) == found.config


@pytest.mark.parametrize(("machine_is", "dtype"), [(FAST, "bfloat16"), (SLOW, "float32")])
def test_auto_takes_what_was_measured_for_the_built_in_model_too(
    monkeypatch: pytest.MonkeyPatch, machine_is: Arithmetic, dtype: str
) -> None:
    monkeypatch.setattr(arithmetic, "measured", lambda device: machine_is)
    config = settled({"engine.dtype": "auto", "engine.device": "cpu"})
    assert on_this_machine(config.engine).dtype == dtype


class Notes(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def test_a_run_says_and_keeps_what_it_took_and_measures_once(
    terse_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "SMALL", 1000)
    changes = dict(setting.split("=") for setting in SHORT)
    data: dict[str, Any] = {"engine.model": str(terse_model), "rollout.max_new_tokens": 8}
    data |= {name: int(value) if value.isdigit() else value for name, value in changes.items()}
    config = configure(changes=data)
    notes = Notes()
    with Run.begin(config, tmp_path / "run") as run:
        assert run.config.trainer.groups_per_batch == 8
        assert on_this_machine(run.config.engine).dtype == "bfloat16"
        run.train([notes])
    told = [line for line in notes.lines if line.startswith("not set, so taken: ")]
    assert any("engine.dtype=bfloat16 (this cpu multiplies matrices at 200 GFLOP/s in float32" in line for line in told)
    assert [d.setting for d in read_defaults(RunDir(tmp_path / "run"))] == [
        line.removeprefix("not set, so taken: ").partition("=")[0] for line in told
    ]
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert recorded["engine"]["dtype"] == "bfloat16"
    assert recorded["trainer"]["learning_rate"] == run.config.trainer.learning_rate != 4e-4

    # Taken up on a machine that would measure otherwise, the run stays what it is, to the last bit.
    def never(device: str) -> Arithmetic:
        raise AssertionError("measured again")

    monkeypatch.setattr(arithmetic, "measured", never)
    asked = {"left": 1}

    def stop() -> bool:
        asked["left"] -= 1
        return asked["left"] < 0

    from rltf.runs.trainer import Interrupted

    monkeypatch.setattr(arithmetic, "measured", lambda device: FAST)
    with Run.begin(config, tmp_path / "cut") as cut, pytest.raises(Interrupted):
        cut.train(stop=stop)
    monkeypatch.setattr(arithmetic, "measured", never)
    with Run.resume(tmp_path / "cut") as cut:
        cut.train()
    for name in ("metrics.jsonl", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    weights = Path("model") / "model.safetensors"
    assert (tmp_path / "cut" / weights).read_bytes() == (tmp_path / "run" / weights).read_bytes()


def test_the_dry_run_says_what_would_be_taken(tmp_path: Path, tiny_model: Path) -> None:
    model = described(tmp_path / "m", "135M")
    for file in tiny_model.iterdir():
        if "token" in file.name or "template" in file.name:
            (tmp_path / "m" / file.name).write_bytes(file.read_bytes())
    settings = (f"engine.model={model}", "engine.device=cpu", "engine.dtype=float32")
    found = rltf("train", *settings, "--dry-run", cwd=tmp_path, status=1)
    assert "the directory holds no weights" in found.stdout
    assert (
        "not set, so taken: trainer.learning_rate=1e-05 (134.5 million parameters, all of them trained)" in found.stdout
    )
    assert '"learning_rate": 1e-05' in found.stdout


def test_a_measurement_is_a_rate_and_picks_a_format_by_it() -> None:
    assert arithmetic._rate(torch.device("cpu"), torch.float32) > 1e8
    assert (FAST.dtype, SLOW.dtype) == ("bfloat16", "float32")


def test_a_dry_run_that_cannot_settle_says_why_and_goes_on(tmp_path: Path) -> None:
    found = rltf("train", "engine.dtype=auto", "task.path=none.py", "--dry-run", cwd=tmp_path, status=1)
    assert "there is no file" in found.stdout
    assert "model: good" in found.stdout
