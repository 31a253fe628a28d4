"""How much memory a run needs, from a model's config alone: no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from rltf.config import RunConfig, TorchEngineConfig
from rltf.engines.torch.adapters import add_adapters
from rltf.engines.torch.model import longest_sequence, number_format, pick_device
from rltf.engines.torch.size import described_model

GIB = 2**30
LOGITS = 32 << 20
"""Logits that are made at a time, unless `engine.logit_chunk` says for how many tokens."""
_LOGIT_ARRAYS = 4
"""Float32 arrays of their size that a loss, or a draw, holds at once."""
_LEAST_TOKENS, _MOST_CPU_TOKENS, _MOST_TOKENS = 256, 2_048, 16_384
_CPU_ACTIVATIONS = GIB // 2
"""What a micro-batch may take on a CPU unless it is set: more tokens at once are hardly faster there."""
_TEMPLATE_TOKENS, _FEEDBACK_TOKENS = 40, 60
"""Guesses: what a chat template adds to a question, and a feedback with the words around it."""
_PROCESS = {"cpu": 370 << 20, "cuda": 512 << 20, "mps": 0}
"""On a CPU what the libraries take once imported (torch 2.13, measured); on a GPU about what CUDA takes itself."""
_KERNELS = 256 << 20
"""What products in bfloat16 hold on a CPU, measured: compiled kernels (`heap.py`), and blocks left between them."""
_HEAP = 1.1
"""What a process holds on a CPU over what it uses: blocks that the allocator keeps for later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the device that computes, part by part."""

    parameters: int
    trained: int
    """Parameters that are trained: all, or the adapters."""
    process: int
    """The libraries themselves, and what they compile."""
    weights: int
    """Of the model, with float32 masters of those that are trained in another format."""
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    sampling: int
    """Key-value cache of the sequences that are sampled at once, at their longest, and their logits."""
    training: int
    """Activations of one micro-batch, logits of one chunk, and what a gradient takes on its way."""
    reference: int
    """Further copies of the weights: initial ones for a KL penalty or a teacher without adapters, averaged ones."""
    heap: int
    """Blocks that the allocator keeps for later."""

    @property
    def peak(self) -> int:
        """Of sampling and training, which alternate, the larger."""
        held = self.process + self.weights + self.optimizer + self.reference + self.heap
        return held + max(self.sampling, self.gradients + self.training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The longest sequences of a run, in tokens."""

    prompt: int
    completion: int
    total: int
    """Of both, within the model's context."""


def lengths(config: RunConfig, question_tokens: int, most: int) -> Lengths:
    """What the last prompt comes to if every attempt is as long as it may be; `most` is the model's context."""
    completion = config.rollout.max_new_tokens
    prompt = question_tokens + _TEMPLATE_TOKENS
    prompt += (config.horizon - 1) * (completion + _FEEDBACK_TOKENS + _TEMPLATE_TOKENS)
    total = min(prompt + completion, most)
    return Lengths(prompt=max(1, total - completion), completion=completion, total=total)


def token_budget(engine: TorchEngineConfig, described: Any, device: torch.device, *, training: bool) -> int:
    """Most tokens of one forward pass: as set, or as many as suit the device. `described`: the model's config.

    A pass that is not trained on leaves nothing behind, so that all the tokens which are worth it fit.
    """
    if engine.micro_batch_tokens is not None:
        return engine.micro_batch_tokens
    if device.type != "cpu":
        return _MOST_TOKENS
    if not training:
        return _MOST_CPU_TOKENS
    width = number_format(engine, device).itemsize
    fitting = _CPU_ACTIVATIONS // max(1, _activations(described.get_text_config(), engine, width))
    return min(_MOST_CPU_TOKENS, max(_LEAST_TOKENS, fitting))


def memory(config: RunConfig, question_tokens: int) -> Memory:
    """What a run needs at most; raises `UserError` where there is no such model, or it takes no such adapters."""
    engine = settings_of(config)
    described, model = described_model(engine)
    text = described.get_text_config()
    # What a run needs elsewhere is told on a machine without that device too.
    device = pick_device(engine.device) if engine.device == "auto" else torch.device(engine.device)
    width = number_format(engine, device).itemsize
    parameters = sum(p.numel() for p in model.parameters())
    weights = _weights(model, engine, width)
    if engine.lora is not None:
        model = add_adapters(model, engine.lora, 0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    longest = lengths(config, question_tokens, longest_sequence(described))
    # Adapters are kept in float32 whatever the model is; weights in another format have float32 masters.
    masters = trained * 4 if engine.lora is not None or width < 4 else 0
    held = {
        "process": _PROCESS[device.type] + (_KERNELS if device.type == "cpu" and width < 4 else 0),
        "weights": weights + masters,
        "gradients": trained * 4,
        "optimizer": 2 * trained * 4,
        "sampling": _sampling(config, text, width, longest),
        "training": _training(config, text, width, longest, token_budget(engine, described, device, training=True)),
        "reference": policy_copies(config, parameters * width, trained * 4),
    }
    heap = int((_HEAP - 1) * (sum(held.values()) - held["sampling"])) if device.type == "cpu" else 0
    return Memory(parameters=parameters, trained=trained, heap=heap, **held)


def _weights(model: Any, engine: TorchEngineConfig, width: int) -> int:
    total = int(sum(p.numel() for p in model.parameters()))
    if engine.quantize is None:
        return total * width
    output = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not output]
    packed = sum(m.weight.numel() for m in linear)
    return packed // 2 + packed // 16 + (total - packed) * width  # Half a byte each, and a scale for each 64.


