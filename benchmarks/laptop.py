"""`recipes/smollm2.toml` from a fresh clone, killed on the way: does it resume to the bit, and export what it trained?

    python benchmarks/laptop.py --json benchmarks/laptop.json     # twice the recipe's time

It clones this checkout, trains the recipe there once without a break and once killed (SIGKILL) in its midst and
resumed, with no hub to be reached, and compares the two runs' metrics and weights byte for byte. Then transformers
alone loads the exported model, and its log-probabilities are compared with those of the engine that trained.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rltf.runs.provenance import environment

RECIPE = "recipes/smollm2.toml"
MOST_OFF = {"float32": 1e-4, "bfloat16": 0.05}
"""What rounding may come to in the mean: an engine that computes in bfloat16 is compared with float32."""
SAME = ("metrics.jsonl", "rollouts.jsonl", "evaluations.jsonl", "model/model.safetensors")


def command(clone: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Begins `rltf` with the clone's sources."""
    settings = {"PYTHONPATH": str(clone / "src"), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "rltf", *arguments],
        cwd=clone,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def train(clone: Path, *arguments: str) -> float:
    """Trains to the end; returns the seconds."""
    begun = time.perf_counter()
    if status := command(clone, "train", *arguments).wait():
        sys.exit(f"rltf train {' '.join(arguments)} ended with status {status}")
    return time.perf_counter() - begun


def train_and_kill(clone: Path, run: str, step: int, *settings: str) -> None:
    """Trains, and kills the run once it has written a step."""
    process, metrics = command(clone, "train", RECIPE, "--run-dir", run, *settings), clone / run / "metrics.jsonl"
    while process.poll() is None and (not metrics.is_file() or metrics.read_bytes().count(b"\n") < step):
        time.sleep(0.2)
    if process.poll() is not None:
        sys.exit(f"the run ended by itself, with status {process.returncode}, before step {step}")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def export_gap(run: Path) -> tuple[float, str]:
    """The mean difference in nats per token between the trained engine's log-probabilities and those that transformers
    finds in float32 with the exported model; and the number format that the engine computes in."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rltf.config.engines import on_this_machine
    from rltf.config.load import load_config
    from rltf.engines.torch.engine import torch_engine
    from rltf.types import Query

    config = load_config([run / "config.json"], [])
    settings = on_this_machine(config.engine)
    engine = torch_engine(settings, config.trainer, 1.0)
    newest = max((run / "checkpoints").iterdir(), key=lambda path: path.name)
    engine.load(newest)
    lines = (run / "rollouts.jsonl").read_text().splitlines()[-8:]
    texts = [turn["text"] for line in lines for turn in json.loads(line)["turns"]]
    plain = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    prompt = tuple(tokenizer.encode("A sentence:"))
    gaps: list[float] = []
    for text in texts:
        tokens = tuple(tokenizer.encode(text))
        (answer,) = engine.answer([Query(prompt_tokens=prompt, completion_tokens=tokens)])
        with torch.no_grad():
            logits = plain(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        found = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0].numpy()
        gaps += abs(found - answer.logprobs_T).tolist()
    return statistics.mean(gaps), settings.dtype


def main() -> None:
    """Does all of it, and ends with status 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill-at", type=int, default=8, help="the step after which the run is killed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("settings", nargs="*", help="in place of the recipe's, such as trainer.steps=10")
    options = parser.parse_args()
    root, machine = Path(__file__).parent.parent, environment()
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory) / "rltf"
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        seconds = train(clone, RECIPE, "--run-dir", "runs/whole", *options.settings)
        train_and_kill(clone, "runs/killed", options.kill_at, *options.settings)
        train(clone, "--resume", "runs/killed")
        whole, killed = clone / "runs" / "whole", clone / "runs" / "killed"
        different = [name for name in SAME if (whole / name).read_bytes() != (killed / name).read_bytes()]
        summary = json.loads((whole / "summary.json").read_text())
        gap, dtype = export_gap(whole)
        steps = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    result: dict[str, Any] = {
        "environment": machine,
        "seconds": seconds,
        "killed_after_step": options.kill_at,
        "different_after_resume": different,
        "dtype": dtype,
        "export_gap_nats": gap,
        "accuracy": [{k: v for k, v in step.items() if k.startswith("accuracy/")} for step in steps],
        "summary": summary,
    }
    print(json.dumps({k: v for k, v in result.items() if k not in ("environment", "accuracy")}, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if different or gap > MOST_OFF[dtype] else 0)


if __name__ == "__main__":
    main()
