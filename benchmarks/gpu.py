"""What the engine `torch` does on a GPU: one script that makes every figure by itself.

    python benchmarks/gpu.py --out gpu.json          # on a machine with a CUDA device, some six minutes
    python benchmarks/gpu.py --toy --out toy.json    # the same at toy sizes on a CPU, to see that it runs
    python benchmarks/gpu.py --only graphs,decoding --out decoding.json    # a part of it

Models have the shape of published ones and random weights: no hub is needed, and speed and memory do not depend on
what a model knows. Each figure is told with the card and the versions that gave it.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from rltf.builtin import builtin_directory
from rltf.config import LoraConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Joined
from rltf.engines.torch import fixed
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.engine import torch_engine
from rltf.types import Query, SamplingParams, Tokens, TrainingSample

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head: int
    vocabulary: int
    tied: bool


SHAPES = {
    "qwen3-4b": Shape(2560, 9728, 36, 32, 8, 128, 151_936, True),
    "qwen3-0.6b": Shape(1024, 3072, 28, 16, 8, 128, 151_936, True),
}
SHARINGS = {"shared": Batching.SHARED, "unshared": Batching.PADDED}
TOY = Shape(64, 128, 2, 4, 2, 16, 1_000, True)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done."""

    group: int
    lengths: tuple[tuple[int, int], ...]
    """Of prompt and completion, in an update."""
    prompt: int
    """In decoding."""
    decode_prompts: int
    decode_tokens: int
    repeats: int
    decode_repeats: int


FULL = Sizes(
    group=8,
    lengths=((1024, 1024), (1792, 256)),
    prompt=1024,
    decode_prompts=8,
    decode_tokens=128,
    repeats=3,
    decode_repeats=1,
)
SMALL = Sizes(
    group=4, lengths=((24, 16), (28, 4)), prompt=24, decode_prompts=2, decode_tokens=8, repeats=2, decode_repeats=1
)


def make_model(shape: Shape, path: Path, device: str) -> Path:
    """A directory with a model of random weights in bfloat16, and the built-in model's tokenizer."""
    config = transformers.Qwen3Config(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=40_960,
    )
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        model = transformers.Qwen3ForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(builtin_directory()).save_pretrained(path)
    return path


def engine_of(path: Path, device: str, *, lora: bool, tokens: int | None, checkpointing: bool = False) -> Joined:
    """The engine around a model."""
    config = TorchEngineConfig(
        model=str(path),
        device="cuda" if device == "cuda" else "cpu",
        dtype="bfloat16",
        lora=LoraConfig(rank=16) if lora else None,
        gradient_checkpointing=checkpointing,
        micro_batch_tokens=tokens,
    )
    return torch_engine(config, TrainerConfig(learning_rate=1e-5), 1.0)


def tokens_of(rng: np.random.Generator, count: int) -> Tokens:
    """Random tokens, none of which ends a turn."""
    return tuple(int(token) for token in rng.integers(20, 120, size=count))


def group_of(group: int, prompt: int, completion: int, seed: int = 0) -> list[TrainingSample]:
    """A group of completions of one prompt, each with an advantage."""
    tokens = tokens_of(np.random.default_rng(0), prompt)
    rng = np.random.default_rng(1 + seed)
    return [
        TrainingSample(
            prompt_tokens=tokens,
            completion_tokens=tokens_of(rng, completion),
            weights=np.full(completion, float(rng.normal()), dtype=np.float32),
            loss="importance_sampling",
            old_logprobs=np.full(completion, -11.0, dtype=np.float32),
            component="policy",
            rollout=i,
            turn=0,
        )
        for i in range(group)
    ]


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """The median of some runs after one to warm up (of that one where there are none), with the device's work done."""
    times = []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:] or times)


def update(engine: Joined, device: str, sizes: Sizes) -> dict[str, Any]:
    """One group's gradient and optimiser step, its prompt shared and not, at several lengths.

    Tokens per second are those of an unshared batch. `ideal`: how many times fewer tokens there are to compute.
    """
    return {
        f"{prompt}+{completion}": at_length(engine, device, sizes, prompt, completion)
        for prompt, completion in sizes.lengths
    }


