"""The exact gradient route: the gradient of any of our losses through a server that knows other ones.

A loss L of the sampled tokens' log-probabilities `l_t` has the gradient `sum_t g_t grad l_t` with `g_t = dL/dl_t`. `g`
is computed here, from log-probabilities that the server gave. The server's importance-sampling loss
`-sum_t A_t exp(l_t - l'_t)`, with `l'` those same log-probabilities, has the gradient `-sum_t A_t grad l_t`. So with
`A = -g`, and what the server divides by multiplied back, it is the gradient of our loss.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from rltf.engines.losses import TokenBatch, token_loss
from rltf.types import DIVERGENCES, FloatArray, TrainingSample

Float64Array: TypeAlias = NDArray[np.float64]


def loss_and_gradient(sample: TrainingSample, logprobs_T: FloatArray) -> tuple[float, Float64Array]:
    """A sample's loss summed over its tokens, and its derivative by each token's log-probability, shape `[T]`.

    `logprobs_T` are those of the policy that is trained. Of a token of weight 0 both are 0.
    """
    assert sample.loss not in DIVERGENCES, "refused by the learner: these read the log-probabilities of other tokens"
    logprobs = torch.tensor(logprobs_T, dtype=torch.float64).unsqueeze(0).requires_grad_()
    old = sample.old_logprobs
    batch = TokenBatch(
        logprobs_BT=logprobs,
        weights_BT=torch.tensor(sample.weights, dtype=torch.float64).unsqueeze(0),
        old_logprobs_BT=None if old is None else torch.tensor(old, dtype=torch.float64).unsqueeze(0),
        clip=sample.clip,
    )
    loss = token_loss(sample.loss, batch).sum()
    (gradient_1T,) = torch.autograd.grad(loss, logprobs)
    gradient_T: Float64Array = gradient_1T.squeeze(0).numpy()
    return float(loss.detach()), gradient_T


def advantages(
    gradient_T: Float64Array, reduction: Literal["sum", "mean"], *, targets: int, sequences: int
) -> Float64Array:
    """What to send in place of advantages, so that the server's gradient is that of our summed loss, shape `[T]`.

    Args:
        gradient_T: the derivative of the loss by each log-probability.
        reduction: what the server makes of the losses (`Dialect.reduction`).
        targets: tokens of the sequence that it counts: all that it predicts, whose weights are 1.
        sequences: how many it gets before the optimiser step.
    """
    return -gradient_T * (targets * sequences if reduction == "mean" else 1)
