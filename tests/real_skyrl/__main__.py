"""`python -m tests.real_skyrl [ENVIRONMENT]` from the checkout's root: a real SkyRL server on loopback, on a CPU.

ENVIRONMENT is a directory with an environment that has SkyRL (by default `.skyrl` here); it is made where it is missing
(2.2 GB, some minutes). It takes some minutes with a warm cache of compiled passes, and twice that the first time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import peft
from transformers import AutoModelForCausalLM, AutoTokenizer

from rltf.builtin import builtin_directory
from rltf.runs.run import Run

from .comparison import compare
from .environment import Server, interpreter

sys.path.insert(0, str(Path(__file__).parent.parent))

from families.check import write_tiny

RUN = (
    "task.train_size=50",
    "task.test_size=4",
    "task.validation_size=4",
    "trainer.groups_per_batch=2",
    "trainer.minibatches=1",
    "trainer.group_size=4",
    "trainer.learning_rate=1e-3",
    "trainer.save_every=1",
    "evaluation.samples=1",
    "rollout.max_new_tokens=24",
    "engine.name=tinker",
    "engine.dialect=skyrl_jax",
    "engine.lora.rank=8",
)
_faults: list[str] = []


def tell(what: str, off: float, most: float) -> None:
    good = off <= most
    say(good, f"{what}: {off:.2g} (up to {most:g})")


def say(good: bool, what: str) -> None:
    print(f"{'good ' if good else 'WRONG'} {what}", flush=True)
    if not good:
        _faults.append(what)


def command(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rltf", *arguments],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(process: subprocess.Popen[str], status: int = 0) -> str:
    """What a command said on stderr; it ends with a status."""
    out, err = process.communicate(timeout=600)
    say(process.returncode == status, f"exit status {process.returncode}")
    if process.returncode != status:
        print(out[-2000:], err[-2000:])
    return err


def steps(server: Server, model: Path, directory: Path) -> None:
    """Steps by every loss beside the engine `torch`."""
    compare(server.url, model, directory, tell)


def runs(server: Server, model: Path, directory: Path) -> None:
    """RLTF-SD and RLTF-FM, three steps each, and one step more."""
    for method in ("rltf_sd", "rltf_fm"):
        begun = time.monotonic()
        own = (*RUN, f"objective.name={method}", f"engine.model={model}", f"engine.base_url={server.url}")
        print(f"{method}, three steps and then a fourth")
        finished(command("train", *own, "trainer.steps=3", "--run-dir", method, cwd=directory))
        finished(command("train", "--resume", method, "trainer.steps=4", cwd=directory))
        table = Run.open(directory / method).metrics()
        say(table["step"] == [1, 2, 3, 4], f"steps {table['step']} in {time.monotonic() - begun:.0f} s")
        gaps = [gap for gap in table["policy/sampler_gap"] if gap is not None]
        tell("gap between sampler and trainer", max(gaps), 1e-4)
        norms = [norm for norm in table["optim/grad_norm"] if norm is not None]
        say(len(norms) == 4 and max(norms) > 0, f"gradient norms {[round(norm, 2) for norm in norms]}")


def merged(server: Server, model: Path, directory: Path) -> None:
    """What a run leaves becomes an ordinary model, as docs/tinker.md has it."""
    print("adapters merged here")
    base = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    adapters = directory / "rltf_sd" / "model" / "adapter"
    peft.PeftModel.from_pretrained(base, adapters).merge_and_unload().save_pretrained(directory / "merged")
    AutoTokenizer.from_pretrained(directory / "rltf_sd" / "model").save_pretrained(directory / "merged")
    finished(command("eval", "merged", "-k", "1", "evaluation.problems=4", cwd=directory))


def killed(server: Server, model: Path, directory: Path) -> None:
    """The server dies in the midst of a step; started again, the run goes on."""
    own = (*RUN, f"engine.model={model}", f"engine.base_url={server.url}", "engine.timeout=20")
    print("the server is killed in a step")
    process = command("train", *own, "trainer.steps=6", "--run-dir", "killed", cwd=directory)
    lines = directory / "killed" / "metrics.jsonl"
    while process.poll() is None and not (lines.exists() and lines.read_bytes().count(b"\n") >= 2):
        time.sleep(0.05)
    time.sleep(0.3)
    server.kill()
    begun = time.monotonic()
    said = finished(process, status=2).strip().splitlines()
    print(f"     {said[-1]}")
    say(len(said) == 1 and "resume the run" in said[0], f"one line after {time.monotonic() - begun:.0f} s")
    print(f"     the server is back after {server.start():.0f} s")
    finished(command("train", "--resume", "killed", "engine.timeout=120", cwd=directory))
    steps = Run.open(directory / "killed").metrics()["step"]
    say(steps == [1, 2, 3, 4, 5, 6], f"steps {steps}")


def main(arguments: list[str]) -> int:
    """The exit status: 1 where something is wrong."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.filterwarnings("ignore")
    begun, python = time.monotonic(), interpreter(Path(arguments[0] if arguments else ".skyrl").resolve())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tiny = directory / "qwen3"
        write_tiny("qwen3", AutoTokenizer.from_pretrained(builtin_directory()), tiny)
        for model, works in ((tiny, (steps,)), (builtin_directory(), (runs, merged, killed))):
            server = Server(python, Path(model), directory / f"server-{Path(model).name}")
            print(f"SkyRL with {Path(model).name}: ready after {server.start():.0f} s", flush=True)
            try:
                for work in works:
                    work(server, Path(model), directory)
            finally:
                server.kill()
            if _faults:
                print(server.log.read_text()[-3000:])
    print(f"{len(_faults)} faults, {time.monotonic() - begun:.0f} s")
    return int(bool(_faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
