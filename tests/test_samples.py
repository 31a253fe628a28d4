from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltf.engines.packing import (
    Cluster,
    Layout,
    TokenSequence,
    lay_out,
    micro_batches,
    right_align,
    separate,
    share_prefixes,
)
from rltf.types import Tokens

# A small alphabet with the padding's own 0 in it, and stems that prompts share, as the turns of a group do.
TOKEN = st.integers(0, 2)
STEM = st.lists(TOKEN, max_size=12).map(tuple)


@st.composite
def sequence_lists(draw: st.DrawFn) -> list[TokenSequence]:
    stems: list[Tokens] = draw(st.lists(STEM, min_size=1, max_size=3))
    tails = st.lists(TOKEN, min_size=1, max_size=4).map(tuple)
    completions = st.lists(TOKEN, max_size=6).map(tuple)
    prompts = st.tuples(st.sampled_from(stems), tails).map(lambda parts: parts[0] + parts[1])
    sequences = st.builds(
        lambda prompt, completion: TokenSequence(prompt=prompt, completion=completion), prompts, completions
    )
    return draw(st.lists(sequences, min_size=1, max_size=12))


SEQUENCES = sequence_lists()
CLUSTERED = SEQUENCES.flatmap(
    lambda sequences: st.tuples(st.just(sequences), st.sampled_from([share_prefixes(sequences), separate(sequences)]))
)
Clustered = tuple[list[TokenSequence], list[Cluster]]


def tokens_of(sequence: TokenSequence) -> Tokens:
    return sequence.prompt + sequence.completion


def tokens_computed(sequences: Sequence[TokenSequence], clusters: Sequence[Cluster]) -> int:
    return sum(
        cluster.prefix_length + sum(len(tokens_of(sequences[i])) - cluster.prefix_length for i in cluster.members)
        for cluster in clusters
    )


def padded_tokens(layout: Layout) -> int:
    return layout.prefix_CP.size + layout.suffix_BL.size


@given(CLUSTERED)
def test_clusters_are_a_partition_of_the_sequences(clustered: Clustered) -> None:
    sequences, clusters = clustered
    assert sorted(i for cluster in clusters for i in cluster.members) == list(range(len(sequences)))


@given(SEQUENCES)
def test_shared_prefixes_are_common_and_leave_out_every_last_prompt_token(sequences: list[TokenSequence]) -> None:
    for cluster in share_prefixes(sequences):
        prompts = [sequences[i].prompt for i in cluster.members]
        assert len({prompt[: cluster.prefix_length] for prompt in prompts}) == 1
        assert all(0 <= cluster.prefix_length < len(prompt) for prompt in prompts)


@given(SEQUENCES)
def test_sharing_prefixes_never_computes_more_tokens(sequences: list[TokenSequence]) -> None:
    alone = tokens_computed(sequences, separate(sequences))
    assert tokens_computed(sequences, share_prefixes(sequences)) <= alone == sum(map(len, map(tokens_of, sequences)))


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_of_a_prompt_are_computed_once(copies: int) -> None:
    sequences = [TokenSequence(prompt=(1, 2, 3, 4), completion=(9, i)) for i in range(copies)]
    (cluster,) = share_prefixes(sequences)
    assert cluster.prefix_length == 3
    assert tokens_computed(sequences, [cluster]) == 3 + 3 * copies


def test_prompts_that_share_little_stay_apart() -> None:
    longs = [TokenSequence(prompt=(1, *range(10, 30)), completion=(i,)) for i in range(3)]
    other = TokenSequence(prompt=(1, *range(40, 60)))
    assert sorted(len(cluster.members) for cluster in share_prefixes([*longs, other])) == [1, 3]


def test_a_conversation_shares_the_question_with_the_attempts_on_it() -> None:
    question = (1, 2, 3, 4, 5, 6)
    attempt = TokenSequence(prompt=question, completion=(7, 8))
    revision = TokenSequence(prompt=(*question, 7, 8, 9), completion=(7, 7))
    (cluster,) = share_prefixes([revision, attempt])
    assert cluster.prefix_length == 5


