"""Samples completions: a prompt is prefilled once for its group, finished sequences leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltf.engines.packing import Layout, TokenSequence
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.caches import STATES, find_cache, reserve, take_rows
from rltf.engines.torch.forward import forward, run, to_device
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.types import Completion, Finish, FloatArray, SamplingParams, Tokens

_DROP_BELOW = 0.75
"""Finished rows are dropped once the live ones are fewer than this share of the batch: a drop copies the cache."""


@torch.inference_mode()
def generate(
    model: Any,
    device: torch.device,
    prompts: Sequence[Tokens],
    n: int,
    sampling: SamplingParams,
    seeds: Sequence[int],
    *,
    stop_tokens: Sequence[int],
    batching: Batching,
    token_budget: int,
    decode_batch: int,
) -> list[list[Completion]]:
    """`n` completions per prompt; see `engines.base.Engine.generate`.

    Completion k of a prompt reads only its own uniform numbers, so neither the batching nor the moment at which a
    neighbour finishes decides what it draws.
    """
    uniforms = np.stack([_uniforms(seed, n, sampling.max_tokens) for seed in seeds])
    sequences = [TokenSequence(prompt=prompt) for prompt in prompts]
    stops = torch.tensor(list(stop_tokens), device=device)
    results: list[list[Completion]] = [[] for _ in prompts]
    for layout in batching.layouts(sequences, token_budget, max_rows=max(1, decode_batch // n)):
        for first in range(0, n, decode_batch):  # Once, unless one prompt alone has more samples than that.
            part = uniforms[list(layout.members), first : first + decode_batch]
            output = forward(model, layout, device, keep=1, with_cache=True)
            draws = torch.from_numpy(part.reshape(-1, sampling.max_tokens)).to(device)
            size = part.shape[1]
            completions = _Decoder(model, layout, output, size, draws, sampling, stops).run()
            for row, member in enumerate(layout.members):
                results[member] += completions[row * size : (row + 1) * size]
    return results


def _uniforms(seed: int, n: int, columns: int) -> FloatArray:
    """What `n` samples of one prompt draw from, shape `[n, columns]`. More samples change no earlier one."""
    generators = (np.random.default_rng(derive_seed(seed, "sample", k)) for k in range(n))
    return np.stack([generator.random(columns, dtype=np.float32) for generator in generators])


class _Decoder:
    """Goes on from a prefilled layout, one token per pass. Axis R: its rows times n; A: those still live."""

    def __init__(
        self,
        model: Any,
        layout: Layout,
        prefilled: Any,
        n: int,
        uniform_RT: Tensor,
        sampling: SamplingParams,
        stops: Tensor,
    ) -> None:
        device = uniform_RT.device
        self._model, self._stops, self._sampling = model, stops, sampling
        self._uniform_RT = uniform_RT
        self._logits_AV = prefilled.logits[:, -1].repeat_interleave(n, dim=0)
        mask_BL = to_device(layout.mask_B, device)
        self._cache_name, self._cache = find_cache(prefilled)
        if n > 1:
            take_rows(self._cache, torch.arange(len(mask_BL), device=device).repeat_interleave(n))
        reserve(self._cache, sampling.max_tokens)
        self._position_A = mask_BL.sum(dim=1).repeat_interleave(n)
        room = torch.ones((len(mask_BL), sampling.max_tokens), dtype=mask_BL.dtype, device=device)
        self._columns = mask_BL.shape[1]
        self._mask_AL = torch.cat([mask_BL, room], dim=1).repeat_interleave(n, dim=0)
        rows = len(self._mask_AL)
        self._row_A = torch.arange(rows, device=device)
        self._live_A = torch.ones(rows, dtype=torch.bool, device=device)
        self._token_RT = torch.zeros((rows, sampling.max_tokens), dtype=torch.long, device=device)
        self._logprob_RT = torch.zeros((rows, sampling.max_tokens), device=device)
        self._length_R = torch.full((rows,), sampling.max_tokens, device=device)
        self._stopped_R = torch.zeros(rows, dtype=torch.bool, device=device)

    def run(self) -> list[Completion]:
        """Decodes until every row has stopped or the limit is reached."""
        for step in range(self._sampling.max_tokens):
            token_A = self._sample(step)
            self._drop_finished()
            if not len(self._row_A) or step + 1 == self._sampling.max_tokens:
                break
            self._advance(token_A if len(token_A) == len(self._row_A) else self._token_RT[self._row_A, step], step)
        tokens, logprobs = self._token_RT.tolist(), self._logprob_RT.cpu().numpy()
        if not np.isfinite(logprobs).all():
            raise UserError(
                "the policy's log-probabilities are not finite: its weights have gone astray (lower "
                "trainer.learning_rate), or rollout.temperature is too small"
            )
        return [
            Completion(
                tokens=tuple(tokens[row][:length]),
                logprobs=logprobs[row, :length].copy(),
                finish=Finish.STOP if stopped else Finish.LENGTH,
            )
            for row, (length, stopped) in enumerate(zip(self._length_R.tolist(), self._stopped_R.tolist(), strict=True))
        ]

    def _sample(self, step: int) -> Tensor:
        logits_AV = self._logits_AV.float()
        temperature = self._sampling.temperature
        if temperature not in (0.0, 1.0):
            logits_AV = logits_AV / temperature
        logprobs_AV = torch.log_softmax(logits_AV, dim=-1)
        if temperature == 0.0:
            token_A: Tensor = logits_AV.argmax(dim=-1)
        else:
            token_A = _inverse_cdf(logprobs_AV, self._uniform_RT[self._row_A, step])
        self._token_RT[self._row_A, step] = token_A
        self._logprob_RT[self._row_A, step] = logprobs_AV.gather(-1, token_A.unsqueeze(-1)).squeeze(-1)
        ends_A = torch.isin(token_A, self._stops) & self._live_A
        ended = self._row_A[ends_A]
        self._length_R[ended] = step + 1
        self._stopped_R[ended] = True
        self._live_A = self._live_A & ~ends_A
        return token_A

    def _drop_finished(self) -> None:
        live = int(self._live_A.sum())
        if live == 0:
            self._row_A = self._row_A[:0]
        elif live < _DROP_BELOW * len(self._row_A):
            keep = self._live_A.nonzero().squeeze(-1)
            self._row_A, self._live_A = self._row_A[keep], self._live_A[keep]
            self._position_A, self._mask_AL = self._position_A[keep], self._mask_AL[keep]
            take_rows(self._cache, keep)

    def _advance(self, token_A: Tensor, step: int) -> None:
        self._logits_AV = run(
            self._model,
            keep=1,
            input_ids=token_A.unsqueeze(-1),
            # A state holds no padding any more: there is nothing to mask.
            attention_mask=None if self._cache_name == STATES else self._mask_AL[:, : self._columns + step + 1],
            position_ids=(self._position_A + step).unsqueeze(-1),
            **{self._cache_name: self._cache},
            use_cache=True,
        ).logits[:, -1]


def _inverse_cdf(logprobs_AV: Tensor, uniform_A: Tensor) -> Tensor:
    """The first token whose cumulative probability exceeds the uniform number; one with probability 0 never is."""
    cumulative_AV = logprobs_AV.exp().cumsum(dim=-1)
    threshold_A1 = (uniform_A * cumulative_AV[:, -1]).unsqueeze(-1)
    token_A: Tensor = (cumulative_AV <= threshold_A1).sum(dim=-1)
    if bool((token_A < logprobs_AV.shape[-1]).all()):
        return token_A
    # Rounding can lift the threshold to the total: the most likely token then stands in.
    return torch.where(token_A < logprobs_AV.shape[-1], token_A, logprobs_AV.argmax(dim=-1))
