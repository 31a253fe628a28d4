"""What is drawn while decoding: the next token of each row, and what has been drawn so far. Axis R: all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltf.support.errors import UserError
from rltf.types import Completion, Finish, SamplingParams


class Draws:
    """The tokens of all rows of a batch, those of rows that have left it included.

    Nothing here waits for a GPU until the completions are asked for, so a step may be recorded.
    """

    def __init__(
        self, uniform_RT: Tensor, sampling: SamplingParams, stop_tokens: Sequence[int], vocabulary: int
    ) -> None:
        """`uniform_RT`: a number from [0, 1) for each token, on the device of the model. `vocabulary`: its logits."""
        rows, device = len(uniform_RT), uniform_RT.device
        self.rows, self.max_tokens, self.device = rows, sampling.max_tokens, device
        self._uniform_RT, self._temperature = uniform_RT, sampling.temperature
        stops_V = torch.zeros(max([vocabulary - 1, *stop_tokens]) + 1, dtype=torch.bool)
        stops_V[list(stop_tokens)] = True
        self._stops_V = stops_V.to(device)
        self._token_RT = torch.zeros((rows, sampling.max_tokens), dtype=torch.long, device=device)
        self._logprob_RT = torch.zeros((rows, sampling.max_tokens), device=device)
        self._length_R = torch.full((rows,), sampling.max_tokens, device=device)
        self._stopped_R = torch.zeros(rows, dtype=torch.bool, device=device)

    def draw(self, logits_AV: Tensor, row_A: Tensor, step: int | Tensor) -> Tensor:
        """Draws and notes the tokens number `step` (of shape `[1]` as a tensor) of the given rows."""
        logits_AV = logits_AV.float()
        if self._temperature not in (0.0, 1.0):
            logits_AV = logits_AV / self._temperature
        logprobs_AV = torch.log_softmax(logits_AV, dim=-1)
        if self._temperature == 0.0:
            token_A: Tensor = logits_AV.argmax(dim=-1)
        else:
            token_A = _inverse_cdf(logprobs_AV, self._uniform_RT[row_A, step])
        self._token_RT[row_A, step] = token_A
        self._logprob_RT[row_A, step] = logprobs_AV.gather(-1, token_A.unsqueeze(-1)).squeeze(-1)
        stopped_A, stops_A = self._stopped_R[row_A], self._stops_V[token_A]
        self._length_R[row_A] = torch.where(stops_A & ~stopped_A, step + 1, self._length_R[row_A])
        self._stopped_R[row_A] = stopped_A | stops_A
        return token_A

    def live(self, row_A: Tensor) -> Tensor:
        """Which of the rows have not stopped."""
        return ~self._stopped_R[row_A]

    def newest(self, row_A: Tensor, step: int) -> Tensor:
        """The tokens number `step` of the given rows."""
        return self._token_RT[row_A, step]

    def completions(self) -> list[Completion]:
        """Those of all rows."""
        tokens, logprobs = self._token_RT.tolist(), self._logprob_RT.cpu().numpy()
        if not np.isfinite(logprobs).all():
            raise UserError(
                "the policy's log-probabilities are not finite: its weights have gone astray (lower "
                "trainer.learning_rate), or rollout.temperature is too small"
            )
        ends: Any = zip(self._length_R.tolist(), self._stopped_R.tolist(), strict=True)
        return [
            Completion(
                tokens=tuple(tokens[row][:length]),
                logprobs=logprobs[row, :length].copy(),
                finish=Finish.STOP if stopped else Finish.LENGTH,
            )
            for row, (length, stopped) in enumerate(ends)
        ]


def _inverse_cdf(logprobs_AV: Tensor, uniform_A: Tensor) -> Tensor:
    """The first token whose cumulative probability exceeds the uniform number; one with probability 0 never is."""
    cumulative_AV = logprobs_AV.exp().cumsum(dim=-1)
    threshold_A1 = (uniform_A * cumulative_AV[:, -1]).unsqueeze(-1)
    token_A: Tensor = (cumulative_AV <= threshold_A1).sum(dim=-1)
    # To look costs less than to go on, but on a GPU it would be to wait for it.
    if token_A.device.type == "cpu" and bool((token_A < logprobs_AV.shape[-1]).all()):
        return token_A
    # Rounding can lift the threshold to the total: the most likely token then stands in.
    return torch.where(token_A < logprobs_AV.shape[-1], token_A, logprobs_AV.argmax(dim=-1))
