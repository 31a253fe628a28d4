"""What is sent, checked before it goes: a server answers faults with endless errors, or not at all.

A request has a sequence without its last token, and as targets the same without its first: the server predicts every
token but the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rltf.engines.packing import TokenSequence
from rltf.support.errors import UserError
from rltf.types import DIVERGENCES, FloatArray, TrainingSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the base model takes."""

    vocabulary: int
    """Tokens from 0 to this, without it."""
    tokens: int
    """Longest sequence, prompt and completion."""

    def check(self, tokens: Sequence[int], room: int = 0) -> None:
        """Raises `UserError` for a token that the model does not have, or for too many with `room` for more."""
        if not tokens:
            raise UserError("engine.name=tinker: a sequence without tokens was to be sent")
        if min(tokens) < 0 or max(tokens) >= self.vocabulary:
            raise UserError(
                f"engine.tokenizer: it gives the token {max(tokens)}, but the model has {self.vocabulary:,}; name the "
                "tokenizer that belongs to engine.model"
            )
        if len(tokens) + room > self.tokens:
            raise UserError(
                f"a sequence of {len(tokens) + room:,} tokens is longer than the {self.tokens:,} that engine.model "
                "takes; lower rollout.max_new_tokens"
            )


def check_sample(sample: TrainingSample) -> None:
    """Raises `UserError` for what no server of the Tinker API can train, or for a number that is none."""
    named = f"a sample of {sample.component!r}"
    if sample.loss in DIVERGENCES or sample.entropy_weight:
        what = sample.loss if sample.loss in DIVERGENCES else "the entropy"
        raise UserError(
            f"{named} trains {what}, which reads tokens that were not sampled; engine.name=tinker gets none of them: "
            "take another method, or engine.name=torch"
        )
    for name, values in (("weights", sample.weights), ("old_logprobs", sample.old_logprobs)):
        if values is not None and not np.isfinite(values).all():
            raise UserError(f"{named} has {name} that are not finite; the step was not sent")


def data(sequence: TokenSequence, **per_token: Any) -> Any:
    """A sequence for training. `per_token` inputs are of the completion; on the prompt they are 0.

    Without any, the weights are 1 on all of it.
    """
    from tinker import types

    tokens = (*sequence.prompt, *sequence.completion)
    before = len(tokens) - 1 - len(sequence.completion)
    inputs: dict[str, Any] = {"target_tokens": np.array(tokens[1:], dtype=np.int64)}
    for name, values in per_token.items():
        inputs[name] = np.concatenate([np.zeros(before), values]).astype(np.float32)
    if not per_token:
        inputs["weights"] = np.ones(len(tokens) - 1, dtype=np.float32)
    return types.Datum(model_input=types.ModelInput.from_ints(list(tokens[:-1])), loss_fn_inputs=inputs)


def completion_logprobs(values: Sequence[float | None], sequence: TokenSequence) -> FloatArray:
    """Log-probabilities of a completion out of those of a sequence, shape `[T]`.

    Servers differ in whether the first token, which nothing predicts, has a place in the list; the last ones agree.
    """
    length = len(sequence.completion)
    found = list(values)[-length:]
    if len(found) < length or any(value is None for value in found):
        raise UserError(
            "the server gave no log-probabilities of a prompt, so it cannot tell how likely the initial policy finds "
            "an attempt: set objective.kl_coefficient=0.0 and evaluation.fluency=false"
        )
    logprobs_T = np.array(found, dtype=np.float32)
    if not np.isfinite(logprobs_T).all():
        raise UserError(
            "the server gave log-probabilities that are not finite: its weights are spoiled, or engine.tokenizer is "
            "not that of engine.model; nothing was trained on them"
        )
    return logprobs_T