@given(CLUSTERED, st.integers(1, 120), st.one_of(st.none(), st.integers(1, 5)))
def test_micro_batches_hold_each_sequence_exactly_once(clustered: Clustered, budget: int, max_rows: int | None) -> None:
    sequences, clusters = clustered
    layouts = micro_batches(sequences, clusters, budget, max_rows)
    assert sorted(i for layout in layouts for i in layout.members) == list(range(len(sequences)))


@given(CLUSTERED, st.integers(1, 120), st.one_of(st.none(), st.integers(1, 5)), st.booleans())
def test_micro_batches_respect_the_budget_unless_one_sequence_alone_exceeds_it(
    clustered: Clustered, budget: int, max_rows: int | None, from_left: bool
) -> None:
    sequences, clusters = clustered
    for layout in micro_batches(sequences, clusters, budget, max_rows, from_left=from_left):
        assert len(layout.members) <= (max_rows or len(sequences))
        assert padded_tokens(layout) <= budget or len(layout.members) == 1


@given(CLUSTERED, st.integers(1, 120))
def test_a_sequence_that_is_too_long_alone_has_a_layout_of_its_own_size(clustered: Clustered, budget: int) -> None:
    sequences, clusters = clustered
    for layout in micro_batches(sequences, clusters, budget):
        if len(layout.members) == 1:
            assert padded_tokens(layout) == len(tokens_of(sequences[layout.members[0]]))


def test_a_large_enough_budget_gives_few_layouts() -> None:
    sequences = [TokenSequence(prompt=(1, 2, 3), completion=(4,) * (1 + i % 3)) for i in range(12)]
    assert len(micro_batches(sequences, share_prefixes(sequences), 1000)) == 1


def test_sequences_of_very_different_lengths_are_not_padded_to_each_other() -> None:
    sequences = [TokenSequence(prompt=(1,), completion=(2,) * length) for length in (10, 10, 2000, 2000)]
    layouts = micro_batches(sequences, separate(sequences), 100_000)
    assert sorted(layout.members for layout in layouts) == [(0, 1), (2, 3)]


@given(CLUSTERED, st.integers(1, 120))
def test_prefix_and_suffix_give_back_every_sequence(clustered: Clustered, budget: int) -> None:
    sequences, clusters = clustered
    for layout in micro_batches(sequences, clusters, budget):
        for row, member in enumerate(layout.members):
            cluster = layout.cluster_B[row]
            prefix = layout.prefix_CP[cluster][: layout.prefix_length_B[row]]
            suffix = layout.suffix_BL[row][layout.suffix_mask_BL[row] == 1]
            assert (*prefix.tolist(), *suffix.tolist()) == tokens_of(sequences[member])


@given(CLUSTERED, st.integers(1, 120))
def test_the_tokens_of_a_row_stand_side_by_side_up_to_the_right_edge(clustered: Clustered, budget: int) -> None:
    sequences, clusters = clustered
    for layout in micro_batches(sequences, clusters, budget):
        for row, member in enumerate(layout.members):
            length = len(tokens_of(sequences[member]))
            padding = layout.mask_B.shape[1] - length
            assert layout.mask_B[row].tolist() == [0] * padding + [1] * length


@given(CLUSTERED, st.integers(1, 120))
def test_from_the_left_rows_read_the_prefix_whole_and_go_on_right_behind_it(clustered: Clustered, budget: int) -> None:
    sequences, clusters = clustered
    layouts = micro_batches(sequences, clusters, budget, from_left=True)
    assert sorted(i for layout in layouts for i in layout.members) == list(range(len(sequences)))
    for layout in layouts:
        columns = layout.prefix_CP.shape[1]
        assert layout.prefix_length_B.tolist() == [columns] * len(layout.members)
        for row, member in enumerate(layout.members):
            whole, last = tokens_of(sequences[member]), int(layout.last_B[row])
            assert columns + last + 1 == len(whole)
            assert (*layout.prefix_CP[layout.cluster_B[row]], *layout.suffix_BL[row][: last + 1]) == whole
            assert layout.position_BL[row].tolist() == list(range(columns, columns + layout.suffix_BL.shape[1]))
            # A prefix never takes a prompt's last token, which predicts the first of the completion.
            assert last >= len(sequences[member].completion)