def at_length(engine: Joined, device: str, sizes: Sizes, prompt: int, completion: int) -> dict[str, Any]:
    """The same at one length."""
    learner: Any = engine.learner
    batch = group_of(sizes.group, prompt, completion)
    count = sizes.group * (prompt + completion)
    found: dict[str, Any] = {"ideal": count / (prompt + sizes.group * completion)}
    for name, batching in SHARINGS.items():
        learner.batching = batching
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = seconds_of(lambda: one_step(engine, batch), sizes.repeats)
        peak = torch.cuda.max_memory_allocated() / GIB if device == "cuda" else 0.0
        found[name] = {"seconds": seconds, "tokens_per_second": count / seconds, "peak_gib": peak}
    found["measured"] = found["unshared"]["seconds"] / found["shared"]["seconds"]
    return found


def one_step(engine: Joined, batch: list[TrainingSample]) -> None:
    """A gradient and what the optimiser makes of it."""
    engine.forward_backward(batch, float(len(batch)))
    engine.optim_step(1e-5)


def gradients(engine: Joined, device: str, sizes: Sizes) -> dict[str, float]:
    """How far the gradient of a group is from that of unshared, masked passes, relative to its norm.

    `without_masks` of shared prompts laid out from the left; `masked` of shared prompts as on other devices; `unshared`
    without masks. What separates any two is the rounding of bfloat16.
    """
    learner: Any = engine.learner
    rng = np.random.default_rng(5)
    prompt, longest = sizes.lengths[-1]
    cuts = [int(rng.integers(2, longest)) for _ in range(sizes.group)]
    batch = [sample for i, cut in enumerate(cuts) for sample in group_of(1, prompt, cut, i)]
    unmasked = learner.unmasked

    def of(batching: Batching, without_masks: bool) -> Any:
        learner.batching, learner.unmasked = batching, without_masks
        learner._optimizer.zero_grad()
        engine.forward_backward(batch, float(len(batch)))
        found = [w.grad.flatten().float() for w in learner._optimizer.masters.values() if w.grad is not None]
        return torch.cat(found)

    expected = of(Batching.PADDED, False)
    ways = {
        "without_masks": (Batching.SHARED, unmasked),
        "masked": (Batching.SHARED, False),
        "unshared": (Batching.PADDED, unmasked),
    }
    found = {name: float((of(*way) - expected).norm() / expected.norm()) for name, way in ways.items()}
    return {"may_go_without_masks": float(unmasked), **found}


def profile(engine: Joined, device: str, sizes: Sizes) -> dict[str, Any]:
    """What takes the time of an update, shared and unshared: the device's kernels, and how the host fed them."""
    learner: Any = engine.learner
    batch = group_of(sizes.group, *sizes.lengths[0])
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if device == "cuda" else []
    found: dict[str, Any] = {}
    for name, batching in SHARINGS.items():
        learner.batching = batching
        one_step(engine, batch)
        with torch.profiler.profile(activities=activities) as profiler:
            seconds = seconds_of(lambda: one_step(engine, batch), 0)
        events = profiler.key_averages()

        def of(event: Any) -> float:
            """Seconds of its own on the device."""
            return float(event.self_device_time_total if device == "cuda" else event.self_cpu_time_total) / 1e6

        # What runs on the device: an operator on the host is told its kernels' time once more.
        kernels = [e for e in events if device != "cuda" or str(e.device_type).endswith("CUDA")]
        calls = {e.key: e.count for e in events if e.key.startswith("cuda")}
        found[name] = {
            "seconds": seconds,
            "busy": sum(map(of, kernels)),
            "launches": sum(count for key, count in calls.items() if "LaunchKernel" in key),
            "waits": sum(count for key, count in calls.items() if "Synchronize" in key),
            "top": [[round(of(e) * 1e3, 2), e.count, e.key[:110]] for e in sorted(kernels, key=of, reverse=True)[:15]],
        }
        for row in found[name]["top"]:
            print(f"profile, {name}: {row[0]:10.2f} ms {row[1]:6d} x {row[2]}", flush=True)
    return found


