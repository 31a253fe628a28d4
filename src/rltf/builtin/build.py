"""Builds the built-in model from a seed: tokenizer, random weights, pretraining on the corpus."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rltf.builtin.corpus import Speaker, exchanges
from rltf.builtin.matrix_speaker import MatrixSpeaker
from rltf.builtin.tokenizer import train_tokenizer
from rltf.config import TorchEngineConfig, TrainerConfig
from rltf.engines.torch_engine import TorchEngine
from rltf.prompts import FEEDBACK_REQUEST, SECOND_TURN, SINGLE_MESSAGE
from rltf.seeds import derive_seed
from rltf.types import TrainingSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Size and schooling of the model."""

    seed: int = 0
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    context: int = 1024
    rope_theta: float = 500.0
    """Small, as the texts are short: fewer rotary pairs turn too slowly to tell positions apart."""
    steps: int = 1500
    dialogues_per_step: int = 96
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    easy_until: float = 0.2
    """Up to this share of the steps the corpus has difficulty 0 ..."""
    hard_from: float = 0.7
    """... and from this share on, 1; in between it rises linearly."""


SPEAKERS: tuple[Speaker, ...] = (MatrixSpeaker(),)


def build(recipe: Recipe, path: Path, progress: Callable[[int, Mapping[str, float]], None]) -> None:
    """Writes the finished model as a Hugging Face directory; `progress(step, metrics)` is called on the way."""
    _write_untrained(recipe, path)
    engine = TorchEngine(
        TorchEngineConfig(model=str(path), device="cpu", micro_batch_tokens=2048),
        TrainerConfig(learning_rate=recipe.learning_rate, beta2=0.98, weight_decay=0.01),
        temperature=1.0,
    )
    for step in range(recipe.steps):
        rng = Random(derive_seed(recipe.seed, "corpus", step))
        difficulty = min(1.0, max(0.0, (step / recipe.steps - recipe.easy_until) / (recipe.hard_from - recipe.easy_until)))
        samples: list[TrainingSample] = []
        for index in range(recipe.dialogues_per_step):
            for exchange in exchanges(SPEAKERS[index % len(SPEAKERS)], rng, difficulty):
                reply = engine.renderer.completion(exchange.reply)
                samples.append(
                    TrainingSample(
                        prompt_tokens=engine.renderer.prompt(exchange.messages),
                        completion_tokens=reply,
                        weights=np.ones(len(reply), dtype=np.float32),
                        loss="cross_entropy",
                        component=exchange.kind,
                        rollout=index,
                        turn=0,
                    )
                )
        tokens = sum(len(sample.completion_tokens) for sample in samples)
        metrics = engine.forward_backward(samples, float(tokens))
        engine.optim_step(_learning_rate(recipe, step))
        progress(step, metrics)
    engine.export(path)


def _learning_rate(recipe: Recipe, step: int) -> float:
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return recipe.learning_rate * warm * 0.5 * (1.02 + 0.98 * math.cos(math.pi * step / recipe.steps))


def _write_untrained(recipe: Recipe, path: Path) -> None:
    texts = [text for speaker in SPEAKERS for text in speaker.vocabulary()]
    # The templates' fields are cut out: what stands around them is what the model reads.
    for template in (SECOND_TURN, SINGLE_MESSAGE, FEEDBACK_REQUEST):
        texts += template.replace("{", "}").split("}")[::2]
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
