"""Several processes, started by a launcher, share one run: what they compute is what one process computes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import several_steps
from command_line import SMALL, jsonl, wait_for_lines
from command_line import rltf as command
from safetensors.numpy import load_file
from several_steps import VARIANTS, WAYS
from vllm_server import vllm_server

import rltf
from rltf.engines.shares import shares
from rltf.engines.torch.memory import GIB, memory
from rltf.engines.torch.plan import plans
from rltf.engines.torch.several import parallel
from rltf.runs.build import build_engine

TESTS = Path(__file__).parent
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2")
LEARNING = (
    "objective.name=rltf_fm",
    "objective.fm.coefficient=0.2",
    "trainer.learning_rate=0.001",
    "trainer.schedule=constant",
)
"""A model of random weights solves nothing, so that it is feedback alone that it can learn."""
CLOSE = {"full": 5e-6, "lora": 5e-6, "bfloat16": 1e-2}
"""How far figures and log-probabilities may be off: sums in another order. In bfloat16 gradients are rounded too."""


def launched(*arguments: str, cwd: Path, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Two processes of a program, and its output."""
    done = subprocess.run(
        [*LAUNCH, *arguments],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def found(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What one process found for each variant, and two for each way; with the directory of what was saved."""
    directory = tmp_path_factory.mktemp("several")
    outcomes: dict[str, Any] = {}
    for variant, settings in VARIANTS.items():
        engine = several_steps.engine_of(tiny_model, settings)
        outcome = several_steps.three_steps(engine, directory / f"{variant} saved", directory / f"{variant} exported")
        outcomes[variant] = outcome | {"fourth": several_steps.step(engine, 4)}
        engine.close()
    launched(str(TESTS / "several_steps.py"), str(tiny_model), str(directory), cwd=directory)
    outcomes |= {way: json.loads((directory / f"{way}.json").read_text()) for way in WAYS}
    return directory, outcomes


def agrees(ours: dict[str, Any], theirs: dict[str, Any], close: float) -> None:
    assert ours["version"] == theirs["version"]
    assert ours["figures"].keys() == theirs["figures"].keys()
    for name, value in theirs["figures"].items():
        assert ours["figures"][name] == pytest.approx(value, rel=close, abs=close), name
    for mine, others in zip(ours["logprobs"], theirs["logprobs"], strict=True):
        np.testing.assert_allclose(mine, others, atol=close * 5, rtol=close)


@pytest.mark.parametrize("way", WAYS)
def test_three_steps_are_those_of_one_process(found: tuple[Path, dict[str, Any]], way: str) -> None:
    _, outcomes = found
    variant = WAYS[way][0]
    for ours, theirs in zip(outcomes[way]["steps"], outcomes[variant]["steps"], strict=True):
        agrees(ours, theirs, CLOSE[variant])
    if variant != "bfloat16":
        assert outcomes[way]["drawn"] == outcomes[variant]["drawn"]
    assert outcomes[way]["held"] == pytest.approx(0.5 if "fsdp2" in way else 1.0, abs=0.02)


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_go_on_from_what_one_saved_and_one_from_what_two_did(
    found: tuple[Path, dict[str, Any]], tiny_model: Path, way: str
) -> None:
    directory, outcomes = found
    variant = WAYS[way][0]
    agrees(outcomes[way]["fourth"], outcomes[variant]["fourth"], CLOSE[variant])
    engine = several_steps.engine_of(tiny_model, VARIANTS[variant])
    engine.load(directory / f"{way} saved")
    agrees(several_steps.step(engine, 4), outcomes[variant]["fourth"], CLOSE[variant])
    engine.close()


@pytest.mark.parametrize("way", WAYS)
def test_the_exported_model_is_that_of_one_process(found: tuple[Path, dict[str, Any]], way: str) -> None:
    directory, _ = found
    variant = WAYS[way][0]
    ours, theirs = (directory / f"{name} exported" for name in (way, variant))
    assert sorted(p.name for p in ours.iterdir()) == sorted(p.name for p in theirs.iterdir())
    mine, others = (load_file(d / "model.safetensors") for d in (ours, theirs)) if variant != "bfloat16" else ({}, {})
    assert mine.keys() == others.keys()
    for name, weight in others.items():
        np.testing.assert_allclose(mine[name], weight, atol=5e-5, err_msg=name)


def test_shares_are_neighbours_of_about_the_same_cost() -> None:
    assert shares([], 2) == [range(0), range(0)]
    assert shares([7], 3) == [range(0), range(1), range(1, 1)]
    assert shares([1, 1, 1, 1, 4], 2) == [range(4), range(4, 5)]
    dealt = shares([float(1 + i % 5) for i in range(103)], 7)
    assert [i for share in dealt for i in share] == list(range(103))
    costs = [sum(1 + i % 5 for i in share) for share in dealt]
    assert max(costs) - min(costs) <= 10


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LAUNCH, "-m", "rltf", "train", *arguments],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def helper_of(launcher: subprocess.Popen[str]) -> int:
    """The id of the second process that a launcher has started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (found,) = (pid for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())
    return int(found)


def test_a_run_of_two_processes_one_of_which_is_killed_goes_on_in_one_and_then_in_two(
    tiny_model: Path, tmp_path: Path
) -> None:
    small = [*SMALL, f"engine.model={tiny_model}", "trainer.steps=5", "trainer.save_every=1", *LEARNING]
    launcher = started(*small, "--run-dir", "run", cwd=tmp_path)
    wait_for_lines(tmp_path / "run" / "metrics.jsonl", 2, launcher)
    os.kill(helper_of(launcher), signal.SIGKILL)
    said, complaints = launcher.communicate(timeout=60)
    assert launcher.returncode, said + complaints
    lines = [line for line in complaints.splitlines() if line.startswith("rltf: ")]
    assert lines == [
        "rltf: one of the run's 2 processes has ended (its own output says why), and the others end with it; nothing "
        "that was saved is lost: go on with --resume and the run's directory, with as many processes as you like"
    ]
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2
    assert not (tmp_path / "run" / "summary.json").exists()
    command("train", "--resume", "run", cwd=tmp_path)
    launched("-m", "rltf", "train", "--resume", "run", "trainer.steps=6", "engine.parallel=fsdp2", cwd=tmp_path)
    command("train", *small, "trainer.steps=6", "--run-dir", "alone", cwd=tmp_path)
    ours, theirs = (jsonl(tmp_path / name / "metrics.jsonl") for name in ("run", "alone"))
    assert [row["step"] for row in ours] == [1, 2, 3, 4, 5, 6]
    assert [row["policy/version"] for row in theirs] == [2, 4, 6, 8, 10, 12]
    for mine, others in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(others, rel=1e-4, abs=1e-4)


def test_the_dry_run_is_that_of_one_process(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, said in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        done = command("train", *SMALL, f"engine.model={tiny_model}", "--dry-run", cwd=tmp_path)
        assert done.stdout.count("model: good") == said


def test_processes_that_cannot_share_a_run_do_not_each_train_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    own = rltf.configure((), {"engine.path": f"{tmp_path}/mine.py:make"})
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    done = command("train", "--run-dir", "run", cwd=tmp_path, status=2)
    assert done.stderr.startswith("rltf: WORLD_SIZE=2 says that 2 processes were started, but not where they meet")
    assert done.stderr.count("\n") == 1
    with pytest.raises(rltf.UserError, match="an engine of your own cannot share"):
        rltf.Run.begin(own, tmp_path / "run")
    refused = command("eval", str(tiny_model), cwd=tmp_path, status=2)
    assert refused.stderr == "rltf: rltf eval: 2 processes were started, which share `rltf train` alone: start one\n"
    monkeypatch.setenv("RANK", "1")
    assert command("eval", str(tiny_model), cwd=tmp_path, status=2).stderr == ""
    with pytest.raises(rltf.UserError, match="they share runs of `rltf train` alone"):
        rltf.evaluate(str(tiny_model), {"engine.device": "cpu"})
    with pytest.raises(rltf.UserError, match="2 processes were started for one run"):
        rltf.Run.begin(own, tmp_path / "run")
    with pytest.raises(rltf.UserError, match="this is not the first of them"):
        rltf.Run.begin(rltf.configure((), {"engine.model": str(tiny_model)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("environment", "changes", "complaint"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, {}, "turns DEEPSPEED on"),
        ({"ACCELERATE_USE_FSDP": "true"}, {}, "set fsdp_version: 2"),
        ({}, {"parallel": "fsdp2", "quantize": "nf4", "lora.rank": 4}, "4 bits cannot lie in parts"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    environment: dict[str, str], changes: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"WORLD_SIZE": "2", "RANK": "0"} | environment).items():
        monkeypatch.setenv(name, value)
    config = rltf.configure((), {"engine.device": "cpu"} | {f"engine.{n}": value for n, value in changes.items()})
    with pytest.raises(rltf.UserError, match=complaint):
        build_engine(config)


def test_accelerates_configuration_says_how_the_policy_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    config = rltf.configure((), {"engine.device": "cpu"})
    assert parallel(config) == "ddp"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert parallel(config) == "fsdp2"
    assert parallel(rltf.configure((), {"engine.device": "cpu", "engine.parallel": "ddp"})) == "ddp"


def with_shape(model: Path, path: Path, **shape: int) -> Path:
    """A model's directory with another shape in its config, which is all that a plan reads."""
    shutil.copytree(model, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | shape))
    return path


def test_a_plan_spreads_what_each_way_spreads(tiny_model: Path, tmp_path: Path) -> None:
    deep = with_shape(tiny_model, tmp_path / "deep", hidden_size=128, num_hidden_layers=12)
    given = {"engine.model": str(deep), "engine.dtype": "bfloat16", "trainer.minibatches": 1}
    config = rltf.configure((), given)
    alone = plans(config, 20, 1, 80 * GIB)
    assert [plan.way for plan in alone] == ["ddp"]
    ddp, whole, layered = plans(config, 20, 4, 80 * GIB)
    trained = memory(config, 20).trained
    assert (ddp.weights, ddp.gradients, ddp.optimizer) == (6 * trained, 4 * trained, 8 * trained)
    assert ddp.traffic == round(2 * 3 / 4 * 4 * trained)
    assert ddp.sampling < alone[0].sampling
    for plan in (whole, layered):
        assert plan.weights == trained  # float32 masters, a quarter of them
        assert plan.optimizer == 2 * trained
        assert plan.gathered == 2 * trained
    assert whole.gathered_in_training == 2 * trained
    assert whole.gradients == 5 * trained
    assert layered.gathered_in_training < whole.gathered_in_training
    assert layered.gradients < whole.gradients
    assert layered.traffic > whole.traffic
    adapters = rltf.configure((), given | {"engine.lora.rank": 2})
    ddp, whole, layered = plans(adapters, 20, 4, 80 * GIB)
    assert whole.weights == (2 * trained + 4 * memory(adapters, 20).trained) // 4
    assert [p.way for p in plans(rltf.configure((), given | {"engine.share_prefixes": False}), 20, 2, GIB)] == [
        "ddp",
        "fsdp2, layer by layer",
    ]


def test_a_plan_makes_batches_smaller_until_they_fit(tiny_model: Path) -> None:
    given = {"engine.model": str(tiny_model), "engine.dtype": "bfloat16", "trainer.groups_per_batch": 256}
    (roomy,) = plans(rltf.configure((), given), 20, 1, 80 * GIB)
    (tight,) = plans(rltf.configure((), given), 20, 1, 0.6 * GIB)
    assert roomy.settings == ("engine.parallel=ddp",)
    assert any(setting.startswith("engine.micro_batch_tokens=") for setting in tight.settings)
    assert tight.peak < roomy.peak
    assert roomy.fits(80 * GIB)
    assert not roomy.fits(roomy.peak)
    (kept,) = plans(rltf.configure((), given | {"engine.micro_batch_tokens": 9999}), 20, 1, 0.6 * GIB)
    assert not any("micro_batch" in setting for setting in kept.settings)


def test_the_dry_run_plans_for_gpus_that_are_not_here(tiny_model: Path, tmp_path: Path) -> None:
    small = [*SMALL, f"engine.model={tiny_model}"]
    done = command("train", *small, "--dry-run", "--gpus", "4", "--gpu-memory", "24", cwd=tmp_path)
    assert "on each of 4 GPUs of 24 GiB, in bfloat16" in done.stdout
    assert "torchrun --nproc_per_node 4 -m rltf train ... engine.parallel=ddp" in done.stdout
    done = command("train", *small, "--dry-run", "--gpus", "1", cwd=tmp_path)
    assert "the fastest that fits: rltf train ...\n" in done.stdout
    refused = command("train", *small, "--gpus", "4", cwd=tmp_path, status=2)
    assert refused.stderr.startswith("rltf: --gpus is for --dry-run")
    shape = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "head_dim": 4096}
    large = with_shape(tiny_model, tmp_path / "large", **shape)
    done = command("train", *SMALL, f"engine.model={large}", "--dry-run", "--gpus", "8", cwd=tmp_path, status=1)
    assert "no way fits on 8 GPUs of 80 GiB: the model takes" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sampler.sleep": True}, "sampler.sleep=true is for a server and one process"),
        ({"sampler.transfer": "ipc", "engine.parallel": "fsdp2"}, "with fsdp2 no GPU has all of them"),
    ],
)
def test_a_server_that_several_processes_cannot_have_is_refused_before_any_work(
    changes: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    plain = {"engine.device": "cpu", "engine.sampler": "vllm", "sampler.url": "http://127.0.0.1:9"}
    with pytest.raises(rltf.UserError, match=complaint):
        build_engine(rltf.configure((), plain | changes))


def test_a_server_that_is_not_there_ends_both_processes_in_one_line(terse_model: Path, tmp_path: Path) -> None:
    """The others have loaded the model by then, and wait for what they are to do with it."""
    server = ("engine.sampler=vllm", "sampler.url=http://127.0.0.1:9", "--run-dir", "run")
    done = launched("-m", "rltf", "train", *SMALL, f"engine.model={terse_model}", *server, cwd=tmp_path, status=None)
    told = [line for line in done.stderr.splitlines() if line.startswith("rltf: ")]
    assert done.returncode and len(told) == 1, done.stderr
    assert told[0].startswith("rltf: the vLLM server at http://127.0.0.1:9 cannot be reached")


@pytest.mark.parametrize("settings", [("engine.parallel=fsdp2",), ("engine.parallel=ddp", "engine.lora.rank=4")])
def test_two_processes_train_what_a_vllm_server_samples(
    terse_model: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    with vllm_server(terse_model) as server:
        launched(
            *("-m", "rltf", "train", *SMALL, f"engine.model={terse_model}", "engine.sampler=vllm", *LEARNING),
            *(f"sampler.url={server.url}", *settings, "--run-dir", "run"),
            cwd=tmp_path,
        )
        # After each change of the weights the run itself compares the server with the learner.
        assert [Path(path).name for path in server.paths] == ["weights-0", "weights-2", "weights-4"]
    rows = jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [row["policy/version"] for row in rows] == [2, 4]
