"""At load, a model's batches are compared with plain passes over one sequence at a time.

Architectures differ in what they make of padding, of windows, and of a cache that is copied; one that does not do what
is asked of it gives wrong log-probabilities in silence, to sampler and trainer alike, so that no gap between them shows
it. The check costs a few short passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltf.engines.packing import TokenSequence, right_align
from rltf.engines.torch.attention import fast_attention
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.caches import find_cache, is_plain, refuse_states
from rltf.engines.torch.forward import completion_pass, last_states, run, token_logprobs
from rltf.engines.torch.heads import find_head
from rltf.engines.torch.sampler import generate
from rltf.support.errors import UserError
from rltf.types import Completion, FloatArray, SamplingParams, Tokens

_MOST_OFF = {torch.float32: 1e-3, torch.bfloat16: 0.15}
"""How far log-probabilities of a sequence may differ from a plain pass's in the mean, in nats: rounding, that is."""
_MOST_TURNED = 0.1
"""How far a gradient may be from another in relation to its norm: rounding in bfloat16 is a few hundredths."""
_SHORT = 16
_MOST_WORK = {"cpu": 2e12, "cuda": 1e15, "mps": 2e13}
"""Floating-point operations that the check may take: a few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the check found."""

    batching: Batching
    head_apart: bool
    """Whether the model's head may be used apart from its decoder."""
    notes: tuple[str, ...]
    """What a user should know, a line each."""


def window(config: Any) -> int | None:
    """The smallest number of tokens that some layer of a model looks back, where that is limited."""
    text = config.get_text_config()
    names = ("sliding_window", "attention_chunk_size", "window_size", "attention_window_size", "local_attention")
    found = [value for name in names if isinstance(value := getattr(text, name, None), int) and value > 0]
    return min(found, default=None)


def check_batching(model: Any, name: str, share: bool, max_tokens: int) -> Checked:
    """The fastest way of batching that gives what plain passes give; raises `UserError` where none does.

    Args:
        model: on its device, in evaluation mode.
        name: what `engine.model` says.
        share: whether prefixes may be shared at all.
        max_tokens: the longest sequence that the model takes.
    """
    kind = model.config.model_type
    prompts, notes = _prompts(model, max_tokens)
    reasons: list[str] = []
    for batching in Batching if share else (Batching.PADDED, Batching.EQUAL):
        try:
            if batching is Batching.SHARED:
                refuse_states(model.config)
            off = _gap(model, prompts, batching)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # Every architecture has errors of its own for what it does not do.
            reasons.append((str(error).strip() or type(error).__name__).splitlines()[0])
            continue
        if off > _MOST_OFF[model.dtype]:
            reasons.append(f"log-probabilities would be off by {off:.2g} nats")
            continue
        if batching is Batching.PADDED and reasons:
            notes.append(f"prefixes are not shared, as models of the kind {kind} do not allow it: {reasons[0]}")
        if batching is Batching.EQUAL:
            notes.append(f"only sequences of equal length are batched, as a {kind} allows no padding: {reasons[-1]}")
        apart = _head_agrees(model, prompts[0])
        if not apart:
            notes.append(f"logits are made for a whole micro-batch at once, as the head of a {kind} was not found")
        return Checked(batching=batching, head_apart=apart, notes=tuple(notes))
    raise UserError(f"engine.model={name}: models of the kind {kind} cannot be sampled and trained here: {reasons[-1]}")


def _prompts(model: Any, max_tokens: int) -> tuple[list[Tokens], list[str]]:
    """Two that begin alike, beyond the model's window if that is affordable, and a short one; all of other lengths."""
    notes: list[str] = []
    stem = _SHORT
    reach = window(model.config)
    if reach is not None:
        work = 2.0 * sum(p.numel() for p in model.parameters()) * 6 * (reach + _SHORT)
        if work <= _MOST_WORK[model.device.type] and reach + 2 * _SHORT <= max_tokens:
            stem = reach + _SHORT // 2
        elif reach < max_tokens:
            notes.append(f"the check at load did not go beyond the model's window of {reach:,} tokens")
    rng = np.random.default_rng(0)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    stem = max(2, min(stem, max_tokens - _SHORT))
    tokens = [tuple(rng.integers(0, vocabulary, size=size).tolist()) for size in (stem, 3, 7, 5)]
    return [tokens[0] + tokens[1], tokens[0] + tokens[2], tokens[3]], notes


