"""Builds the built-in model from a seed: tokenizer, random weights, pretraining on the corpus."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rltf.builtin import builtin_directory
from rltf.config import TorchEngineConfig, TrainerConfig
from rltf.engines.torch.learner import TorchLearner
from rltf.support.seeds import derive_seed
from rltf.support.templates import without_fields
from rltf.text.renderer import Renderer
from rltf.types import TrainingSample
from rltf.workshops.schooling.corpus import PROMPTS, Speaker, exchanges
from rltf.workshops.schooling.matrix_speaker import MatrixSpeaker
from rltf.workshops.schooling.path_speaker import PathSpeaker
from rltf.workshops.schooling.people_speaker import PeopleSpeaker
from rltf.workshops.schooling.tokenizer import train_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of schooling with an optimiser of its own."""

    steps: int
    dialogues: tuple[int, ...]
    """Dialogues per step of each speaker."""
    rising_until: float = 0.0
    """The share of the steps over which the difficulty of the corpus rises from 0 to 1."""
    learning_rate: float = 1.5e-3
    """Peak; after warm-up it falls along a cosine."""
    warmup_steps: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Size and schooling of the model."""

    seed: int = 0
    hidden: int = 128
    layers: int = 4
    heads: int = 8
    feed_forward: int = 384
    context: int = 1024
    rope_theta: float = 500.0
    """Small, as the texts are short: fewer rotary pairs turn too slowly to tell positions apart."""
    threads: int = 2
    """Fixed, as the number of threads decides the order of sums and so the last bits."""
    phases: tuple[Phase, ...] = (
        Phase(steps=2000, dialogues=(8, 3, 5), rising_until=0.7),
        Phase(steps=2500, dialogues=(5, 5, 12)),
        Phase(steps=1500, dialogues=(8, 4, 14)),
    )


MARKS = Phase(steps=400, dialogues=(16,), learning_rate=1e-3)
"""Further schooling of the finished model, in another form of feedback."""
DRAFTS = replace(MARKS, steps=750)
"""The same, with attempts that hold a draft and marks on it."""
SPEAKERS: tuple[Speaker, ...] = (MatrixSpeaker(), PathSpeaker(), PeopleSpeaker())


def build(recipe: Recipe, path: Path, progress: Callable[[int, Mapping[str, float]], None]) -> None:
    """Writes the finished model as a Hugging Face directory; `progress(step, metrics)` is called on the way."""
    torch.set_num_threads(recipe.threads)
    _write_untrained(recipe, path)
    done = 0
    for phase in recipe.phases:
        _school(recipe, phase, path, done, progress, SPEAKERS)
        done += phase.steps


def school_further(
    recipe: Recipe, phase: Phase, path: Path, progress: Callable[[int, Mapping[str, float]], None], *, drafts: bool
) -> None:
    """Writes the shipped model after further schooling in Binary Matrix, with `feedback.level=marks`.

    With `drafts`, in attempts as `task.draft` asks for them. First attempts stay as ignorant, and the targets of
    revisions as random, as before.
    """
    torch.set_num_threads(1)  # Fixed, as in a recipe; so small a schooling needs no more.
    shutil.copytree(builtin_directory(), path)
    # Its corpus goes on where that of the shipped model ends; its progress is its own.
    done = sum(phase.steps for phase in recipe.phases)
    speakers = (MatrixSpeaker("marks", drafts=drafts),)
    _school(recipe, phase, path, done, lambda step, metrics: progress(step - done, metrics), speakers)


def _school(
    recipe: Recipe,
    phase: Phase,
    path: Path,
    done: int,
    progress: Callable[[int, Mapping[str, float]], None],
    speakers: Sequence[Speaker],
) -> None:
    engine = TorchLearner(
        TorchEngineConfig(model=str(path), device="cpu"),
        TrainerConfig(learning_rate=phase.learning_rate, beta2=0.98, weight_decay=0.01),
        temperature=1.0,
    )
    for step in range(phase.steps):
        rng = Random(derive_seed(recipe.seed, "corpus", done + step))
        rising = phase.rising_until * phase.steps
        difficulty = min(1.0, step / rising) if rising else 1.0
        samples = _samples(phase, speakers, engine.renderer, rng, difficulty)
        tokens = sum(len(sample.completion_tokens) for sample in samples)
        metrics = engine.forward_backward(samples, float(tokens))
        engine.optim_step(_learning_rate(phase, step))
        progress(done + step, metrics)
    engine.export(path)


def _samples(
    phase: Phase, speakers: Sequence[Speaker], renderer: Renderer, rng: Random, difficulty: float
) -> list[TrainingSample]:
    """The replies of a step's dialogues, each with its prompt; the dialogues' task and kind are the component."""
    samples: list[TrainingSample] = []
    speaking = [speaker for speaker, dialogues in zip(speakers, phase.dialogues, strict=True) for _ in range(dialogues)]
    for index, speaker in enumerate(speaking):
        for exchange in exchanges(speaker, rng, difficulty):
            reply = renderer.completion(exchange.reply)
            samples.append(
                TrainingSample(
                    prompt_tokens=renderer.prompt(exchange.messages),
                    completion_tokens=reply,
                    weights=np.ones(len(reply), dtype=np.float32),
                    loss="cross_entropy",
                    component=f"{exchange.task}/{exchange.kind}",
                    rollout=index,
                    turn=0,
                )
            )
    return samples


def _learning_rate(phase: Phase, step: int) -> float:
    warm = min(1.0, (step + 1) / phase.warmup_steps)
    return phase.learning_rate * warm * 0.5 * (1.02 + 0.98 * math.cos(math.pi * step / phase.steps))


def _write_untrained(recipe: Recipe, path: Path) -> None:
    texts = [text for speaker in SPEAKERS for text in speaker.vocabulary()]
    # The templates' fields are cut out: what stands around them is what the model reads.
    spoken = PROMPTS.texts
    for template in (spoken.revision, spoken.single_message, spoken.feedback_request):
        texts += without_fields(template)
    tokenizer = train_tokenizer(texts)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
