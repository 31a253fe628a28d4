"""What goes into one pass: as much as the device has memory for, found by trial."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rltf.engines.packing import Layout
from rltf.support.errors import UserError


class TooLarge(Exception):
    """A layout for which the device has not enough memory."""

    def __init__(self, layout: Layout) -> None:
        super().__init__("out of memory")
        self.tokens = int(layout.prefix_CP.size + layout.suffix_BL.size)
        self.sequences = len(layout.members)

    def smaller(self) -> int:
        """Half the tokens; raises `UserError` where one sequence alone was too large."""
        if self.sequences == 1:
            raise UserError(
                f"the device has not enough memory for one sequence of {self.tokens:,} tokens: set "
                "engine.gradient_checkpointing=true or engine.lora.rank, or lower rollout.max_new_tokens"
            )
        return max(1, self.tokens // 2)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device had no memory left. Only CUDA has an error of its own for that."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)
    )


@contextmanager
def room_for(layout: Layout) -> Iterator[None]:
    """Within it, running out of memory raises `TooLarge`."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise TooLarge(layout) from error
        raise


def give_back(device: torch.device) -> None:
    """Lets go of what a failed pass had; to be called when its error is no longer held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