def _gap(model: Any, prompts: list[Tokens], batching: Batching) -> float:
    """The largest mean difference of a sequence's log-probabilities, by sampler and by scorer, from a plain pass's."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    # Every second token ends a completion: rows leave the batch, as they do in a run.
    sampled = _sampled(model, prompts, batching, SamplingParams(max_tokens=6), range(0, vocabulary, 2))
    sequences = [TokenSequence(prompt=prompt, completion=c.tokens) for prompt, c in sampled]
    with torch.no_grad():
        plain = [_plain(model, sequence) for sequence in sequences]
        gaps = [_mean(c.logprobs, logprobs) for (_, c), logprobs in zip(sampled, plain, strict=True)]
        gaps.append(_scorers_gap(model, sequences, plain, batching, from_left=False))
    return max(gaps)


def _scorers_gap(
    model: Any, sequences: list[TokenSequence], plain: list[FloatArray], batching: Batching, *, from_left: bool
) -> float:
    """The largest mean difference of the scorer's log-probabilities from those of plain passes."""
    gaps = []
    for layout in batching.layouts(sequences, 1 << 20, from_left=from_left):
        everything = np.ones((len(layout.members), layout.completion_columns), dtype=np.bool_)
        found = completion_pass(model, layout, model.device, 1.0, everything, apart=False)
        scored = token_logprobs(found.logits(found.states_NH), found.token_N).cpu().numpy()
        scored = scored.reshape(everything.shape)
        for row, member in enumerate(layout.members):
            gaps.append(_mean(scored[row, -len(sequences[member].completion) :], plain[member]))
    return max(gaps)


def check_unmasked(model: Any, batching: Batching, max_tokens: int) -> bool:
    """Whether training and scoring may lay out from the left, without masks: it is as right as the other way."""
    prompts, _ = _prompts(model, max_tokens)
    sequences = [TokenSequence(prompt=p, completion=(*prompts[2], *p[:i])) for i, p in enumerate(prompts)]
    try:
        with torch.no_grad():
            plain = [_plain(model, sequence) for sequence in sequences]
            with fast_attention(True):
                off = _scorers_gap(model, sequences, plain, batching, from_left=True)
        masked = _gradient(model, sequences, batching, from_left=False)
        with fast_attention(True):
            unmasked = _gradient(model, sequences, batching, from_left=True)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # As above; what fails here is done with masks.
        return False
    return off <= _MOST_OFF[model.dtype] and float((unmasked - masked).norm()) <= _MOST_TURNED * float(masked.norm())


def _gradient(model: Any, sequences: list[TokenSequence], batching: Batching, *, from_left: bool) -> Tensor:
    """Of the summed log-probabilities, by some of the first weights that are trained: what comes through all layers.
    Small ones, as the check is to take no memory."""
    first = [weight for weight in model.parameters() if weight.requires_grad][:20]
    weights = sorted(first, key=torch.numel)[:8]
    total = torch.zeros(sum(weight.numel() for weight in weights), device=model.device)
    for layout in batching.layouts(sequences, 1 << 20, from_left=from_left):
        own = [np.ones(len(sequences[member].completion), dtype=np.bool_) for member in layout.members]
        read_BT = right_align(own, layout.completion_columns)
        found = completion_pass(model, layout, model.device, 1.0, read_BT, apart=False)
        summed = token_logprobs(found.logits(found.states_NH), found.token_N).sum()
        gradients = torch.autograd.grad(summed, weights, materialize_grads=True)
        total += torch.cat([gradient.flatten().float() for gradient in gradients])
    return total


