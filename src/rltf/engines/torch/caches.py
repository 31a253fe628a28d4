"""Key-value caches: copies of shared prefixes for the rows that read them, and room for tokens to come."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from rltf.types import IntArray

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


class Reads:
    """What each suffix row reads of the prefixes, for all layers alike: the first columns of a prefix row, moved to end
    at the right edge. What stands to their left afterwards is to be masked."""

    def __init__(self, cluster_B: IntArray, length_B: IntArray, columns: int, device: torch.device) -> None:
        """`cluster_B`: the prefix row of each suffix row; `length_B`: how many of its `columns` that reads.

        What is found here once, of arrays on the host, no layer has to wait for a device for.
        """
        self.rows = len(cluster_B)
        self._whole = bool((length_B == columns).all())
        place = cluster_B
        if not self._whole:
            column_BP = np.arange(columns) + (length_B - columns)[:, None]
            place = (cluster_B[:, None] * columns + column_BP.clip(min=0)).reshape(-1)
        self._place = torch.from_numpy(place).to(device)

    def of(self, states: Tensor | None) -> Tensor:
        """Shape `[C, heads, P, size]` to `[B, heads, P, size]`, differentiably."""
        assert states is not None
        prefixes, heads, columns, size = states.shape
        if self._whole:
            if prefixes == 1:
                return states.expand(self.rows, -1, -1, -1)
            return states.index_select(0, self._place)
        columns_NHS = states.transpose(1, 2).reshape(prefixes * columns, heads, size)
        return columns_NHS.index_select(0, self._place).view(self.rows, columns, heads, size).transpose(1, 2)


class _Read(DynamicLayer):
    """Prefixes that suffix rows read from, copied when they are read: copies for one layer at a time. It does not
    grow, so that a layer can be computed again."""

    def __init__(self, kept: DynamicLayer, reads: Reads) -> None:
        super().__init__()
        assert kept.keys is not None and kept.values is not None
        self.lazy_initialization(kept.keys, kept.values)
        self.keys, self.values = kept.keys, kept.values
        self._reads = reads

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = self._reads.of(self.keys), self._reads.of(self.values)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


def kept_prefixes() -> Cache:
    """Like `prefix_cache`, for prefixes that `read_prefixes` gives to rows which are not gone on from."""
    return Cache(layer_class_to_replicate=_Kept)


def read_prefixes(kept: Cache, reads: Reads) -> Cache:
    """A cache from which each suffix row reads its prefix row, as after `spread_prefixes`.

    It is another than that of the prefixes, whose layers may yet be computed again.
    """
    layers = [_Read(layer, reads) for layer in kept.layers if isinstance(layer, _Kept)]
    assert len(layers) == len(kept.layers)
    return Cache(layers=layers)


_OF_KEYS_AND_VALUES = {"DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"}
"""By name: transformers before 5.23 has no `DummyLayer`."""


def refuse_states(config: Any) -> None:
    """Raises `NotImplementedError` for a model with layers whose memory of a prefix cannot be cut where a row ends."""
    for layer in DynamicCache(config=config).layers:
        if type(layer).__name__ not in _OF_KEYS_AND_VALUES:
            raise NotImplementedError("its layers remember other things than keys and values")


def spread_prefixes(cache: DynamicCache, reads: Reads) -> None:
    """Gives each suffix row what it reads of its prefix row, to go on from."""
    for layer in cache.layers:
        if type(layer) is not DynamicLayer:
            raise NotImplementedError(f"layers of the kind {type(layer).__name__} cannot be shared")
        layer.keys, layer.values = reads.of(layer.keys), reads.of(layer.values)


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
    for place, layer in enumerate(cache.layers):  # One after the other: the whole is never there twice.
        if type(layer) is DynamicLayer and layer.is_initialized:
            cache.layers[place] = GrowingLayer(layer, room)


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
