"""How fast a device multiplies matrices in float32 and in bfloat16: a property of the machine, so it is measured.

Some processors multiply bfloat16 numbers four times as fast (AVX512-BF16, AMX, tensor cores), others emulate it and are
slower.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import torch

_SIDE = {"cpu": 1024, "mps": 2048, "cuda": 4096}
_TRIES = 5
WORTH = 1.5
"""How many times as fast bfloat16 must be to be taken: less would not pay for its rounding and for its masters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What was measured on a device, in floating-point operations per second."""

    device: str
    float32: float
    bfloat16: float

    @property
    def dtype(self) -> str:
        """The number format to compute in."""
        return "bfloat16" if self.bfloat16 >= WORTH * self.float32 else "float32"

    def told(self) -> str:
        """What was measured, in words."""
        float32, bfloat16 = self.float32 / 1e9, self.bfloat16 / 1e9
        return (
            f"this {self.device} multiplies matrices at {float32:,.0f} GFLOP/s in float32, {bfloat16:,.0f} in bfloat16"
        )


@cache
def measured(device: str) -> Arithmetic:
    """Measures a device (`cpu`, `cuda`, `mps`) once in a process. It takes less than a second."""
    rates = {"float32": 0.0, "bfloat16": 0.0}
    # In turns, and the best of each: whatever else the machine does slows either down, never speeds it up.
    for _ in range(_TRIES):
        for name in rates:
            rates[name] = max(rates[name], _rate(torch.device(device), getattr(torch, name)))
    return Arithmetic(device=device, **rates)


@torch.no_grad()
def _rate(device: torch.device, dtype: torch.dtype) -> float:
    side = _SIDE[device.type]
    try:
        matrix = torch.full((side, side), 0.5, device=device, dtype=dtype)
        matrix @ matrix  # The first product of a kind also loads its kernel.
        _wait(device)
        start = time.perf_counter()
        matrix @ matrix
        _wait(device)
    except RuntimeError:  # The device does not know the format.
        return 0.0
    return 2.0 * side**3 / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
