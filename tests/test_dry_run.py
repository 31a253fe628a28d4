"""What a run will take, and the presets of the paper's experiments."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import RECIPES, rltf
from families.check import write_tiny

from rltf.config.engines import on_this_machine
from rltf.config.load import load_config
from rltf.runs.build import build_engine
from rltf.runs.estimate import estimate
from rltf.support.errors import UserError

PAPER = RECIPES / "paper"
METHODS = ("grpo", "grpo_multi", "rltf_sd", "rltf_fm")
TASKS = ("knights_and_knaves", "binary_matrix", "shortest_path", "litbench", "writingbench")
SETTINGS = (
    "trainer.steps=10",
    "trainer.groups_per_batch=4",
    "trainer.group_size=3",
    "rollout.max_new_tokens=100",
    "evaluation.every=5",
    "evaluation.samples=2",
)
JUDGE = (
    "judge.model=j",
    "judge.max_tokens=50",
    "judge.dollars_per_million_in=1.0",
    "judge.dollars_per_million_out=2.0",
)


def priced(*settings: str, problems: int | None = 20) -> Any:
    return estimate(load_config([], [*SETTINGS, *settings]), problems=problems, question_tokens=30)


def test_a_run_counted_by_hand() -> None:
    price = priced("feedback.source=llm", *JUDGE)
    assert price.rollouts == 10 * 4 * 3
    assert price.attempts == 2 * 120
    # Before, after, and after steps 5 and 10: 20 problems, 2 samples, 2 turns.
    assert price.evaluation_attempts == 4 * 20 * 2 * 2
    assert price.sampled_tokens == (240 + 320) * 100
    assert price.feedback == 120
    assert price.judge.calls == 120 + 160
    assert price.judge.prompt_tokens == 280 * (250 + 30 + 100)
    assert price.judge.completion_tokens == 280 * 50
    assert price.judge.dollars == pytest.approx((280 * 380 + 2 * 280 * 50) / 1e6)
    assert price.second_judge is None


def test_single_turn_asks_for_no_feedback_but_in_evaluations() -> None:
    price = priced("objective.name=grpo", "feedback.source=llm", *JUDGE)
    assert (price.attempts, price.feedback) == (120, 0)
    assert price.judge.calls == 160


def test_a_judge_that_scores_is_asked_once_for_each_attempt() -> None:
    price = priced("task.name=writing", "evaluation.judge.model=k", "evaluation.judge.max_tokens=10", *JUDGE)
    assert price.judge.calls == price.attempts + price.evaluation_attempts
    assert price.second_judge.calls == 4 * 20 * 2
    assert price.second_judge.completion_tokens == 10 * 160


def test_other_settings_that_cost() -> None:
    assert priced().judge is None
    assert priced("evaluation.usefulness=true").evaluation_attempts == 2 * priced().evaluation_attempts
    assert priced("rollout.feedback_on_last=true").feedback == 2 * priced().feedback
    own = priced("feedback.self_share=0.5", "feedback.self_max_tokens=10")
    assert own.sampled_tokens == priced().sampled_tokens + 60 * 10
    assert priced("evaluation.problems=5").evaluation_attempts == priced().evaluation_attempts // 4
    assert priced(problems=None).evaluation_attempts == 10 * priced().evaluation_attempts


@pytest.mark.parametrize(
    "lora",
    [
        (),
        ("engine.lora.rank=4",),
        ("engine.lora.rank=4", 'engine.lora.target_modules=["q_proj"]'),
        ("engine.lora.rank=4", 'engine.lora.target_modules=["self_attn.q_proj", "embed_tokens"]'),
    ],
)
def test_memory_knows_the_parameters_of_the_model_without_loading_it(tiny_model: Path, lora: tuple[str, ...]) -> None:
    from rltf.engines.torch.memory import memory
    from rltf.engines.torch.model import load_model

    config = load_config([], [f"engine.model={tiny_model}", "engine.device=cpu", *lora])
    known = memory(config, question_tokens=20)
    model = load_model(on_this_machine(config.engine)).model
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert known.trained == trained
    assert known.parameters == sum(p.numel() for p in model.parameters()) - (trained if lora else 0)
    assert known.weights == 4 * (known.parameters + (trained if lora else 0))
    assert (known.gradients, known.optimizer) == (4 * trained, 8 * trained)
    # Two layers, two heads of 16, keys and values, four bytes: 512 bytes a token. The question, an attempt with
    # feedback behind it, 40 tokens of the template around either, and the last attempt.
    cache, logits = 256 * (60 + 32 + 100 + 32) * 512, 256 * model.config.vocab_size * 20
    assert known.sampling == cache + logits
    assert known.peak >= known.weights + known.optimizer + known.training


def test_a_dry_run_shows_settings_prices_and_checks_and_begins_nothing(tiny_model: Path, tmp_path: Path) -> None:
    model = f"engine.model={tiny_model}"
    done = rltf("train", "--dry-run", model, "seed=7", cwd=tmp_path)
    settings, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert settings["seed"] == 7
    assert "25,600" in done.stdout
    assert all(f"{check}: good" in done.stdout for check in ("settings", "problems", "feedback", "model"))
    assert not list(tmp_path.iterdir())
    few = ("task.min_side=3", "task.max_side=3")
    bad = rltf("train", "--dry-run", "engine.model=./nowhere", *few, cwd=tmp_path, status=1)
    assert "problems: task." in bad.stdout
    assert "model: engine.model=./nowhere: no such directory" in bad.stdout
    assert "25,600" in bad.stdout
    refused = rltf("train", "--dry-run", "--resume", "run", cwd=tmp_path, status=2)
    assert "remove --resume" in refused.stderr


def test_a_dry_run_finds_a_device_that_is_not_there_and_what_a_template_refuses(
    tiny_model: Path, tmp_path: Path
) -> None:
    import torch

    user = {"role": "user", "content": "Name a river."}
    rows = [{"messages": [user], "response": "Alps", "feedback": "No.", "revision": f"Rhine {n}"} for n in range(3)]
    rows.append({**rows[0], "messages": [{"role": "system", "content": "Be brief."}, user]})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    log = ("log.path=log.jsonl", "log.score=all", "trainer.group_size=1", "objective.policy_coefficient=0")
    model = (f"engine.model={tiny_model}", "engine.chat_template=template.jinja", "engine.micro_batch_tokens=2048")
    there = torch.cuda.is_available()
    device = "mps" if there else "cuda"
    bad = rltf("train", "--dry-run", *model, *log, f"engine.device={device}", cwd=tmp_path, status=1).stdout
    assert f"device: engine.device={device}: this machine has none" in bad
    assert "log: entry 4 of the log: the model's chat template refuses it: no system role" in bad
    left = rltf("train", "--dry-run", *model, *log, "log.max_unusable=0.25", cwd=tmp_path).stdout
    assert "log: 3 entries to train on" in left
    assert "1 of 4 rows cannot be used" in left
    assert "log: good" in left


def test_a_dry_run_finds_questions_that_leave_no_room_for_an_attempt(tiny_model: Path, tmp_path: Path) -> None:
    few = ("task.train_size=20", "task.validation_size=5", "task.test_size=5")
    bad = rltf(
        "train",
        "--dry-run",
        f"engine.model={tiny_model}",
        *few,
        "rollout.max_new_tokens=100000",
        cwd=tmp_path,
        status=1,
    )
    assert "prompts: train problem " in bad.stdout
    assert "which with rollout.max_new_tokens=100000 exceeds the model's " in bad.stdout


def test_a_dry_run_finds_weights_that_are_missing_or_cut(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    from rltf.engines.torch.model import check_weights

    def check(directory: Path) -> None:
        check_weights(on_this_machine(load_config([], [f"engine.model={directory}"]).engine))

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    check(model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    bad = rltf("train", "--dry-run", "engine.model=model", cwd=tmp_path, status=1)
    assert "model.safetensors is damaged or cut short: " in bad.stdout
    index = model / "model.safetensors.index.json"
    for text, says in (
        ('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}', "has no model-00002-of-00002.safetensors, which"),
        ("[]", "model.safetensors.index.json cannot be read"),
    ):
        index.write_text(text)
        with pytest.raises(UserError, match=says):
            check(model)
    index.unlink()
    weights.unlink()
    with pytest.raises(UserError, match="the directory holds no weights"):
        check(model)


def test_a_dry_run_finds_that_an_engine_of_ones_own_is_not_there(tmp_path: Path) -> None:
    bad = rltf("train", "--dry-run", "engine.path=mine.py:build", cwd=tmp_path, status=1)
    assert "engine: engine.path=" in bad.stdout and "there is no file " in bad.stdout
    (tmp_path / "mine.py").write_text("def make(config):\n    raise ValueError\n")
    bad = rltf("train", "--dry-run", "engine.path=mine.py:build", cwd=tmp_path, status=1)
    assert "mine.py:build: the file has no function build" in bad.stdout
    good = rltf("train", "--dry-run", "engine.path=mine.py:make", cwd=tmp_path)
    assert "engine: good" in good.stdout


def test_a_hub_that_cannot_be_reached_is_said_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from rltf.engines.torch.architecture import try_architecture
    from rltf.engines.torch.memory import memory

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nothing listens
    config = load_config([], ["engine.model=nobody/nothing", "engine.device=cpu"])
    start = time.monotonic()
    for look in (lambda: memory(config, 20), lambda: try_architecture(on_this_machine(config.engine))):
        with pytest.raises(UserError, match=r"nobody/nothing: there is no such dir.*: 127\.0\.0\.1 cannot be reached"):
            look()
    assert time.monotonic() - start < 10


def test_a_dry_run_refuses_an_architecture_that_a_run_would_refuse(tokenizer: Any, tmp_path: Path) -> None:
    write_tiny("rwkv", tokenizer, tmp_path / "tiny")
    bad = rltf("train", "--dry-run", "engine.model=tiny", cwd=tmp_path, status=1)
    assert "models of the kind rwkv cannot be sampled and trained here" in " ".join(bad.stdout.split())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_each_preset_of_the_paper_is_valid(task: str, method: str) -> None:
    config = load_config([PAPER / f"{name}.toml" for name in ("common", task, method)], [])
    assert config.objective.name == method
    assert (config.trainer.groups_per_batch, config.trainer.group_size, config.trainer.learning_rate) == (32, 8, 2e-5)
    assert config.asks_judge


@pytest.mark.parametrize("ablation", sorted((PAPER / "ablations").glob("*.toml")), ids=lambda path: path.stem)
def test_each_ablation_of_the_paper_is_valid_and_changes_something(ablation: Path) -> None:
    method = "rltf_fm" if ablation.stem == "self_critique" else "rltf_sd"
    below = [PAPER / f"{name}.toml" for name in ("common", "knights_and_knaves", method)]
    assert load_config([*below, ablation], []) != load_config(below, [])


def test_the_recipe_for_writing_is_valid() -> None:
    config = load_config([RECIPES / "hf_lora.toml", RECIPES / "writing.toml"], ["judge.model=j"])
    assert (config.task.name, config.objective.name, config.rollout.max_new_tokens) == ("writing", "rltf_sd", 1024)


def test_every_file_of_the_presets_is_covered() -> None:
    known = {"common", *METHODS, *TASKS, "math_dapo", "math_deepmath"}
    assert {path.stem for path in PAPER.glob("*.toml")} == known


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.toml: cannot be read"):
        load_config([PAPER / "common.toml", tmp_path / "nowhere.toml"], [])


def test_a_way_of_sharing_says_that_one_process_has_nothing_to_share(tiny_model: Path, tmp_path: Path) -> None:
    given = (f"engine.model={tiny_model}", "engine.device=cpu", "engine.parallel=fsdp2")
    told = "one process: engine.parallel=fsdp2 has no effect; start the run with torchrun or accelerate launch"
    assert told in rltf("train", *given, "--dry-run", cwd=tmp_path).stdout
    assert told in build_engine(load_config([], given)).notes
    assert told not in build_engine(load_config([], given[:2])).notes
