"""Decoding with tensors of fixed shape, which a CUDA graph can record: one launch a token in place of a thousand.

On a GPU a token of a small batch takes less time to compute than the processor takes to launch its kernels one by one.
A graph replays them all at once, on the same memory: so keys and values lie in buffers of fixed width, a mask says
which of their columns count, and what changes from token to token (column, position, step) are tensors that the
recorded step itself moves on. The host looks at what has stopped every few tokens.

Without a GPU the same steps run unrecorded, which is how tests compare them with the plain decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from rltf.engines.packing import Layout
from rltf.engines.torch.attention import fast_attention
from rltf.engines.torch.caches import find_cache, is_plain
from rltf.engines.torch.draws import Draws
from rltf.engines.torch.forward import run, to_device
from rltf.engines.torch.room import is_out_of_memory

RECORDED_ON = ("cuda",)
"""Kinds of device on which an engine decodes like this."""
_BLOCK = 256
"""Tokens to come that a buffer has room for: where it is full, a wider one is made and recorded anew."""
_ALIGNED = 64
"""Buffers are a multiple of this wide: fast attention kernels want an aligned mask."""
_LOOK_EVERY = 16
"""Tokens from one look at what has stopped to the next. A look waits for the device."""
_DROP_BELOW = 0.5
"""Finished rows are dropped between blocks once the live ones are fewer than this share: the step is recorded anew."""
_WORTH_RECORDING = 4
"""Fewer steps than this take less time than to record one."""


class CannotRecord(Exception):
    """The model does something that a CUDA graph cannot record."""


def fits(prefilled: Any, columns: int, most: int) -> bool:
    """Whether a prefilled model can go on like this: plain keys and values, at most `most` columns in the end."""
    return columns <= most and is_plain(find_cache(prefilled)[1])


class FixedLayer(DynamicLayer):
    """A cache layer of fixed width, which writes where a tensor says and gives back all columns, used or not."""

    def __init__(self, layer: DynamicLayer, used: int, rows: Tensor, columns: int, column_1: Tensor) -> None:
        """Takes the given rows of another layer, and its first `used` columns. Others are 0: what is masked is
        multiplied by 0, which not every number survives."""
        super().__init__()
        assert layer.keys is not None and layer.values is not None
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values = (_widened(s, used, rows, columns) for s in (layer.keys, layer.values))
        self._used, self._column_1 = used, column_1

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes one column."""
        assert self.keys is not None and self.values is not None
        self.keys.index_copy_(2, self._column_1, key_states)
        self.values.index_copy_(2, self._column_1, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """As many as at the first step: a recording holds a number fast, so a model that needs this one goes wrong
        without a recording too, and is found out."""
        return self._used


def _widened(states: Tensor, used: int, rows: Tensor, columns: int) -> Tensor:
    wide = states.new_zeros((len(rows), states.shape[1], columns, states.shape[3]))
    wide[:, :, :used] = states[:, :, :used].index_select(0, rows)
    return wide


class FixedDecoder:
    """Goes on from a prefilled layout. Axis R: its rows times n; A: those not yet dropped; C: the buffers' columns."""

    def __init__(self, model: Any, layout: Layout, prefilled: Any, n: int, draws: Draws) -> None:
        device = draws.device
        self._model, self._draws, self._device = model, draws, device
        self._name, self._cache = find_cache(prefilled)
        mask_BL = to_device(layout.mask_B, device)
        self._source_R = torch.arange(len(mask_BL), device=device).repeat_interleave(n)
        """The prefilled row of each row."""
        self._mask_RC = mask_BL.bool()[self._source_R]
        self._position_R = mask_BL.sum(dim=1)[self._source_R]
        self._logits_RV = prefilled.logits[:, -1][self._source_R]
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None

    def run(self) -> None:
        """Decodes until every row has stopped or the limit is reached."""
        draws, steps = self._draws, self._draws.max_tokens
        row_A = torch.arange(draws.rows, device=self._device)
        draws.draw(self._logits_RV, row_A, 0)
        del self._logits_RV
        place_A = self._source_R  # In the cache as it is.
        step = 1
        while step < steps:
            keep = draws.live(row_A).nonzero().squeeze(-1)
            if not len(keep):
                break
            row_A, place_A = row_A[keep], place_A[keep]
            with fast_attention(True):
                step = self._block(row_A, place_A, step)
            place_A = torch.arange(len(row_A), device=self._device)

    def _block(self, row_A: Tensor, place_A: Tensor, first: int) -> int:
        """Steps from `first` on with buffers of one shape; returns the step to go on with."""
        steps, prompt = self._draws.max_tokens, self._mask_RC.shape[1]
        used = prompt + first - 1
        columns = -(-(used + min(_BLOCK, steps - first)) // _ALIGNED) * _ALIGNED
        step_1 = torch.tensor([first], device=self._device)
        column_1 = torch.tensor([used], device=self._device)
        layers: list[Any] = self._cache.layers
        for i, layer in enumerate(layers):  # One after the other, so that only one is there twice.
            layers[i] = FixedLayer(layer, used, place_A, columns, column_1)
        dtype = layers[0].keys.dtype
        mask_AC = torch.full((len(row_A), columns), torch.finfo(dtype).min, dtype=dtype, device=self._device)
        mask_AC[:, :prompt].masked_fill_(self._mask_RC[row_A], 0.0)
        mask_AC[:, prompt:used] = 0.0
        token_A1 = self._draws.newest(row_A, first - 1).unsqueeze(-1)
        position_A1 = (self._position_R[row_A] + first - 1).unsqueeze(-1)

        def advance() -> None:
            mask_AC.index_fill_(1, column_1, 0.0)
            output = run(
                self._model,
                keep=1,
                input_ids=token_A1,
                attention_mask=mask_AC[:, None, None, :],
                position_ids=position_A1,
                **{self._name: self._cache},
                use_cache=True,
            )
            token_A1.copy_(self._draws.draw(output.logits[:, -1], row_A, step_1).unsqueeze(-1))
            for counter in (step_1, column_1, position_A1):
                counter.add_(1)

        end = min(steps, first + columns - used)
        repeat = _Repeated(advance, self._side if end - first >= _WORTH_RECORDING else None)
        step = first
        while step < end:
            until = min(end, step + _LOOK_EVERY)
            for _ in range(step, until):
                repeat()
            step = until
            live = int(self._draws.live(row_A).sum())
            if live == 0 or live < _DROP_BELOW * len(row_A):
                break
        return step


class _Repeated:
    """A piece of work that is done again and again: at first as it is, then recorded on a stream and replayed."""

    def __init__(self, work: Callable[[], None], stream: torch.cuda.Stream | None) -> None:
        """Without a stream nothing is recorded."""
        self._work, self._stream = work, stream
        self._warm = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self._stream is None:
            self._work()
        elif not self._warm:
            # Libraries set themselves up at the first call on a stream, which cannot be recorded.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._work()
            torch.cuda.current_stream().wait_stream(self._stream)
            self._warm = True
        else:
            if self._graph is None:
                self._graph = self._recorded(self._stream)
            self._graph.replay()

    def _recorded(self, stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._work()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            # The first error names the cause; those that follow say that the recording is no longer valid.
            cause = error.__context__ if error.__context__ is not None else error
            raise CannotRecord((str(cause).strip() or type(cause).__name__).splitlines()[0]) from error
        return graph
