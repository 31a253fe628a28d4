"""Sequences to padded arrays: prompts shared by several sequences once, micro-batches by token budget.

A batch is laid out as `[prefix, padded right | suffix, padded left]`. Each cluster of sequences that begin
alike has one row in the prefix arrays (axis C) and one row per sequence in the suffix arrays (axis B). The
suffix holds at least the last prompt token, so it predicts every completion token, and completions end at
the right edge, so that logits are needed for the last few columns alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rltf.types import IntArray, Tokens

_MOST_PADDING = 0.15
_SMALL = 1024
"""Layouts up to this many tokens may be padded at will: a pass over fewer costs no less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """A prompt with its completion (empty for a prompt that is to be continued)."""

    prompt: Tokens
    completion: Tokens = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Sequences that share their first `prefix_length` tokens."""

    prefix_length: int
    members: tuple[int, ...]
    """Indices of the sequences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The arrays of one forward pass. `P` prefix column, `L` suffix column."""

    members: tuple[int, ...]
    """Which sequence each suffix row is, shape `[B]`."""
    cluster_B: IntArray
    """The prefix row of each suffix row."""
    prefix_CP: IntArray
    prefix_mask_CP: IntArray
    suffix_BL: IntArray
    suffix_mask_BL: IntArray
    prefix_length_B: IntArray
    """Tokens of the prefix of each suffix row, padding not counted."""
    completion_columns: int
    """The longest completion: completions end at the right edge of the suffix."""

    @property
    def position_BL(self) -> IntArray:
        """Position of each suffix token in its own sequence; 0 on padding."""
        offsets_BL = np.cumsum(self.suffix_mask_BL, axis=1) - 1
        return np.where(self.suffix_mask_BL == 1, offsets_BL + self.prefix_length_B[:, None], 0)

    @property
    def mask_B(self) -> IntArray:
        """Attention mask over prefix and suffix columns, shape `[B, P + L]`."""
        return np.concatenate([self.prefix_mask_CP[self.cluster_B], self.suffix_mask_BL], axis=1)


def unique(sequences: Sequence[TokenSequence]) -> tuple[list[TokenSequence], list[list[int]]]:
    """The distinct sequences in order of appearance, and for each the indices at which it stands.

    Siblings often write the same answer, and a revision what a first attempt wrote: one pass serves them all.
    """
    places: dict[TokenSequence, list[int]] = {}
    for index, sequence in enumerate(sequences):
        places.setdefault(sequence, []).append(index)
    return list(places), list(places.values())


def share_prefixes(sequences: Sequence[TokenSequence]) -> list[Cluster]:
    """Groups sequences that begin alike, wherever that leaves fewer tokens to compute.

    Neighbours in sorted order are merged, those with the longest common prefix first, if the tokens saved
    grow: a cluster of m sequences with a prefix of p tokens saves `p (m - 1)`. The prefix never takes a
    prompt's last token.
    """
    order = sorted(range(len(sequences)), key=lambda i: sequences[i].prompt)
    prompts = [sequences[i].prompt for i in order]
    # Cluster c covers order[start[c]:end[c]]; a position knows the cluster it is in.
    cluster_of = list(range(len(order)))
    spans = {c: (c, c + 1) for c in cluster_of}
    prefix = {c: len(prompts[c]) - 1 for c in cluster_of}
    common = [_common_length(a, b, min(len(a), len(b)) - 1) for a, b in itertools.pairwise(prompts)]
    for boundary in sorted(range(len(common)), key=lambda i: (-common[i], i)):
        left, right = cluster_of[boundary], cluster_of[boundary + 1]
        (start, middle), (_, end) = spans[left], spans[right]
        merged = min(common[boundary], prefix[left], prefix[right])
        saved_apart = prefix[left] * (middle - start - 1) + prefix[right] * (end - middle - 1)
        if merged * (end - start - 1) <= saved_apart:
            continue
        spans[left], prefix[left] = (start, end), merged
        del spans[right], prefix[right]
        cluster_of[middle:end] = [left] * (end - middle)
    return [
        Cluster(prefix_length=prefix[c], members=tuple(order[start:end])) for c, (start, end) in sorted(spans.items())
    ]


def separate(sequences: Sequence[TokenSequence]) -> list[Cluster]:
    """Each sequence on its own, without a prefix."""
    return [Cluster(prefix_length=0, members=(i,)) for i in range(len(sequences))]


def micro_batches(
    sequences: Sequence[TokenSequence],
    clusters: Sequence[Cluster],
    token_budget: int,
    max_rows: int | None = None,
) -> list[Layout]:
    """Packs clusters into layouts of at most `token_budget` padded tokens and `max_rows` sequences.

    Sequences of similar length go together: a layout is closed early where one more cluster would leave
    more than `_MOST_PADDING` of it padding. One sequence that is too long alone still gets its layout.
    """
    lengths = [len(sequence.prompt) + len(sequence.completion) for sequence in sequences]
    row_limit = len(sequences) if max_rows is None else max_rows
    pieces = [piece for cluster in clusters for piece in _even_pieces(cluster, lengths, token_budget, row_limit)]
    pieces.sort(key=lambda piece: (lengths[piece.members[0]] - piece.prefix_length, piece.prefix_length))
    batches: list[list[Cluster]] = []
    width = prefix = rows = real = 0
    for piece in pieces:
        piece_width = lengths[piece.members[0]] - piece.prefix_length
        piece_real = sum(lengths[i] - piece.prefix_length for i in piece.members) + piece.prefix_length
        if batches:
            padded = (rows + len(piece.members)) * max(width, piece_width)
            padded += (len(batches[-1]) + 1) * max(prefix, piece.prefix_length)
            tight = padded <= _SMALL or (real + piece_real) >= (1 - _MOST_PADDING) * padded
            if padded <= token_budget and rows + len(piece.members) <= row_limit and tight:
                batches[-1].append(piece)
                width, prefix = max(width, piece_width), max(prefix, piece.prefix_length)
                rows, real = rows + len(piece.members), real + piece_real
                continue
        batches.append([piece])
        width, prefix, rows, real = piece_width, piece.prefix_length, len(piece.members), piece_real
    return [lay_out(sequences, batch) for batch in batches]


def _even_pieces(cluster: Cluster, lengths: Sequence[int], token_budget: int, row_limit: int) -> list[Cluster]:
    """Splits a cluster so that no piece is too large, nor pads more than a second copy of its prefix costs."""
    pieces: list[list[int]] = []
    padding = 0
    for i in sorted(cluster.members, key=lambda member: (-lengths[member], member)):
        if pieces:
            piece = pieces[-1]
            width = lengths[piece[0]] - cluster.prefix_length
            padding += lengths[piece[0]] - lengths[i]
            fits = cluster.prefix_length + (len(piece) + 1) * width <= token_budget and len(piece) < row_limit
            if fits and padding <= cluster.prefix_length:
                piece.append(i)
                continue
        pieces.append([i])
        padding = 0
    return [Cluster(prefix_length=cluster.prefix_length, members=tuple(piece)) for piece in pieces]


def lay_out(sequences: Sequence[TokenSequence], clusters: Sequence[Cluster]) -> Layout:
    """The padded arrays of some clusters."""
    prefixes = [sequences[cluster.members[0]].prompt[: cluster.prefix_length] for cluster in clusters]
    prefix_CP, prefix_mask_CP = _pad(prefixes, left=False)
    members = [i for cluster in clusters for i in cluster.members]
    cluster_B = np.array([c for c, cluster in enumerate(clusters) for _ in cluster.members], dtype=np.int64)
    suffixes = [
        (sequences[i].prompt + sequences[i].completion)[clusters[c].prefix_length :]
        for i, c in zip(members, cluster_B, strict=True)
    ]
    suffix_BL, suffix_mask_BL = _pad(suffixes, left=True)
    return Layout(
        members=tuple(members),
        cluster_B=cluster_B,
        prefix_CP=prefix_CP,
        prefix_mask_CP=prefix_mask_CP,
        suffix_BL=suffix_BL,
        suffix_mask_BL=suffix_mask_BL,
        prefix_length_B=np.array([clusters[c].prefix_length for c in cluster_B], dtype=np.int64),
        completion_columns=max(len(sequences[i].completion) for i in members),
    )


def right_align(rows: Sequence[NDArray[Any]], columns: int) -> NDArray[Any]:
    """Stacks per-token arrays of shape `[T, ...]` against the right edge, 0 elsewhere: shape `[B, columns, ...]`."""
    stacked = np.zeros((len(rows), columns, *rows[0].shape[1:]), dtype=rows[0].dtype)
    for i, row in enumerate(rows):
        if len(row):
            stacked[i, columns - len(row) :] = row
    return stacked


def _common_length(a: Tokens, b: Tokens, limit: int) -> int:
    for i in range(limit):
        if a[i] != b[i]:
            return i
    return limit


def _pad(rows: Sequence[Tokens], *, left: bool) -> tuple[IntArray, IntArray]:
    columns = max(map(len, rows))
    tokens = np.zeros((len(rows), columns), dtype=np.int64)
    mask = np.zeros((len(rows), columns), dtype=np.int64)
    for i, row in enumerate(rows):
        where = slice(columns - len(row), columns) if left else slice(0, len(row))
        tokens[i, where] = row
        mask[i, where] = 1
    return tokens, mask