def test_a_row_with_less_of_its_own_takes_the_end_of_its_prefix_along() -> None:
    layout = lay_out(
        [TokenSequence(prompt=(1, 2, 3), completion=(4,)), TokenSequence(prompt=(1, 2, 5, 6, 7), completion=(8,))],
        [Cluster(prefix_length=2, members=(0, 1))],
    )
    assert layout.prefix_CP.tolist() == [[1, 2]]
    assert layout.suffix_BL.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert layout.prefix_length_B.tolist() == [0, 2]


@given(CLUSTERED, st.integers(1, 120))
def test_padding_is_made_of_the_sequences_own_first_token(clustered: Clustered, budget: int) -> None:
    sequences, clusters = clustered
    for layout in micro_batches(sequences, clusters, budget):
        for row, member in enumerate(layout.members):
            padding = layout.suffix_BL[row][layout.suffix_mask_BL[row] == 0]
            assert set(padding.tolist()) <= {sequences[member].prompt[0]}


@given(SEQUENCES)
def test_layouts_of_equal_lengths_have_no_padding(sequences: list[TokenSequence]) -> None:
    for layout in micro_batches(sequences, separate(sequences), 50, equal_lengths=True):
        assert layout.mask_B.all()


@given(CLUSTERED, st.integers(1, 120))
def test_positions_count_on_from_the_prefix_to_the_end_of_the_sequence(clustered: Clustered, budget: int) -> None:
    sequences, clusters = clustered
    for layout in micro_batches(sequences, clusters, budget):
        positions_BL = layout.position_BL
        for row, member in enumerate(layout.members):
            real = layout.suffix_mask_BL[row] == 1
            prefix = int(layout.prefix_length_B[row])
            assert positions_BL[row][real].tolist() == list(range(prefix, len(tokens_of(sequences[member]))))
            assert not positions_BL[row][~real].any()


@given(CLUSTERED, st.integers(1, 120))
def test_completions_end_at_the_right_edge_behind_a_token_that_predicts_them(clustered: Clustered, budget: int) -> None:
    sequences, clusters = clustered
    for layout in micro_batches(sequences, clusters, budget):
        columns = layout.suffix_BL.shape[1]
        lengths = [len(sequences[member].completion) for member in layout.members]
        assert layout.completion_columns == max(lengths)
        for row, (member, length) in enumerate(zip(layout.members, lengths, strict=True)):
            assert layout.suffix_BL[row, columns - length :].tolist() == list(sequences[member].completion)
            assert layout.suffix_BL[row, columns - length - 1] == sequences[member].prompt[-1]
            assert layout.suffix_mask_BL[row, columns - length - 1 :].all()


@given(CLUSTERED)
def test_the_attention_mask_covers_exactly_the_real_tokens_of_each_row(clustered: Clustered) -> None:
    sequences, clusters = clustered
    layout = lay_out(sequences, clusters)
    assert layout.mask_B.shape == (len(sequences), layout.prefix_CP.shape[1] + layout.suffix_BL.shape[1])
    lengths = [len(tokens_of(sequences[member])) for member in layout.members]
    assert layout.mask_B.sum(axis=1).tolist() == lengths


@given(st.lists(st.lists(st.floats(-9, 9, width=32), max_size=6), min_size=1, max_size=6), st.integers(0, 4))
def test_right_aligned_rows_end_at_the_edge_with_zeros_before(rows: list[list[float]], room: int) -> None:
    columns = max(map(len, rows)) + room
    stacked = right_align([np.array(row, dtype=np.float32) for row in rows], columns)
    assert stacked.shape == (len(rows), columns)
    assert stacked.tolist() == [[0.0] * (columns - len(row)) + row for row in rows]
