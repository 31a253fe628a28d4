"""The processes that a launcher started for one run, and how they speak with each other.

What is computed travels by accelerate and FSDP2 (NCCL on GPUs). What process 0 says to the others, and what they give
back, are Python objects over a group of its own on the CPU: process 0 may wait for a judge for hours while the others
wait for it, and one that dies is noticed at once, as its connection closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

import torch

from rltf.support.errors import UserError
from rltf.support.launched import local_process_count, meeting_place, process_count

_PATIENCE = timedelta(days=30)
"""How long a process waits for what another has to say."""


class ProcessLost(UserError):
    """Another process of the run has ended. What every process holds of the policy is no longer one policy."""


class Team:
    """All processes of a run, seen from one of them."""

    def __init__(self) -> None:
        """Joins the others; every process that was launched does."""
        if meeting_place() is None:
            raise UserError(
                f"WORLD_SIZE={process_count()} says that {process_count()} processes were started, but not where they "
                "meet (MASTER_ADDR): start them with torchrun or accelerate launch, or unset WORLD_SIZE"
            )
        from accelerate import PartialState

        cuda = torch.cuda.is_available()
        if cuda and local_process_count() > torch.cuda.device_count():
            raise UserError(
                f"{local_process_count()} processes were started on a machine with {torch.cuda.device_count()} GPUs: "
                "start one for each, or hide them (CUDA_VISIBLE_DEVICES=)"
            )
        # Tensors of either device may travel: a run may be on the CPU of a machine with GPUs.
        settings: dict[str, Any] = {"backend": "cuda:nccl,cpu:gloo"} if cuda else {}
        state = PartialState(cpu=not cuda, **settings)
        self.index, self.size = int(state.process_index), int(state.num_processes)
        self._group = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)
        self.serving = False
        """Whether the others, as process 0 knows them, serve an engine and wait for its calls."""
        self.apart = False
        """Whether a call was left half-way: what one process says next, the others would take for something else."""

    def say(self, message: Any) -> None:
        """Process 0 tells all others."""
        self._exchange(lambda: torch.distributed.broadcast_object_list([message], src=0, group=self._group))

    def hear(self) -> Any:
        """What process 0 says to all."""
        box: list[Any] = [None]
        self._exchange(lambda: torch.distributed.broadcast_object_list(box, src=0, group=self._group))
        return box[0]

    def deal(self, parts: Sequence[Any] | None = None) -> Any:
        """Process 0 gives each process its part; returns that of this one."""
        box: list[Any] = [None]
        given = None if parts is None else list(parts)
        self._exchange(lambda: torch.distributed.scatter_object_list(box, given, src=0, group=self._group))
        return box[0]

    def collect(self, value: Any) -> list[Any]:
        """Every process gives something; process 0 gets all of it, in order, the others nothing."""
        values: list[Any] | None = [None] * self.size if self.index == 0 else None
        self._exchange(lambda: torch.distributed.gather_object(value, values, dst=0, group=self._group))
        return values or []

    def _exchange(self, exchange: Any) -> None:
        if self.apart:
            raise self.lost()
        try:
            exchange()
        except RuntimeError as error:
            raise self.lost() from error

    def lost(self) -> ProcessLost:
        """What to say when another process does not answer."""
        return ProcessLost(
            f"one of the run's {self.size} processes has ended (its own output says why), and the others end with it; "
            "nothing that was saved is lost: go on with --resume and the run's directory, with as many processes as "
            "you like"
        )


@cache
def team() -> Team:
    """The processes of this run; joined when it is first called."""
    return Team()


def is_lost(error: BaseException) -> bool:
    """Whether an error while something is computed says that another process is gone."""
    said = str(error)
    return process_count() > 1 and isinstance(error, RuntimeError) and ("gloo" in said or "NCCL" in said)
