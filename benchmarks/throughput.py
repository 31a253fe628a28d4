"""One training step of single-turn GRPO, rltf against TRL's `GRPOTrainer`, on the CPU.

A step is: sample 8 rollouts of each of 32 prompts, score them, take one optimiser step. Both sides start from
the same weights and see the same prompts, scorer, learning rate and number of new tokens, in float32.

What is equal, and how, with each library's own path untouched:

- The loop. Each side trains through its public entry (`rltf.runs.trainer.Trainer.run`, `GRPOTrainer.train`) and
  hands control over in the callback that it offers at the end of a step (`Observer.step`, `on_step_end`). So
  a step's time includes all that the library does in it; on rltf's side that is also writing every rollout
  and metric to the run directory, which has no counterpart in TRL's, where logging is off.
- The number of new tokens. Both sides load one copy of the model in which the end-of-turn token is a new one
  beyond the model's logits, so that no rollout can stop before the limit. Neither side gets a logits
  processor, a minimum length or another option for it. The tokens that each step trained on are counted and
  must be all of them.
- The prompts. The training split has exactly as many problems as a step takes.
- The rewards. The task scores each attempt, then its reward is replaced by a pseudo-random number, so that
  on neither side an advantage is 0 and a sample is left out. rltf would give each attempt reward 0, since the limit
  cut it; so its engine is made to report every attempt as ended, which is the one thing that is changed in it.

TRL runs as a careful user would set it here: no gradient checkpointing (its default, which costs time and saves
memory), no reference model, no logging, and the fastest of several batch sizes, each with gradient accumulation
up to the full batch. What is left at TRL's default: the loss, the fused AdamW, the scaling of the rewards.

First every side runs alone in a process of its own, for its peak memory, its arithmetic and the choice of TRL's
batch size. Then both take turns, step by step, in two processes of which one always sleeps; the result is the ratio of
each pair. In one process they would share thread pools, allocator and PyTorch's global settings (rltf asks for
deterministic sums): that slows both down, TRL more.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from turns import PseudoRandomRewards, Side, alternate, copy_that_cannot_stop, in_own_process, spread, train

# torch, transformers and trl are imported where they are used: a process's peak memory is to be that of its side.
from rltf.config import (
    BinaryMatrixConfig,
    EvaluationConfig,
    GrpoConfig,
    PromptsConfig,
    RolloutConfig,
    RunConfig,
    TorchEngineConfig,
    TrainerConfig,
)
from rltf.runs.provenance import environment
from rltf.text.prompts import Prompts

_LIBRARIES = {
    "rltf": ("rltf.runs.trainer", "rltf.engines.torch.engine"),
    "trl": ("rltf.tasks", "datasets", "trl.trainer.grpo_trainer"),
}
"""What each side imports, TRL's with the task that it scores with."""
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "KINETO_LOG_LEVEL": "5",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}

T = TypeVar("T")
Size: TypeAlias = tuple[int, int, int, int]
"""Matrix products `[m, k] x [k, n]`, so many at once: (batch, m, k, n)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What both sides do."""

    model: str
    """Directory of the copy that cannot stop early."""
    steps: int
    prompts: int
    group_size: int
    new_tokens: int
    side: int
    """Side of the matrices: what a prompt's length depends on."""
    learning_rate: float = 1e-5

    @property
    def rollouts(self) -> int:
        """Rollouts of one step."""
        return self.prompts * self.group_size

    def checked(self, on_step: Callable[[int], None]) -> Callable[[int], None]:
        """`on_step`, after a refusal of a step that trained on fewer tokens than all new ones."""

        def check(tokens: int) -> None:
            if tokens != self.rollouts * self.new_tokens:
                raise RuntimeError(f"a step trained on {tokens} tokens, not on {self.rollouts} x {self.new_tokens}")
            on_step(tokens)

        return check

    @property
    def task(self) -> BinaryMatrixConfig:
        """The task, with as many training problems as a step takes."""
        return BinaryMatrixConfig(min_side=self.side, max_side=self.side, train_size=self.prompts)


def run_rltf(work: Workload, on_step: Callable[[int], None]) -> None:
    """Trains with rltf."""
    train(
        RunConfig(
            task=work.task,
            rollout=RolloutConfig(max_new_tokens=work.new_tokens),
            objective=GrpoConfig(name="grpo"),
            engine=TorchEngineConfig(model=work.model, device="cpu"),
            trainer=TrainerConfig(
                steps=work.steps,
                groups_per_batch=work.prompts,
                group_size=work.group_size,
                minibatches=1,
                learning_rate=work.learning_rate,
                warmup_steps=0,
                schedule="constant",
                weight_decay=0.0,
                beta2=0.95,
                max_grad_norm=1.0,
                save_every=0,
            ),
            # The evaluations before and after training are outside the timed steps.
            evaluation=EvaluationConfig(samples=1, problems=2),
        ),
        work.checked(on_step),
    )


