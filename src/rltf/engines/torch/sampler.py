"""Samples completions: a prompt is prefilled once for its group, finished sequences leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltf.engines.packing import Layout, TokenSequence
from rltf.engines.torch import fixed
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.caches import STATES, find_cache, reserve, take_rows
from rltf.engines.torch.draws import Draws
from rltf.engines.torch.forward import forward, run, to_device
from rltf.support.seeds import derive_seed
from rltf.types import Completion, FloatArray, SamplingParams, Tokens

_DROP_BELOW = 0.75
"""Finished rows are dropped once the live ones are fewer than this share of the batch: a drop copies the cache."""
_LOOK_EVERY = {"cpu": 1}
"""Tokens from one look at what has stopped to the next; by default 16. To look at another device is to wait for it."""


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
    fixed_columns: int = 0,
) -> list[list[Completion]]:
    """`n` completions per prompt; see `engines.base.Engine.generate`.

    Completion k of a prompt reads only its own uniform numbers, so neither the batching nor the moment at which a
    neighbour finishes decides what it draws. Sequences of at most `fixed_columns`, padding and room for `max_tokens`
    counted, are decoded with tensors of fixed shape where the model's cache allows it, with the same draws.
    """
    uniforms = np.stack([_uniforms(seed, n, sampling.max_tokens) for seed in seeds])
    sequences = [TokenSequence(prompt=prompt) for prompt in prompts]
    results: list[list[Completion]] = [[] for _ in prompts]
    for layout in batching.layouts(sequences, token_budget, max_rows=max(1, decode_batch // n)):
        for first in range(0, n, decode_batch):  # Once, unless one prompt alone has more samples than that.
            part = uniforms[list(layout.members), first : first + decode_batch]
            output = forward(model, layout, device, keep=1, with_cache=True)
            uniform_RT = torch.from_numpy(part.reshape(-1, sampling.max_tokens)).to(device)
            draws = Draws(uniform_RT, sampling, stop_tokens, output.logits.shape[-1])
            size, columns = part.shape[1], layout.mask_B.shape[1] + sampling.max_tokens
            decoder = fixed.FixedDecoder if fixed.fits(output, columns, fixed_columns) else _Decoder
            decoder(model, layout, output, size, draws).run()
            completions = draws.completions()
            for row, member in enumerate(layout.members):
                results[member] += completions[row * size : (row + 1) * size]
    return results


def _uniforms(seed: int, n: int, columns: int) -> FloatArray:
    """What `n` samples of one prompt draw from, shape `[n, columns]`. More samples change no earlier one."""
    generators = (np.random.default_rng(derive_seed(seed, "sample", k)) for k in range(n))
    return np.stack([generator.random(columns, dtype=np.float32) for generator in generators])


class _Decoder:
    """Goes on from a prefilled layout, one token per pass. Axis R: its rows times n; A: those still live."""

    def __init__(self, model: Any, layout: Layout, prefilled: Any, n: int, draws: Draws) -> None:
        device = draws.device
        self._model, self._draws = model, draws
        self._logits_AV = prefilled.logits[:, -1].repeat_interleave(n, dim=0)
        mask_BL = to_device(layout.mask_B, device)
        self._cache_name, self._cache = find_cache(prefilled)
        if n > 1:
            take_rows(self._cache, torch.arange(len(mask_BL), device=device).repeat_interleave(n))
        reserve(self._cache, draws.max_tokens)
        self._position_A = mask_BL.sum(dim=1).repeat_interleave(n)
        room = torch.ones((len(mask_BL), draws.max_tokens), dtype=mask_BL.dtype, device=device)
        self._columns = mask_BL.shape[1]
        self._mask_AL = torch.cat([mask_BL, room], dim=1).repeat_interleave(n, dim=0)
        self._row_A = torch.arange(draws.rows, device=device)
        self._look_every = _LOOK_EVERY.get(device.type, 16)

    def run(self) -> None:
        """Decodes until every row has stopped or the limit is reached."""
        for step in range(self._draws.max_tokens):
            token_A = self._draws.draw(self._logits_AV, self._row_A, step)
            if (step + 1) % self._look_every == 0:
                self._drop_finished()
            if not len(self._row_A) or step + 1 == self._draws.max_tokens:
                break
            self._advance(token_A if len(token_A) == len(self._row_A) else self._draws.newest(self._row_A, step), step)

    def _drop_finished(self) -> None:
        live_A = self._draws.live(self._row_A)
        live = int(live_A.sum())
        if live == 0:
            self._row_A = self._row_A[:0]
        elif live < _DROP_BELOW * len(self._row_A):
            keep = live_A.nonzero().squeeze(-1)
            self._row_A = self._row_A[keep]
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