def decode(path: Path, device: str, sizes: Sizes, *, lora: bool) -> dict[str, float]:
    """New tokens per second of our sampler with CUDA graphs and without, and of transformers' `generate`.

    The same prompts and lengths. What a recording takes is in the first figure, and told beside it.
    """
    engine = engine_of(path, device, lora=lora, tokens=None)
    model: Any = engine.learner.weights().model
    rng = np.random.default_rng(1)
    prompts = [tokens_of(rng, sizes.prompt) for _ in range(sizes.decode_prompts)]
    seeds = list(range(len(prompts)))
    engine.renderer.stop_tokens = (0,)
    sampling = SamplingParams(max_tokens=sizes.decode_tokens)
    count = sizes.decode_prompts * sizes.group * sizes.decode_tokens
    recordings: list[float] = []

    def ours(columns: int) -> float:
        engine.sampler.fixed_columns = columns  # type: ignore[attr-defined]
        with timed_recordings(recordings):
            return seconds_of(lambda: engine.generate(prompts, sizes.group, sampling, seeds), sizes.decode_repeats)

    graphs, plain = ours(fixed_columns(engine)), ours(0)
    ids = torch.tensor([prompt for prompt in prompts for _ in range(sizes.group)], device=model.device)

    def theirs() -> None:
        with torch.inference_mode():
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=0,
                max_new_tokens=sizes.decode_tokens,
                min_new_tokens=sizes.decode_tokens,
                pad_token_id=0,
            )

    generate = seconds_of(theirs, sizes.decode_repeats)
    engine.close()
    return {
        "graphs_tokens_per_second": count / graphs,
        "plain_tokens_per_second": count / plain,
        "generate_tokens_per_second": count / generate,
        "graphs_over_generate": generate / graphs,
        "plain_over_generate": generate / plain,
        "recordings": len(recordings),
        "seconds_a_recording": statistics.median(recordings) if recordings else 0.0,
    }


def fixed_columns(engine: Joined) -> int:
    """How long sequences may be that the engine decodes with CUDA graphs. On a CPU: the same steps, unrecorded."""
    learner: Any = engine.learner
    for note in learner.notes:
        print(note, flush=True)
    return int(learner.fixed_columns if torch.cuda.is_available() else learner.max_tokens)


@contextmanager
def timed_recordings(seconds: list[float]) -> Iterator[None]:
    """Within it, adds to the list what each recording of a CUDA graph takes."""
    record = fixed._Repeated._recorded

    def timed(self: Any, stream: Any) -> Any:
        start = time.perf_counter()
        graph = record(self, stream)
        seconds.append(time.perf_counter() - start)
        return graph

    fixed._Repeated._recorded = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        fixed._Repeated._recorded = record  # type: ignore[method-assign]


def graphs_agree(engine: Joined, lengths: Sequence[int], group: int, new: int) -> dict[str, float]:
    """Decoding with CUDA graphs against the plain way and against the scorer, same seeds.

    Where rounding makes one draw another token, what follows differs: log-probabilities are compared up to there.
    """
    rng = np.random.default_rng(3)
    prompts = [tokens_of(rng, length) for length in lengths]
    found = []
    for columns in (fixed_columns(engine), 0):
        engine.sampler.fixed_columns = columns  # type: ignore[attr-defined]
        groups = engine.generate(prompts, group, SamplingParams(max_tokens=new), range(len(prompts)))
        found.append([completion for siblings in groups for completion in siblings])
    gaps, tokens = [], 0
    for one, other in zip(*found, strict=True):
        same = next((i for i, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=False)) if a != b), None)
        tokens += len(one.tokens) if same is None else same
        gaps.append(np.abs(one.logprobs[:same] - other.logprobs[:same]))
    asked = [
        Query(prompt_tokens=prompts[i // group], completion_tokens=completion.tokens)
        for i, completion in enumerate(found[0])
    ]
    scores = engine.answer(asked)
    scorer = [np.abs(a.logprobs_T - c.logprobs) for a, c in zip(scores, found[0], strict=True)]
    learner: Any = engine.learner
    return {
        "columns": float(learner.fixed_columns),
        "share_of_tokens_until_another_is_drawn": tokens / sum(len(c.tokens) for c in found[0]),
        "largest_gap_to_plain": float(max(gap.max(initial=0.0) for gap in gaps)),
        "mean_gap_to_scorer": float(np.concatenate(scorer).mean()),
        "largest_gap_to_scorer": float(np.concatenate(scorer).max()),
    }


def graphs_agree_on(path: Path, device: str, dtype: str, lengths: Sequence[int], new: int) -> dict[str, float]:
    """The same, of a model in a number format."""
    config = TorchEngineConfig(model=str(path), device=device, dtype=dtype)  # type: ignore[arg-type]
    engine = torch_engine(config, TrainerConfig(), 1.0)
    try:
        return graphs_agree(engine, lengths, 4, new)
    finally:
        engine.close()


def agreement(device: str) -> dict[str, float]:
    """The built-in model in float32: sampler, scorer and the CPU find the same log-probabilities."""
    path = builtin_directory()
    rng = np.random.default_rng(2)
    prompts = [tokens_of(rng, length) for length in (5, 9, 9, 30)]
    engines = {
        name: torch_engine(TorchEngineConfig(model=str(path), device=name), TrainerConfig(), 1.0)  # type: ignore[arg-type]
        for name in {device, "cpu"}
    }
    completions = engines[device].generate(prompts, 4, SamplingParams(max_tokens=24), [1, 2, 3, 4])
    queries = [
        Query(prompt_tokens=prompt, completion_tokens=completion.tokens)
        for prompt, siblings in zip(prompts, completions, strict=True)
        for completion in siblings
    ]
    sampled = [completion.logprobs for siblings in completions for completion in siblings]
    found = {name: [answer.logprobs_T for answer in engine.answer(queries)] for name, engine in engines.items()}

    def gap(one: list[Any], other: list[Any]) -> float:
        return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))

    return {"sampler_to_scorer": gap(sampled, found[device]), "scorer_to_cpu": gap(found[device], found["cpu"])}


