"""Settings of what a run writes down beyond its metrics and rollouts."""

from __future__ import annotations

from rltf.config.section import NonNegative, Section


class RecordsConfig(Section):
    """What `samples.jsonl` holds, from which `rltf report` shows how much each token was pushed. Training is the same
    with and without it."""

    tokens: NonNegative = 500
    """Of how many tokens of each step weight and log-probabilities are written down. Whole groups in an order drawn
    from the seed; the last rollout that is begun is finished. 0: of none, which saves its share of the disk and a few
    passes of the model."""
