"""Runs that train in processes of their own and take turns, step by step, so that they can be compared.

Whatever else the machine does falls on all of them, and each step of one has a step of each other beside it. In one
process they would share thread pools, allocator and PyTorch's global settings, which slows them all down.

A run of rltf here does all that a run does, records included, with two things changed so that each step does the same
amount of work: no attempt can stop before the limit, and rewards are pseudo-random, so that no sample is left out.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias, TypeVar

# torch, transformers and rltf's engine are imported where they are used: a process holds what its own side needs.
from rltf.config import BinaryMatrixConfig, RunConfig
from rltf.config.engines import on_this_machine
from rltf.rollouts.records import Timing
from rltf.runs.observers import Observer
from rltf.tasks import BinaryMatrix
from rltf.types import Completion, Finish, Problem, SamplingParams, Score, Tokens

T = TypeVar("T")
Side: TypeAlias = Callable[[Callable[[int], None]], None]
"""Trains, and after each step calls what it is given with the number of tokens that the policy's loss read."""


class PseudoRandomRewards(BinaryMatrix):
    """Scores for real, then gives a reward that differs between any two attempts."""

    def __init__(self, config: BinaryMatrixConfig) -> None:
        super().__init__(**config.model_dump(exclude={"name"}))
        self._scored = 0

    def score(self, problem: Problem, text: str) -> Score:
        """The task's score with a reward in [0, 1) from the text and from how many were scored before."""
        self._scored += 1
        reward = zlib.crc32(f"{self._scored} {text}".encode()) / 2**32
        return dataclasses.replace(super().score(problem, text), reward=reward, correct=False, well_formed=True)


@dataclass(frozen=True, slots=True)
class _Observer(Observer):
    """Passes on that a step of rltf has ended."""

    on_step: Callable[[int], None]

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """The last thing in a step."""
        self.on_step(int(metrics.get("tokens/policy", 0)))


def train(config: RunConfig, on_step: Callable[[int], None]) -> None:
    """Trains with rltf on Binary Matrix as `config` says."""
    from rltf.engines.base import Joined
    from rltf.engines.torch.engine import TorchSampler
    from rltf.engines.torch.learner import TorchLearner
    from rltf.feedback.llm import Endpoints
    from rltf.runs.build import build_trainer
    from rltf.runs.directory import RunDir

    class NeverCut(TorchSampler):
        """Reports every attempt as ended: an attempt that the limit cut would get reward 0."""

        def generate(
            self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
        ) -> list[list[Completion]]:
            """Samples; see the protocol."""
            groups = super().generate(prompts, n, sampling, seeds)
            return [[dataclasses.replace(attempt, finish=Finish.STOP) for attempt in group] for group in groups]

    assert isinstance(config.task, BinaryMatrixConfig)
    engine = on_this_machine(config.engine)
    learner = TorchLearner(engine, config.trainer, config.rollout.temperature)
    learner.renderer.stop_tokens = ()  # The chat template's end of a turn would stop an attempt too.
    with tempfile.TemporaryDirectory() as directory:
        build_trainer(
            config,
            run_dir=RunDir.create(Path(directory) / "run"),
            engine=Joined(learner, NeverCut(engine, learner)),
            task=PseudoRandomRewards(config.task),
            endpoints=Endpoints(),
            observer=_Observer(on_step),
        ).run()


class _Turn:
    """A side in a process of its own that sleeps at the end of each step until it is told to take the next."""

    def __init__(self, side: Side) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_take_turns, args=(side, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def take(self) -> float:
        """Seconds of the next step; the first also builds the side."""
        start = time.perf_counter()
        self._pipe.send("go")
        self._pipe.recv()  # An EOFError here is a side that failed; its traceback stands above.
        return time.perf_counter() - start

    def finish(self) -> None:
        """Lets the side end."""
        self._pipe.send("go")
        self._process.join()
        if self._process.exitcode:
            raise RuntimeError("a side failed after its last step; its traceback stands above")


def _take_turns(side: Side, pipe: Connection) -> None:
    def on_step(tokens: int) -> None:
        pipe.send("done")
        pipe.recv()

    pipe.recv()
    side(on_step)


def alternate(sides: Sequence[Side], steps: int, warmup: int) -> list[tuple[float, ...]]:
    """Seconds of each round of steps, one step of each side, after the warm-up; `steps` counts the warm-up's."""
    turns = [_Turn(side) for side in sides]
    rounds = [tuple(turn.take() for turn in turns) for _ in range(steps)]
    for turn in turns:
        turn.finish()
    return rounds[warmup:]


def copy_that_cannot_stop(model: str, path: str) -> None:
    """Copies a model; the copy's end-of-turn token is a new one, which the model has no logit for."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rltf.engines.torch.model import source_of

    source = source_of(model)
    weights = AutoModelForCausalLM.from_pretrained(source, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(source)
    if "eos_token" in (tokenizer.chat_template or ""):
        # A template that writes the token by its role must go on writing the old one.
        tokenizer.chat_template = f"{{% set eos_token = {tokenizer.eos_token!r} %}}{tokenizer.chat_template}"
    logits = weights.get_output_embeddings().weight.shape[0]
    tokenizer.add_tokens([f"<|unused {i}|>" for i in range(logits - len(tokenizer))], special_tokens=True)
    tokenizer.add_special_tokens({"eos_token": "<|never|>"})
    assert tokenizer.eos_token_id >= logits
    weights.config.eos_token_id = weights.generation_config.eos_token_id = tokenizer.eos_token_id
    weights.save_pretrained(path)
    tokenizer.save_pretrained(path)


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """Calls a function in a fresh process, whose memory holds nothing else."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
