"""What a run would need on several GPUs, part by part, for each way of spreading it: computed, nothing is loaded.

The parts are those of `memory.py`, for the share of a step that falls to one GPU. Whatever the way, a GPU holds the
whole model while it samples and scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from rltf.config import RunConfig
from rltf.config.load import changed
from rltf.engines.torch.memory import lengths, memory, policy_copies, settings_of, token_budget
from rltf.engines.torch.model import longest_sequence, number_format
from rltf.engines.torch.size import described_model

FREE = 0.1
"""The share of a GPU's memory that a plan leaves free, a guess: what its allocator cannot use, and what it loads."""
_MICRO_BATCHES = (8192, 4096, 2048, 1024)
_DECODE_BATCHES = (128, 64, 32, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Bytes on one GPU under one way of spreading a run."""

    way: str
    settings: tuple[str, ...]
    """What chooses it."""
    process: int
    weights: int
    """Held all the time: the model, or this GPU's part, with float32 masters."""
    optimizer: int
    reference: int
    """Further policies."""
    gathered: int
    """Weights that are gathered to sample and to score, beyond those held."""
    sampling: int
    gathered_in_training: int
    gradients: int
    training: int
    """Activations of a micro-batch and logits of a chunk."""
    traffic: int
    """Bytes that the GPU receives in a step, and sends."""

    @property
    def held(self) -> int:
        """What is always there."""
        return self.process + self.weights + self.optimizer + self.reference

    @property
    def while_sampling(self) -> int:
        """The most while it samples."""
        return self.held + self.gathered + self.sampling

    @property
    def while_training(self) -> int:
        """The most while it trains."""
        return self.held + self.gathered_in_training + self.gradients + self.training

    @property
    def peak(self) -> int:
        """Of both, which alternate, the larger."""
        return max(self.while_sampling, self.while_training)

    def fits(self, gpu_memory: float) -> bool:
        """Whether it does in so many bytes, with `FREE` of them left."""
        return self.peak <= (1.0 - FREE) * gpu_memory


def plans(config: RunConfig, question_tokens: int, gpus: int, gpu_memory: float) -> list[Plan]:
    """Every way that the settings allow, the fastest first, each with the largest batches that fit.

    Args:
        config: settled settings, with a number format; the device is a GPU, whatever they say.
        question_tokens: about how long a question is.
        gpus: how many share the run.
        gpu_memory: bytes that each has. Micro-batches and sequences that are sampled at once are made smaller, down to
            a limit, where they are not set.
    """
    ways = [_Job.replicated]
    if settings_of(config).quantize is None and gpus > 1:
        ways += [_Job.gathered, _Job.layer_by_layer] if settings_of(config).share_prefixes else [_Job.layer_by_layer]
    return [_fitted(way, config, question_tokens, gpus, (1.0 - FREE) * gpu_memory) for way in ways]


def _fitted(way: Callable[[_Job], Plan], config: RunConfig, question_tokens: int, gpus: int, limit: float) -> Plan:
    """One way, with batches that fit, or with the smallest ones."""

    def plan(sizes: Mapping[str, int]) -> Plan:
        return way(_Job(config, {f"engine.{name}": size for name, size in sizes.items()}, question_tokens, gpus))

    engine = settings_of(config)
    chosen: dict[str, int] = {}
    found = plan(chosen)
    if engine.micro_batch_tokens is None:
        for size in _MICRO_BATCHES:
            if found.while_training <= limit:
                break
            chosen["micro_batch_tokens"] = size
            found = plan(chosen)
    for size in _DECODE_BATCHES:
        if found.while_sampling <= limit or size >= engine.decode_batch:
            break
        chosen["decode_batch"] = size
        found = plan(chosen)
    return replace(found, settings=(*found.settings, *(f"engine.{name}={size}" for name, size in chosen.items())))


class _Job:
    """A run and the share of it that falls to one of the GPUs."""

    def __init__(self, config: RunConfig, changes: dict[str, Any], question_tokens: int, gpus: int) -> None:
        problems = config.evaluation.problems
        share: dict[str, Any] = {
            "engine.device": "cuda",
            "trainer.groups_per_batch": math.ceil(config.trainer.groups_per_batch / gpus),
            "trainer.minibatches": 1,
            "evaluation.problems": problems and math.ceil(problems / gpus),
        }
        self._config, self._gpus, self._question_tokens = config, gpus, question_tokens
        self._share = changed(config, share | changes)
        self._needed = memory(self._share, question_tokens)
        device = torch.device("cuda")
        self._width = number_format(settings_of(config), device).itemsize
        self._described, self._model = described_model(settings_of(config))
        adapters = settings_of(config).lora is not None
        trained, base = self._needed.gradients, self._needed.parameters * self._width
        self._whole = base + (trained if adapters else 0)
        """Bytes of the model as passes read it."""
        self._held = trained + (base if adapters else 0)
        """Bytes of what lies in parts over all GPUs: masters, and what is not trained."""
        self._others = (gpus - 1) / gpus
        """The share of anything that lies in parts which other GPUs have."""

    def replicated(self) -> Plan:
        """DDP: all of it on each."""
        needed = self._needed
        return Plan(
            way="ddp",
            settings=("engine.parallel=ddp",),
            process=needed.process,
            weights=needed.weights,
            optimizer=needed.optimizer,
            reference=needed.reference,
            gathered=0,
            sampling=needed.sampling,
            gathered_in_training=0,
            gradients=needed.gradients,
            training=needed.training,
            traffic=round(2 * self._others * needed.gradients * self._config.trainer.minibatches),
        )

    def gathered(self) -> Plan:
        """FSDP2 with shared prefixes: whole weights and gradients in training, masters and moments in parts."""
        gradients, updates = self._needed.gradients, self._config.trainer.minibatches
        moved = (self._config.horizon + 1 + updates) * self._whole + updates * gradients
        return self._in_parts(
            "fsdp2",
            ("engine.parallel=fsdp2",),
            gathered_in_training=self._whole,
            gradients=gradients + gradients // self._gpus,
            training=self._needed.training,
            moved=moved,
        )

    def layer_by_layer(self) -> Plan:
        """FSDP2 without shared prefixes: two layers' weights, and what stands outside the layers, at a time."""
        apart = memory(changed(self._share, {"engine.share_prefixes": False}), self._question_tokens)
        layers = [m for m in self._model.modules() if isinstance(m, GradientCheckpointingLayer)]
        in_layers = [sum(p.numel() for p in layer.parameters()) for layer in layers]
        largest, outside = max(in_layers, default=0), self._needed.parameters - sum(in_layers)
        gradients = self._needed.gradients
        # A gradient is made in the model's format, and copied into float32 on its way to its part.
        passing = self._needed.trained / self._needed.parameters * (self._width + 4) * (outside + largest)
        passes = self._passes()
        return self._in_parts(
            "fsdp2, layer by layer",
            ("engine.parallel=fsdp2", "engine.share_prefixes=false"),
            gathered_in_training=(outside + 2 * largest) * self._width,
            gradients=gradients // self._gpus + round(passing),
            training=apart.training,
            moved=(self._config.horizon + 1 + 2 * passes) * self._whole + passes * gradients,
        )

    def _in_parts(self, way: str, settings: tuple[str, ...], *, moved: float, **training: int) -> Plan:
        needed = self._needed
        return Plan(
            way=way,
            settings=settings,
            process=needed.process,
            weights=self._held // self._gpus,
            optimizer=needed.optimizer // self._gpus,
            reference=policy_copies(self._config, self._whole, needed.gradients // self._gpus),
            gathered=self._whole,
            sampling=needed.sampling,
            traffic=round(self._others * moved),
            **training,
        )

    def _passes(self) -> int:
        """Micro-batches of a step on one GPU, each attempt in one at its longest."""
        trainer, engine = self._share.trainer, settings_of(self._share)
        longest = lengths(self._share, self._question_tokens, longest_sequence(self._described)).total
        tokens = trainer.groups_per_batch * trainer.group_size * self._config.horizon * longest
        budget = token_budget(engine, self._described, torch.device("cuda"), training=True)
        return math.ceil(tokens / max(budget, longest))