def policy_copies(config: RunConfig, weights: int, averages: int) -> int:
    """Bytes of weights that stand beside those that are trained."""
    teacher = getattr(getattr(config.objective, "distil", None), "teacher", "current")
    initial = bool(config.objective.kl_coefficient) or teacher == "initial"
    return weights * (initial and settings_of(config).lora is None) + averages * (teacher == "average")


def _sampling(config: RunConfig, text: Any, width: int, longest: Lengths) -> int:
    rows = config.trainer.groups_per_batch * config.trainer.group_size
    evaluated = (config.evaluation.problems or rows) * config.evaluation.samples
    rows = min(settings_of(config).decode_batch, max(rows, evaluated))
    cache = rows * longest.total * width * sum(map(_keys_and_values, _layers(text)))
    return cache + rows * int(text.vocab_size) * (width + 4 * _LOGIT_ARRAYS)


def _training(config: RunConfig, text: Any, width: int, longest: Lengths, budget: int) -> int:
    """A micro-batch of the longest sequences, in groups that share a prompt, as `packing.micro_batches` fills it."""
    engine, trainer = settings_of(config), config.trainer
    siblings = min(trainer.group_size, max(1, (budget - longest.prompt) // longest.completion))
    group = longest.prompt + siblings * longest.completion
    if not engine.share_prefixes:
        siblings, group = 1, longest.total
    groups = min(max(1, budget // group), trainer.groups_per_batch * trainer.group_size // siblings)
    rows, tokens = groups * siblings, groups * group
    # Rows that share a prompt have it copied in front of their own keys and values.
    layers, vocabulary, hidden = _layers(text), int(text.vocab_size), int(text.hidden_size)
    copies = rows * longest.total * width * sum(map(_keys_and_values, layers)) if engine.share_prefixes else 0
    whole = tokens * _activations(text, engine, width) + copies
    if engine.gradient_checkpointing:
        # The layers' inputs, the prefixes' keys and values, and one layer as it is computed again.
        kept = len(layers) * tokens * hidden * width
        whole = kept + copies // max(1, siblings) + whole // len(layers)
    read = min(rows * longest.completion, engine.logit_chunk or max(1, LOGITS // vocabulary))
    logits = read * vocabulary * (width + 4 * _LOGIT_ARRAYS)
    # The gradients of embedding and output layer, before they are added to what is there.
    passing = 2 * vocabulary * hidden * width if engine.lora is None else 0
    return whole + max(logits, passing)


def _activations(text: Any, engine: TorchEngineConfig, width: int) -> int:
    """Bytes that a token leaves behind for the backward pass, in all layers, as a gated transformer has them.

    Two norms keep their input, in float32, and two forms of their output; attention its queries, keys, values and two
    forms of its output; the feed-forward part four vectors. An adapter keeps its input in float32.
    """
    total = 0
    for layer in _layers(text):
        hidden, keys_and_values = int(layer.hidden_size), _keys_and_values(layer)
        queries = _heads(layer) * _head(layer)
        inner = _largest(getattr(layer, "intermediate_size", None)) or 4 * hidden
        if getattr(layer, "num_experts_per_tok", None):
            inner = (_largest(getattr(layer, "moe_intermediate_size", None)) or inner) * layer.num_experts_per_tok
        total += 2 * hidden * (4 + 2 * width) + width * (3 * queries + keys_and_values + 4 * inner)
        if engine.lora is not None and width < 4:
            total += 4 * (5 * hidden + queries + inner)
    return total


def _largest(size: int | list[int] | None) -> int:
    """Some models have a size for each layer."""
    return max(size) if isinstance(size, list) else size or 0


def _heads(layer: Any) -> int:
    return int(getattr(layer, "num_attention_heads", 0))


def _head(layer: Any) -> int:
    return int(getattr(layer, "head_dim", None) or layer.hidden_size // max(_heads(layer), 1))


def _layers(text: Any) -> list[Any]:
    """The config of each layer, which may differ from the others'."""
    own = getattr(text, "per_layer_config", None)
    return [text] * text.num_hidden_layers if own is None else list(own)


def _keys_and_values(layer: Any) -> int:
    """Numbers that a layer remembers of a token. A layer with states alone has no heads, and remembers none."""
    return 2 * int(getattr(layer, "num_key_value_heads", None) or _heads(layer)) * _head(layer)


def settings_of(config: RunConfig) -> TorchEngineConfig:
    """Those of the engine, which runs on machines that are known."""
    assert isinstance(config.engine, TorchEngineConfig), "of a server's memory nothing is known here"
    return config.engine