def run_trl(work: Workload, on_step: Callable[[int], None], *, batch: int) -> None:
    """Trains with TRL, `batch` rollouts per forward pass of the update; it generates for all of them at once."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Handover(TrainerCallback):  # type: ignore[misc]
        """Passes on that a step of TRL has ended."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """After the optimiser step."""
            checked(tokens.pop())

    checked = work.checked(on_step)
    tokens: list[int] = []
    task = PseudoRandomRewards(work.task)
    problems = [task.problem("train", index) for index in range(work.prompts)]

    def reward(completions: Any, completion_ids: Any, problem: list[int], **kwargs: Any) -> list[float]:
        tokens.append(sum(map(len, completion_ids)))
        texts = [completion[0]["content"] for completion in completions]
        return [task.score(problems[i], text).reward for i, text in zip(problem, texts, strict=True)]

    rows = [
        {"prompt": [{"role": "user", "content": problem.prompt}], "problem": index}
        for index, problem in enumerate(problems)
    ]
    with tempfile.TemporaryDirectory() as directory:
        config = GRPOConfig(
            output_dir=directory,
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=work.rollouts // batch,
            num_generations=work.group_size,
            num_iterations=1,
            beta=0.0,
            max_completion_length=work.new_tokens,
            temperature=1.0,
            disable_dropout=True,
            gradient_checkpointing=False,
            learning_rate=work.learning_rate,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_steps=work.steps,
            shuffle_dataset=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            model_init_kwargs={"dtype": "float32"},
        )
        trainer = GRPOTrainer(
            model=work.model,
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_list(rows * work.steps),
            callbacks=[Handover()],
        )
        # It prints a summary, to the output that is for ours.
        trainer.remove_callback(PrinterCallback)
        trainer.train()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """One side in a process of its own."""

    seconds: float
    """Median of a step."""
    peak_mib: float
    """Most resident memory, up to the last timed step."""
    product_gflop: float
    """Arithmetic of a step's matrix products."""
    product_seconds: float
    """Time of the same products, alone and one after the other, on warm buffers."""
    product_share: float
    """`product_seconds` over the seconds of a step."""
    profiled_share: float
    """Share of the CPU time that torch.profiler sees in the step's operators which it sees in matrix products."""
    operators: list[tuple[str, float]]
    """The operators with the most time of their own, with their share of the operators' time."""
    threads: int
    """Of torch."""


def run_alone(side: Side, steps: int, warmup: int) -> Alone:
    """Times a side, reads its peak memory, then profiles one step and records the products of another.

    The side takes `steps` steps: the warm-up, the timed ones, and two.
    """
    found: dict[str, Any] = {}

    def follow() -> Generator[None, int, None]:
        import torch
        from torch.profiler import ProfilerActivity, profile

        for _ in range(warmup):
            yield
        seconds: list[float] = []
        for _ in range(steps - warmup - 2):
            start = time.perf_counter()
            yield
            seconds.append(time.perf_counter() - start)
        found.update(seconds=statistics.median(seconds), peak_mib=_peak_mib(), threads=torch.get_num_threads())
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            yield
        found.update(_operator_shares(profiler))
        sizes: Counter[Size] = Counter()
        with _record_products(sizes):
            yield
        found["product_gflop"] = sum(2 * b * m * k * n * times for (b, m, k, n), times in sizes.items()) / 1e9
        found["product_seconds"] = _replay(sizes)
        yield

    stages = follow()
    next(stages)

    def on_step(tokens: int) -> None:
        next(stages)

    side(on_step)
    return Alone(product_share=found["product_seconds"] / found["seconds"], **found)


def peak_after_import(modules: Sequence[str]) -> float:
    """Peak memory of a process that imports the modules and does nothing."""
    for module in modules:
        importlib.import_module(module)
    return _peak_mib()


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)


def _operator_shares(profiler: Any) -> dict[str, Any]:
    """Where the operators' own time goes. Time between operators, in Python, is not in it."""
    own = {event.key: event.self_cpu_time_total for event in profiler.key_averages() if event.key.startswith("aten::")}
    total = sum(own.values())
    names = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product_flash_attention")
    products = sum(spent for name, spent in own.items() if name in names or name.startswith(names[-1]))
    largest = sorted(own.items(), key=lambda item: -item[1])[:10]
    return {
        "profiled_share": products / total,
        "operators": [(name.removeprefix("aten::"), round(spent / total, 4)) for name, spent in largest],
    }