@torch.inference_mode()
def check_fixed(model: Any, batching: Batching, max_tokens: int) -> tuple[int, list[str]]:
    """How long sequences may be that are decoded by `fixed.FixedDecoder` (0: none), and what a user should know.

    Its mask knows no window. A model that cannot be recorded, or that is wrong when it is, decodes the plain way.
    """
    reach = window(model.config)
    if reach is not None and reach < 4 * _SHORT:
        return 0, []
    try:
        if batching is not Batching.SHARED:  # Otherwise the cache is not the model's own.
            prefilled = run(model, keep=1, input_ids=torch.tensor([[4, 5]], device=model.device), use_cache=True)
            if not is_plain(find_cache(prefilled)[1]):
                raise NotImplementedError("its cache holds other things than the keys and values of every column")
        stem = tuple(range(4, 9))
        prompts = [(*stem, *range(tail)) for tail in (1, 4)] + [stem[:2]]
        # None stops, so that every one goes through steps that are replayed.
        sampled = _sampled(model, prompts, batching, SamplingParams(max_tokens=8), (), fixed_columns=4 * _SHORT)
        plain = [_plain(model, TokenSequence(prompt=prompt, completion=c.tokens)) for prompt, c in sampled]
        off = max(_mean(c.logprobs, logprobs) for (_, c), logprobs in zip(sampled, plain, strict=True))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # What cannot be recorded fails in as many ways as there are architectures.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return 0, [f"decoded without CUDA graphs: {reason}"]
    if off > _MOST_OFF[model.dtype]:
        return 0, [f"decoded without CUDA graphs: log-probabilities would be off by {off:.2g} nats"]
    if reach is None or reach >= max_tokens:
        return max_tokens, []
    return reach, [f"sequences beyond the model's window of {reach:,} tokens are decoded without CUDA graphs"]


def _sampled(
    model: Any,
    prompts: list[Tokens],
    batching: Batching,
    sampling: SamplingParams,
    stop_tokens: Sequence[int],
    fixed_columns: int = 0,
) -> list[tuple[Tokens, Completion]]:
    """Two completions of each prompt, beside it."""
    groups = generate(
        model,
        model.device,
        prompts,
        2,
        sampling,
        range(len(prompts)),
        stop_tokens=stop_tokens,
        batching=batching,
        token_budget=1 << 20,
        decode_batch=len(prompts) * 2,
        fixed_columns=fixed_columns,
    )
    return [(prompt, completion) for prompt, group in zip(prompts, groups, strict=True) for completion in group]


@torch.no_grad()
def _head_agrees(model: Any, prompt: Tokens) -> bool:
    """Whether decoder and head, one after the other, make the model's own logits."""
    try:
        head = find_head(model)
        if head is None:
            return False
        with last_states(head) as found:
            whole_LV = model(input_ids=torch.tensor([prompt], device=model.device)).logits[0].float()
        parts_LV = head.logits(found[0][0]).float()
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # An architecture whose parts do not fit together says so in an error of its own.
        return False
    if parts_LV.shape != whole_LV.shape:
        return False
    off = float((parts_LV.log_softmax(-1) - whole_LV.log_softmax(-1)).abs().mean())
    return off <= _MOST_OFF[model.dtype]


def _plain(model: Any, sequence: TokenSequence) -> FloatArray:
    """Log-probabilities of the completion by one pass over the whole sequence, without mask, cache or positions."""
    tokens = torch.tensor([[*sequence.prompt, *sequence.completion]], device=model.device)
    logits = model(input_ids=tokens).logits[:, len(sequence.prompt) - 1 : -1].float()
    logprobs: FloatArray = token_logprobs(logits, tokens[:, len(sequence.prompt) :])[0].cpu().numpy()
    return logprobs


def _mean(a: FloatArray, b: FloatArray) -> float:
    off = float(np.abs(a - b).mean())
    return off if np.isfinite(off) else float("inf")
