"""Measures whether a server divides losses as its dialect says. One that does otherwise would train, and wrongly."""

from __future__ import annotations

from typing import Any

from rltf.config import TinkerEngineConfig
from rltf.engines.packing import TokenSequence
from rltf.engines.tinker.connection import Connection, sdk
from rltf.engines.tinker.dialects import DIALECTS
from rltf.engines.tinker.requests import data
from rltf.support.errors import UserError

_MIDDLE = 1.5
"""Twice the same sequence has the same gradient as once where means are taken, and twice that where sums are."""


def grad_norm(answer: Any) -> float | None:
    """The norm that a server tells of an optimiser step, if it does."""
    return next((float(value) for name, value in (answer.metrics or {}).items() if name.endswith("grad_norm")), None)


def checks_reduction(config: TinkerEngineConfig) -> bool:
    """Whether a server is checked: not the service itself, nor SkyRL's FSDP, which has room for one set of adapters."""
    return config.base_url is not None and config.server != "skyrl_train"


def check_reduction(config: TinkerEngineConfig, connection: Connection, client: Any, sequence: TokenSequence) -> None:
    """Raises `UserError` where the server takes sums and the dialect says means, or the other way round.

    The client's adapters are given a gradient of one sequence, and of the same twice, with steps of size 0. They are
    good for nothing else then, as the optimiser has counted these. A server that tells no norm is believed.
    """
    once, twice = (_norm(config, connection, client, [sequence] * count) for count in (1, 2))
    if once is None or twice is None:
        return
    if not once:
        raise UserError(f"{config.base_url}: the server has no gradient of a sequence, so nothing could be trained")
    found = "sum" if twice / once > _MIDDLE else "mean"
    if found != DIALECTS[config.server].reduction:
        others = " or ".join(name for name, dialect in DIALECTS.items() if dialect.reduction == found)
        raise UserError(
            f"engine.dialect={config.server}: this server takes {found}s of losses, as found by a gradient of the same "
            f"sequence once ({once:.3g}) and twice ({twice:.3g}); set engine.dialect to {others}"
        )


def _norm(
    config: TinkerEngineConfig, connection: Connection, client: Any, sequences: list[TokenSequence]
) -> float | None:
    length = len(sequences[0].completion)
    rows = [data(sequence, logprobs=[0.0] * length, advantages=[1.0] * length) for sequence in sequences]
    if DIALECTS[config.server].masks:
        for row in rows:
            row.loss_fn_inputs["weights"] = data(sequences[0]).loss_fn_inputs["weights"]
    sent = client.forward_backward(rows, "importance_sampling")
    step = client.optim_step(sdk().types.AdamParams(learning_rate=0.0))
    connection.wait("train", sent)
    return grad_norm(connection.wait("take an optimiser step", step))