def main() -> None:
    """Runs every part; a part that fails is recorded with its reason, and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toy", action="store_true", help="toy sizes on a CPU")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="comma-separated: the parts whose names contain one of these")
    arguments = parser.parse_args()
    device = "cpu" if arguments.toy else "cuda"
    sizes = SMALL if arguments.toy else FULL
    figures: dict[str, Any] = {
        "device": "toy" if arguments.toy else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "sizes": {name: getattr(sizes, name) for name in Sizes.__slots__},
    }

    def part(name: str, work: Callable[[], Any]) -> None:
        if not any(wanted in name for wanted in arguments.only.split(",")):
            return
        start = time.perf_counter()
        try:
            figures[name] = work()
        except Exception as error:
            figures[name] = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
            traceback.print_exc()
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
        print(f"{name}: {figures[name]} ({time.perf_counter() - start:.0f} s)", flush=True)

    part("agreement", lambda: agreement(device))
    lengths, new = ((5, 9, 9, 30), 12) if arguments.toy else ((5, 9, 90, 300), 96)
    part(
        "graphs, built-in model, float32", lambda: graphs_agree_on(builtin_directory(), device, "float32", lengths, new)
    )
    with tempfile.TemporaryDirectory() as directory:
        for name, shape in SHAPES.items():
            path = make_model(TOY if arguments.toy else shape, Path(directory) / name, device)
            lora = name == "qwen3-4b"
            how = "lora" if lora else "full"
            if not lora:
                part(
                    f"graphs, {name}, bfloat16",
                    lambda path=path: graphs_agree_on(path, device, "bfloat16", lengths, new),  # type: ignore[misc]
                )
            part(
                f"{name} {how} decoding",
                lambda path=path, lora=lora: decode(path, device, sizes, lora=lora),  # type: ignore[misc]
            )

            def updates(
                work: Callable[..., Any], tokens: int, path: Path = path, lora: bool = lora, checkpointing: bool = False
            ) -> Any:
                engine = engine_of(
                    path, device, lora=lora, tokens=None if arguments.toy else tokens, checkpointing=checkpointing
                )
                try:
                    return work(engine, device, sizes)
                finally:
                    engine.close()

            part(f"{name} {how} update", lambda updates=updates: updates(update, 4096))  # type: ignore[misc]
            if lora:
                part(
                    f"{name} {how} update, checkpointing, 16,384 tokens at once",
                    lambda updates=updates: updates(update, 16_384, checkpointing=True),  # type: ignore[misc]
                )
            else:
                part(f"{name} {how} gradients", lambda updates=updates: updates(gradients, 4096))  # type: ignore[misc]
                part(f"{name} {how} profile", lambda updates=updates: updates(profile, 4096))  # type: ignore[misc]


if __name__ == "__main__":
    main()
