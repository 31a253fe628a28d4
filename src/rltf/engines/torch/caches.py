"""Key-value caches: copies of shared prefixes for the rows that read them, and room for tokens to come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DummyLayer, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

STATES = "cache_params"
"""By this name a model that has states alone, and no keys and values, gives its cache and takes it back."""
_ROOM = 64
"""Columns by which a layer grows: a growth copies the layer, room that is not used is memory for nothing."""


def prefix_cache() -> DynamicCache:
    """An empty cache whose layers keep every column, whatever window the model looks through.

    The model's mask hides what lies outside the window; a layer that forgot those columns could not serve rows which
    end earlier in the same prefix.
    """
    return DynamicCache()


class _Kept(DynamicLayer):
    """Keeps the first states it is given. Later ones are those of a layer that is computed again for its gradient."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
        return key_states, value_states


class _Read(DynamicLayer):
    """Prefixes that suffix rows read from, copied when they are read: copies for one layer at a time. It does not
    grow, so that a layer can be computed again."""

    def __init__(self, kept: DynamicLayer, cluster_B: Tensor, length_B: Tensor) -> None:
        super().__init__()
        assert kept.keys is not None and kept.values is not None
        self.lazy_initialization(kept.keys, kept.values)
        self.keys, self.values = kept.keys, kept.values
        self._cluster_B, self._length_B = cluster_B, length_B

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys = _spread(self.keys, self._cluster_B, self._length_B)
        values = _spread(self.values, self._cluster_B, self._length_B)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


def kept_prefixes() -> Cache:
    """Like `prefix_cache`, for prefixes that `read_prefixes` gives to rows which are not gone on from."""
    return Cache(layer_class_to_replicate=_Kept)


def read_prefixes(kept: Cache, cluster_B: Tensor, length_B: Tensor) -> Cache:
    """A cache from which each suffix row reads its prefix row, as after `spread_prefixes`.

    It is another than that of the prefixes, whose layers may yet be computed again.
    """
    layers = [_Read(layer, cluster_B, length_B) for layer in kept.layers if isinstance(layer, _Kept)]
    assert len(layers) == len(kept.layers)
    return Cache(layers=layers)


def refuse_states(config: Any) -> None:
    """Raises `NotImplementedError` for a model with layers whose memory of a prefix cannot be cut where a row ends."""
    for layer in DynamicCache(config=config).layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer, DummyLayer):
            raise NotImplementedError("its layers remember other things than keys and values")


def spread_prefixes(cache: DynamicCache, cluster_B: Tensor, length_B: Tensor) -> None:
    """Copies the prefix row of each suffix row, differentiably, and moves it to end at the right edge.

    Args:
        cache: holds prefix rows of P columns, padded on the right.
        cluster_B: the prefix row of each suffix row.
        length_B: how many of its first columns each suffix row reads. What stands to their left afterwards is to be
            masked.
    """
    for layer in cache.layers:
        if type(layer) is not DynamicLayer:
            raise NotImplementedError(f"layers of the kind {type(layer).__name__} cannot be shared")
        layer.keys = _spread(layer.keys, cluster_B, length_B)
        layer.values = _spread(layer.values, cluster_B, length_B)


def _spread(states: Tensor | None, cluster_B: Tensor, length_B: Tensor) -> Tensor:
    """Shape `[C, heads, P, size]` to `[B, heads, P, size]`."""
    assert states is not None
    columns = states.shape[-2]
    if bool((length_B == columns).all()):
        return states.index_select(0, cluster_B)
    column_BP = torch.arange(columns, device=states.device) + (length_B - columns).unsqueeze(-1)
    return states.transpose(1, 2)[cluster_B.unsqueeze(-1), column_BP.clamp(min=0)].transpose(1, 2)


def find_cache(output: Any) -> tuple[str, Cache]:
    """What a model's output goes on from, and the name by which the model takes it back."""
    for name in ("past_key_values", STATES):
        if isinstance(found := getattr(output, name, None), Cache):
            return name, found
    raise NotImplementedError("it gives no cache that sampling could go on from")


def take_rows(cache: Cache, rows: Tensor) -> None:
    """Keeps the given rows of a cache, in their order; a row may be named several times."""
    if type(cache).batch_select_indices is not Cache.batch_select_indices:
        cache.batch_select_indices(rows)  # A kind with states of its own, which it alone knows to select.
    else:
        cache.reorder_cache(rows)  # Unlike the other, it is there for every kind of layer.


def is_plain(cache: Cache) -> bool:
    """Whether all that a cache holds are the keys and values of every column."""
    if type(cache).batch_select_indices is not Cache.batch_select_indices:
        return False  # A kind with states of its own.
    return all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers)


def reserve(cache: Cache, tokens: int) -> None:
    """Lets the plain layers of a cache grow by blocks, up to `tokens` wide, so that a new token copies only itself."""
    room = min(tokens, _ROOM)
    cache.layers = [
        GrowingLayer(layer, room) if type(layer) is DynamicLayer and layer.is_initialized else layer
        for layer in cache.layers
    ]


class GrowingLayer(DynamicLayer):
    """A cache layer with some room for the tokens to come."""

    def __init__(self, layer: DynamicLayer, room: int) -> None:
        super().__init__()
        assert layer.keys is not None and layer.values is not None
        self.lazy_initialization(layer.keys, layer.values)
        self._room = room
        self._adopt(layer.keys, layer.values)

    def _adopt(self, keys: Tensor, values: Tensor) -> None:
        self._length = keys.shape[-2]
        self._keys, self._values = _with_room(keys, self._room), _with_room(values, self._room)
        self._narrow()

    def _narrow(self) -> None:
        self.keys = self._keys[..., : self._length, :]
        self.values = self._values[..., : self._length, :]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes the new columns into the room, of which it makes more where there is none."""
        if self._length + key_states.shape[-2] > self._keys.shape[-2]:
            self._adopt(self.keys, self.values)
        end = self._length + key_states.shape[-2]
        self._keys[..., self._length : end, :] = key_states
        self._values[..., self._length : end, :] = value_states
        self._length = end
        self._narrow()
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keeps the given rows."""
        self._adopt(self.keys[beam_idx], self.values[beam_idx])

    def batch_select_indices(self, indices: Tensor) -> None:
        """The same, by its other name."""
        self.reorder_cache(indices)


def _with_room(states: Tensor, room: int) -> Tensor:
    """A copy with more columns, whose content is arbitrary."""
    roomy = states.new_empty((*states.shape[:-2], states.shape[-2] + room, states.shape[-1]))
    roomy[..., : states.shape[-2], :] = states
    return roomy
