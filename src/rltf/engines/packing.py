"""Sequences to padded arrays: prompts shared by several sequences once, micro-batches by token budget.

A batch is laid out in two blocks of columns, `[prefix | suffix]`. Each cluster of sequences that begin alike has one
row in the prefix array (axis C), and every sequence one in the suffix array (axis B). The suffix of every row is as
long as the longest needs: a row with less of its own takes the end of its prefix along. What a row reads of its prefix
ends where its suffix begins. So all rows end at the right edge, and their tokens stand side by side without a column
between, as in a pass over the sequence alone; only a sequence shorter than the suffix block is padded, on the left.
A suffix holds at least the last prompt token, so it predicts every completion token, and completions end at the right
edge, so that logits are needed for the last few columns alone.

Laid out from the left, every row reads the prefix whole and its suffix begins right behind it, padded on the right.
Then causal attention needs no mask, for which a GPU has the fastest kernels; but the prefix is no longer than the
shortest of the batch's clusters, and completions end anywhere.
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
    """The arrays of one forward pass. `P` prefix column, `L` suffix column.

    For two sequences `abcd` and `abefgh` with the prefix `ab`, the suffix has four columns:

        prefix_CP    suffix_BL    prefix_length_B    as the model sees it
        a b          a b c d      0                  . . a b c d
                     e f g h      2                  a b e f g h
    """

    members: tuple[int, ...]
    """Which sequence each suffix row is, shape `[B]`."""
    cluster_B: IntArray
    """The prefix row of each suffix row."""
    prefix_CP: IntArray
    """Padded on the right, where no token before it looks."""
    suffix_BL: IntArray
    suffix_mask_BL: IntArray
    prefix_length_B: IntArray
    """How many tokens of its prefix each suffix row reads: its first ones."""
    completion_columns: int
    """The longest completion: completions end at the right edge of the suffix."""
    from_left: bool = False
    """Whether suffixes begin at the left edge, and completions end where they end; nothing is to be masked then."""

    @property
    def position_BL(self) -> IntArray:
        """Position of each suffix token in its own sequence. On padding 0, or from the left further positions."""
        if self.from_left:
            positions_L = self.prefix_CP.shape[1] + np.arange(self.suffix_BL.shape[1])
            return np.broadcast_to(positions_L, self.suffix_BL.shape).copy()
        offsets_BL = np.cumsum(self.suffix_mask_BL, axis=1) - 1
        return np.where(self.suffix_mask_BL == 1, offsets_BL + self.prefix_length_B[:, None], 0)

    @property
    def mask_B(self) -> IntArray:
        """Attention mask over prefix and suffix columns, shape `[B, P + L]`."""
        columns = np.arange(self.prefix_CP.shape[1])
        reads_BP = columns >= self.prefix_CP.shape[1] - self.prefix_length_B[:, None]
        return np.concatenate([reads_BP.astype(np.int64), self.suffix_mask_BL], axis=1)

    @property
    def last_B(self) -> IntArray:
        """The suffix column of each row's last token."""
        columns = self.suffix_BL.shape[1]
        return self.suffix_mask_BL.sum(axis=1) - 1 if self.from_left else np.full(len(self.members), columns - 1)


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
    *,
    equal_lengths: bool = False,
    from_left: bool = False,
) -> list[Layout]:
    """Packs clusters into layouts of at most `token_budget` padded tokens and `max_rows` sequences.

    Sequences of similar length go together: a layout is closed early where one more cluster would leave
    more than `_MOST_PADDING` of it padding. One sequence that is too long alone still gets its layout.
    With `equal_lengths` only sequences of the same length do, for models that padding would disturb. `from_left`: see
    above.
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
            # From the left, what a prefix has beyond the shortest goes with the suffix of each row that reads it.
            joint = (min if from_left else max)(prefix, piece.prefix_length)
            widest = max(width, piece_width)
            if from_left:
                widest = max(width + prefix, piece_width + piece.prefix_length) - joint
            padded = (rows + len(piece.members)) * widest + (len(batches[-1]) + 1) * joint
            tight = padded <= _SMALL or (real + piece_real) >= (1 - _MOST_PADDING) * padded
            if equal_lengths:
                tight = piece_width == width and piece.prefix_length == prefix == 0
            if padded <= token_budget and rows + len(piece.members) <= row_limit and tight:
                batches[-1].append(piece)
                width, prefix = widest, joint
                rows, real = rows + len(piece.members), real + piece_real
                continue
        batches.append([piece])
        width, prefix, rows, real = piece_width, piece.prefix_length, len(piece.members), piece_real
    return [lay_out(sequences, batch, from_left=from_left) for batch in batches]


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


def lay_out(sequences: Sequence[TokenSequence], clusters: Sequence[Cluster], *, from_left: bool = False) -> Layout:
    """The arrays of some clusters."""
    members = [i for cluster in clusters for i in cluster.members]
    cluster_B = np.array([c for c, cluster in enumerate(clusters) for _ in cluster.members], dtype=np.int64)
    rows = [sequences[i].prompt + sequences[i].completion for i in members]
    if from_left:
        reads_B = np.full(len(rows), min(cluster.prefix_length for cluster in clusters), dtype=np.int64)
        width = max(map(len, rows)) - int(reads_B[0])
        own_B = np.array([len(row) for row in rows]) - reads_B
        suffixes = [row[len(row) - own :] for row, own in zip(rows, own_B, strict=True)]
    else:
        width = max(len(row) - clusters[c].prefix_length for row, c in zip(rows, cluster_B, strict=True))
        reads_B = np.array([max(0, len(row) - width) for row in rows], dtype=np.int64)
        own_B = np.array([min(len(row), width) for row in rows])
        suffixes = [row[-width:] for row in rows]
    # A prefix that nobody reads to its end is not computed to its end.
    most = int(reads_B.max())
    firsts = [sequences[cluster.members[0]].prompt for cluster in clusters]
    prefixes = [prompt[: min(c.prefix_length, most)] for prompt, c in zip(firsts, clusters, strict=True)]
    column_L = np.arange(width)
    own_BL = column_L < own_B[:, None] if from_left else column_L >= width - own_B[:, None]
    return Layout(
        members=tuple(members),
        cluster_B=cluster_B,
        prefix_CP=_padded(prefixes, [prompt[0] for prompt in firsts], left=False),
        suffix_BL=_padded(suffixes, [row[0] for row in rows], left=not from_left),
        suffix_mask_BL=own_BL.astype(np.int64),
        prefix_length_B=reads_B,
        completion_columns=max(len(sequences[i].completion) for i in members),
        from_left=from_left,
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


def _padded(rows: Sequence[Tokens], filling: Sequence[int], *, left: bool) -> IntArray:
    """Rows of equal length. Each is filled up with an ordinary token of its own sequence: what a model makes of padding
    is masked, but a padding token's embedding can be zero, of which some models take a root in the backward pass."""
    columns = max(map(len, rows))
    tokens = np.repeat(np.array(filling, dtype=np.int64)[:, None], columns, axis=1)
    for i, row in enumerate(rows):
        tokens[i, slice(columns - len(row), None) if left else slice(len(row))] = row
    return tokens