def _record_products(sizes: Counter[Size]) -> AbstractContextManager[Any]:
    """Counts the sizes of every matrix product, those inside attention included."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Record(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
            sizes.update(_products(func.overloadpacket.__name__, args))
            return func(*args, **(kwargs or {}))

    mode: AbstractContextManager[Any] = Record()  # type: ignore[no-untyped-call]
    return mode


def _products(operator: str, args: Sequence[Any]) -> list[Size]:
    """The matrix products that an operator stands for."""
    match operator:
        case "mm" | "addmm":
            a, b = args[-2:] if operator == "mm" else args[1:3]
            return [(1, a.shape[0], a.shape[1], b.shape[1])]
        case "bmm" | "baddbmm":
            a, b = args[:2] if operator == "bmm" else args[1:3]
            return [(a.shape[0], a.shape[1], a.shape[2], b.shape[2])]
        case "_scaled_dot_product_flash_attention_for_cpu":
            return _attention_products(args[0], args[1])[:2]
        case "_scaled_dot_product_flash_attention_for_cpu_backward":
            return _attention_products(args[1], args[2])[2:]
    return []


def _attention_products(query: Any, key: Any) -> list[Size]:
    """Scores and values forward; then scores again and the gradients of values, weights, queries, keys."""
    batch, queries, width, keys = query.shape[0] * query.shape[1], query.shape[2], query.shape[3], key.shape[2]
    over_width, over_keys = (batch, queries, width, keys), (batch, queries, keys, width)
    over_queries = (batch, keys, queries, width)
    return [over_width, over_keys, over_width, over_queries, over_width, over_keys, over_queries]


def _replay(sizes: Counter[Size]) -> float:
    """Seconds of the products alone."""
    import torch

    total = 0.0
    for (batch, m, k, n), times in sizes.items():
        shape = () if batch == 1 else (batch,)
        product: Callable[..., Any] = torch.mm if batch == 1 else torch.bmm
        a, b, out = torch.randn(*shape, m, k), torch.randn(*shape, k, n), torch.empty(*shape, m, n)
        product(a, b, out=out)
        start = time.perf_counter()
        for _ in range(times):
            product(a, b, out=out)
        total += time.perf_counter() - start
    return total


def prompt_tokens(work: Workload) -> float:
    """Mean length of a prompt."""
    from transformers import AutoTokenizer

    from rltf.text.renderer import Renderer

    tokenizer = AutoTokenizer.from_pretrained(work.model)
    renderer, task = Renderer(tokenizer, [tokenizer.eos_token_id]), PseudoRandomRewards(work.task)
    problems = [task.problem("train", index) for index in range(work.prompts)]
    return statistics.mean(len(renderer.prompt(Prompts(PromptsConfig()).first_turn(problem))) for problem in problems)


def benchmark(options: argparse.Namespace, directory: str) -> dict[str, Any]:
    """All measurements, as one JSON object."""
    _say("copying the model")
    in_own_process(copy_that_cannot_stop, options.model, directory)
    work = Workload(
        model=directory,
        steps=options.warmup + options.steps,
        prompts=options.prompts,
        group_size=options.group_size,
        new_tokens=options.new_tokens,
        side=options.side,
    )
    short = dataclasses.replace(work, steps=options.warmup + options.alone_steps + 2)
    _say("rltf alone")
    rltf_alone = in_own_process(run_alone, functools.partial(run_rltf, short), short.steps, options.warmup)
    trl_alone: dict[int, Alone] = {}
    for batch in options.trl_batches:
        _say(f"TRL alone, {batch} rollouts x {work.rollouts // batch}")
        side = functools.partial(run_trl, short, batch=batch)
        trl_alone[batch] = in_own_process(run_alone, side, short.steps, options.warmup)
    batch = min(trl_alone, key=lambda size: trl_alone[size].seconds)
    _say(f"rltf and TRL ({batch} x {work.rollouts // batch}) in turns")
    sides = functools.partial(run_rltf, work), functools.partial(run_trl, work, batch=batch)
    pairs = alternate(sides, work.steps, options.warmup)
    return {
        "environment": environment() | {"threads": rltf_alone.threads, "trl": metadata.version("trl")},
        "model": options.model,
        "rollouts_per_step": work.rollouts,
        "new_tokens_per_rollout": work.new_tokens,
        "prompt_tokens": in_own_process(prompt_tokens, work),
        "trl_batch": batch,
        "seconds": pairs,
        "rollouts_per_second": {
            "rltf": spread([work.rollouts / rltf for rltf, _ in pairs]),
            "trl": spread([work.rollouts / trl for _, trl in pairs]),
        },
        "ratio": spread([trl / rltf for rltf, trl in pairs]),
        "imports_mib": {name: in_own_process(peak_after_import, modules) for name, modules in _LIBRARIES.items()},
        "rltf_alone": dataclasses.asdict(rltf_alone),
        "trl_alone": {str(size): dataclasses.asdict(alone) for size, alone in trl_alone.items()},
    }


def table(result: Mapping[str, Any]) -> str:
    """The result for people."""
    rollouts, batch, pairs = result["rollouts_per_step"], result["trl_batch"], result["seconds"]
    trl = f"TRL {result['environment']['trl']}, {batch} x {rollouts // batch}"
    sides = (result["rltf_alone"], result["trl_alone"][str(batch)])
    lines = [f"{'':36}{'rltf':>14}{trl:>24}"]

    def row(name: str, ours: str, theirs: str) -> None:
        lines.append(f"{name:36}{ours:>14}{theirs:>24}")

    seconds = [statistics.median(column) for column in zip(*pairs, strict=True)]
    rates = [result["rollouts_per_second"][side]["median"] for side in ("rltf", "trl")]
    row("seconds per step (median)", *(f"{value:.3f}" for value in seconds))
    row("rollouts per second (median)", *(f"{value:.1f}" for value in rates))
    row("peak memory, MiB", *(f"{side['peak_mib']:.0f}" for side in sides))
    row("  of which the libraries, imported", *(f"{mib:.0f}" for mib in result["imports_mib"].values()))
    row("matrix products per step, GFLOP", *(f"{side['product_gflop']:.1f}" for side in sides))
    row("  the same alone, s", *(f"{side['product_seconds']:.3f}" for side in sides))
    row("  the same alone / step", *(f"{side['product_share']:.0%}" for side in sides))
    row("  share of operators' time", *(f"{side['profiled_share']:.0%}" for side in sides))
    ratio = result["ratio"]
    lines += [
        "",
        f"rltf's rollouts per second over TRL's: median {ratio['median']:.2f}, min {ratio['min']:.2f}, "
        f"max {ratio['max']:.2f} over {len(pairs)} pairs of steps",
        f"{rollouts} rollouts of {result['new_tokens_per_rollout']} new tokens after {result['prompt_tokens']:.0f} "
        f"prompt tokens per step, {result['environment']['threads']} threads; TRL alone, seconds and peak MiB: "
        + ", ".join(
            f"{size} x {rollouts // int(size)}: {alone['seconds']:.3f} and {alone['peak_mib']:.0f}"
            for size, alone in result["trl_alone"].items()
        ),
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Rollouts per second and peak memory of one GRPO step: rltf against TRL, on the CPU."
    )
    parser.add_argument("--model", default="builtin", help="`builtin`, a directory, or a hub name (default: builtin)")
    parser.add_argument("--steps", type=int, default=8, help="pairs of timed steps (default: 8)")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the timed ones (default: 2)")
    parser.add_argument("--alone-steps", type=int, default=3, help="timed steps of each side alone (default: 3)")
    parser.add_argument("--prompts", type=int, default=32, help="prompts per step (default: 32)")
    parser.add_argument("--group-size", type=int, default=8, help="rollouts per prompt (default: 8)")
    parser.add_argument("--new-tokens", type=int, default=24, help="new tokens per rollout (default: 24)")
    parser.add_argument("--side", type=int, default=4, help="side of the matrices in the prompts (default: 4)")
    parser.add_argument(
        "--trl-batches",
        type=int,
        nargs="+",
        default=[256, 64],
        help="TRL's rollouts per forward pass to choose the fastest of (default: 256 64)",
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    rollouts = options.prompts * options.group_size
    if min(options.steps, options.warmup, options.alone_steps) < 1:
        parser.error("--steps, --warmup and --alone-steps must be 1 or more")
    if wrong := [batch for batch in options.trl_batches if rollouts % batch]:
        parser.error(f"--trl-batches: {wrong[0]} does not divide the {rollouts} rollouts of a step")
    return options


def main() -> None:
    options = _options()
    if importlib.util.find_spec("trl") is None:
        sys.exit("throughput.py: trl is not installed; benchmarks/README.md has the command that installs it")
    os.environ.update(_QUIET)
    with tempfile.TemporaryDirectory() as directory:
        result = benchmark(options, directory)
    print(table(result))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
