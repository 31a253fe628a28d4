"""How sequences of one model may go into a batch together."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from rltf.engines.packing import Layout, TokenSequence, micro_batches, separate, share_prefixes


class Batching(StrEnum):
    """From the fastest to the plainest."""

    SHARED = "shared"
    """A prefix that several sequences have is computed once."""
    PADDED = "padded"
    """Every sequence is computed whole; shorter ones are padded."""
    EQUAL = "equal"
    """Only sequences of the same length, so that nothing is padded."""

    def layouts(
        self,
        sequences: Sequence[TokenSequence],
        token_budget: int,
        max_rows: int | None = None,
        *,
        from_left: bool = False,
    ) -> list[Layout]:
        """The arrays of all sequences; see `packing.micro_batches`."""
        clusters = share_prefixes(sequences) if self is Batching.SHARED else separate(sequences)
        equal = self is Batching.EQUAL
        return micro_batches(sequences, clusters, token_budget, max_rows, equal_lengths=equal, from_left=from_left)
