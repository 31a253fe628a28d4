"""Losses of a pass over a layout, some tokens at a time.

Every loss is a sum over tokens, so its gradient by the last hidden states can be taken chunk by chunk, and then be
handed back through the model at once. The logits of one chunk, and what a loss keeps of them, are all that is there at
a time. Nothing is computed twice.

Axes: `N` the tokens that are read, row by row; `M` tokens of samples of one kind, in the order of N, in which a token
of N may stand several times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from rltf.engines.losses import TokenBatch, entropy, token_loss
from rltf.engines.packing import Layout
from rltf.engines.torch.forward import BoolArray, Pass, to_device
from rltf.types import FloatArray, IntArray, LossName, TrainingSample

Placed: TypeAlias = tuple[int, TrainingSample]
"""A sample and its row in a layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The tokens of samples that go through their loss together."""

    loss: LossName
    clip: tuple[float, float]
    component: str
    entropy_weight: float
    place_M: IntArray
    """Which of the N tokens."""
    weights_M: FloatArray
    old_logprobs_M: FloatArray | None
    sampling_logprobs_M: FloatArray | None
    target_tokens_MK: IntArray | None
    target_logprobs_MK: FloatArray | None

    @property
    def reads_entropy(self) -> bool:
        """Whether the entropy is wanted, for the bonus or as a figure."""
        return bool(self.entropy_weight) or self.sampling_logprobs_M is not None


def is_read(sample: TrainingSample) -> BoolArray:
    """Which tokens of a sample's completion a loss or a figure reads, shape `[T]`; a sample without any is left out.

    Figures of what the policy wrote are taken from samples that train.
    """
    weighty_T: BoolArray = sample.weights != 0
    if sample.entropy_weight or (sample.sampling_logprobs is not None and weighty_T.any()):
        return np.ones_like(weighty_T)
    return weighty_T


def tokens_to_read(layout: Layout, rows: Sequence[Placed]) -> tuple[BoolArray, list[Kind]]:
    """Which tokens of a layout's completions are read, shape `[B, T]`, and by what."""
    columns = layout.completion_columns
    kinds: dict[tuple[Any, ...], list[tuple[IntArray, BoolArray, TrainingSample]]] = {}
    read = np.zeros(len(layout.members) * columns, dtype=np.bool_)
    for row, sample in rows:
        read_T = is_read(sample)
        position_M = (row + 1) * columns - len(read_T) + np.flatnonzero(read_T)
        read[position_M] = True
        kinds.setdefault(_kind(sample), []).append((position_M, read_T, sample))
    place = np.cumsum(read) - 1
    return read.reshape(-1, columns), [_joined(place, kinds[kind]) for kind in sorted(kinds)]


def _kind(sample: TrainingSample) -> tuple[Any, ...]:
    names = 0 if sample.targets is None else sample.targets.tokens_TK.shape[1]
    sampled = sample.sampling_logprobs is not None
    return (sample.loss, sample.clip, sample.component, names, sampled, sample.entropy_weight)


def _joined(place: IntArray, parts: Sequence[tuple[IntArray, BoolArray, TrainingSample]]) -> Kind:
    """Samples of one kind, which agree in what they carry."""
    position_M = np.concatenate([position_M for position_M, _, _ in parts])
    order = np.argsort(position_M, kind="stable")
    first = parts[0][2]

    def joined(of: Any) -> Any:
        if of(first) is None:
            return None
        return np.concatenate([of(sample)[read_T] for _, read_T, sample in parts])[order]

    return Kind(
        loss=first.loss,
        clip=first.clip,
        component=first.component,
        entropy_weight=first.entropy_weight,
        place_M=place[position_M[order]],
        weights_M=joined(lambda s: s.weights),
        old_logprobs_M=joined(lambda s: s.old_logprobs),
        sampling_logprobs_M=joined(lambda s: s.sampling_logprobs),
        target_tokens_MK=joined(lambda s: s.targets and s.targets.tokens_TK),
        target_logprobs_MK=joined(lambda s: s.targets and s.targets.logprobs_TK),
    )


