"""Which runs several processes can share."""

from __future__ import annotations

from rltf.config import RunConfig, TorchEngineConfig
from rltf.engines.base import Engine
from rltf.support.errors import UserError
from rltf.support.launched import is_helper, process_count


def refuse_several_processes(config: RunConfig, engine: Engine | None) -> None:
    """Raises `UserError` where processes would each train a whole model of their own, and write over each other.

    By the engine `torch` they share a run, which process 0 runs while `rltf train` has the others help.
    """
    count = process_count()
    if count == 1:
        return
    if engine is not None or config.engine.path is not None:
        raise UserError(
            f"{count} processes were started for one run (WORLD_SIZE={count}), which an engine of your own cannot "
            "share: start it without torchrun or accelerate launch"
        )
    if is_helper():
        raise UserError(
            f"{count} processes were started for one run (WORLD_SIZE={count}), and this is not the first of them: they "
            "share a run by `torchrun -m rltf train` or `accelerate launch -m rltf train`"
        )


def unused_parallel(config: RunConfig) -> str | None:
    """What to say of `engine.parallel` in a single process, where there is nothing to share."""
    engine = config.engine
    if process_count() > 1 or not isinstance(engine, TorchEngineConfig) or engine.parallel is None:
        return None
    return (
        f"one process: engine.parallel={engine.parallel} has no effect; start the run with torchrun or accelerate "
        "launch"
    )
