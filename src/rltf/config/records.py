"""Settings of what a run writes down beyond its metrics and rollouts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import field_validator

from rltf.config.section import FROM_LIST, NonNegative, Section


class RecordsConfig(Section):
    """What is written down beside metrics and rollouts, and where else. Training is the same with and without it."""

    tokens: NonNegative = 500
    """Of how many tokens of each step weight and log-probabilities are written down in `samples.jsonl`, from which
    `rltf report` shows how much each was pushed. Whole groups in an order drawn from the seed; the last rollout that is
    begun is finished. 0: of none, which saves its share of the disk and a few passes of the model."""
    trackers: Annotated[tuple[Literal["tensorboard", "trackio", "wandb", "mlflow"], ...], FROM_LIST] = ()
    """Trackers that are told of the run too, by their own libraries (extra `trackers`, and `trackio` for that one):
    curves, settings, examples, outcome. `tensorboard` lies in the run's directory; so do `wandb`, where it has no key,
    and `mlflow`, unless MLFLOW_TRACKING_URI names another place; `trackio` is in its own store on this machine."""

    @field_validator("trackers")
    @classmethod
    def _each_once(cls, trackers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError("a tracker stands twice; name each once")
        return trackers