class Figures:
    """Sums whose terms stay on their device until the sums are asked for: to look at one is to wait for the device."""

    def __init__(self) -> None:
        self.sampled = 0
        """Tokens that the policy wrote itself, over which `policy/...` are summed."""
        self._terms: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, name: str, term: Tensor) -> None:
        """One more term, a scalar."""
        self._terms[name].append(term.detach())

    def sums(self) -> dict[str, float]:
        """By name."""
        return {name: sum(torch.stack(terms).tolist()) for name, terms in self._terms.items()}


def backward(found: Pass, kinds: Sequence[Kind], normalizer: float, chunk: int, figures: Figures) -> None:
    """Adds the gradient of the kinds' summed loss divided by `normalizer`, and what a run wants to know to `figures`.

    Args:
        found: the pass, with its graph, which is used up.
        kinds: what reads its tokens.
        normalizer: the number of rollouts.
        chunk: for how many tokens logits are made at a time.
        figures: sums over tokens: `loss/c` per component c; over tokens sampled `policy/entropy` and
            `policy/sampler_gap`.
    """
    states_NH = found.states_NH
    gradients: list[Tensor] = []
    for start in range(0, len(states_NH), chunk):
        leaf_CH = states_NH[start : start + chunk].detach().requires_grad_(states_NH.requires_grad)
        logits_CV = found.logits(leaf_CH)
        loss = _chunk_loss(logits_CV, found.token_N[start : start + chunk], start, kinds, figures)
        if loss.requires_grad:
            (loss / normalizer).backward()
        del logits_CV, loss
        gradients.append(torch.zeros_like(leaf_CH) if leaf_CH.grad is None else leaf_CH.grad)
    if states_NH.requires_grad:
        states_NH.backward(torch.cat(gradients))


def _chunk_loss(logits_CV: Tensor, token_C: Tensor, start: int, kinds: Sequence[Kind], figures: Figures) -> Tensor:
    """The summed loss of the tokens from `start` on. Axis C: the chunk's tokens."""
    device = logits_CV.device
    normaliser_C = torch.logsumexp(logits_CV, dim=-1)
    logprobs_C = logits_CV.gather(-1, token_C.unsqueeze(-1)).squeeze(-1) - normaliser_C
    entropy_C = _entropy(logits_CV, kinds)
    loss = logprobs_C.new_zeros(())
    for kind in kinds:
        first, end = np.searchsorted(kind.place_M, (start, start + len(token_C)))
        if first == end:
            continue

        def part(values: Any, first: int = first, end: int = end) -> Any:
            return None if values is None else to_device(values[first:end], device)

        place_M, target_tokens_MK = part(kind.place_M) - start, part(kind.target_tokens_MK)
        logprobs_M = logprobs_C.index_select(0, place_M)
        policy_MK = None
        if target_tokens_MK is not None:
            policy_MK = logits_CV[place_M.unsqueeze(-1), target_tokens_MK] - normaliser_C[place_M].unsqueeze(-1)
        batch = TokenBatch(
            logprobs_BT=logprobs_M,
            weights_BT=part(kind.weights_M),
            old_logprobs_BT=part(kind.old_logprobs_M),
            clip=kind.clip,
            target_logprobs_BTK=part(kind.target_logprobs_MK),
            policy_logprobs_BTK=policy_MK,
        )
        summed = token_loss(kind.loss, batch).sum()
        figures.add(f"loss/{kind.component}", summed)
        loss = loss + summed
        if entropy_C is not None and kind.reads_entropy:
            entropy_M = entropy_C.index_select(0, place_M)
            loss = loss - (entropy_M * kind.entropy_weight).sum()
            sampled_M = part(kind.sampling_logprobs_M)
            if sampled_M is not None:
                figures.sampled += len(sampled_M)
                figures.add("policy/entropy", entropy_M.sum())
                figures.add("policy/sampler_gap", (logprobs_M - sampled_M).abs().sum())
    return loss


def _entropy(logits_CV: Tensor, kinds: Sequence[Kind]) -> Tensor | None:
    """Of each token's distribution, with a gradient where a bonus wants it; None where nothing reads it."""
    if not any(kind.reads_entropy for kind in kinds):
        return None
    with torch.set_grad_enabled(torch.is_grad_enabled() and any(kind.entropy_weight for kind in kinds)):
        return entropy(logits_CV)
