"""Rotary frequencies of Llama 3 in GGUF files: factors in a tensor, from which the scaling's parameters are found.

Llama 3.1 (arXiv:2407.21783) stretches slow rotations: frequencies whose wavelength is short beside the original
context stay, those of long ones are divided by a factor, and between the two the divisor passes smoothly from one to
the other. A configuration holds four parameters; llama.cpp's converter writes the divisors alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

_Array = np.ndarray[Any, Any]

_TOLERANCE = 1e-5
"""Of a divisor, relative: it was computed in float32, where differences of small numbers cost a digit."""
_PUBLISHED_LOW, _PUBLISHED_HIGH = 1.0, 4.0
_CONTEXTS = [8192, *(2**power for power in range(5, 21) if power != 13)]
"""Original contexts to try first: that of all Llama 3 models, then the other powers of two."""


class UnknownScaling(Exception):
    """No parameters give these factors; the message says so as the end of a sentence."""


def llama3_scaling(factors: _Array, theta: float, rotated: int) -> dict[str, Any]:
    """The entries of transformers' `rope_parameters` that give these divisors; none where all are 1.

    Args:
        factors: One divisor per frequency, shape (rotated / 2,).
        theta: The base of the frequencies.
        rotated: How many of a head's dimensions are rotated.

    Raises:
        UnknownScaling: no parameters give these divisors to float32's precision.
    """
    if factors.shape != (rotated // 2,) or not np.all(np.isfinite(factors)) or np.any(factors <= 0):
        raise UnknownScaling(f"does not hold {rotated // 2} divisors of rotary frequencies")
    if np.allclose(factors, 1.0, rtol=_TOLERANCE, atol=0):
        return {}
    frequencies = theta ** (-np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    factor = round(float(factors.max()), 4)
    for context, low, high in _guesses(factors, frequencies, factor):
        if np.allclose(_divisors(frequencies, factor, context, low, high), factors, rtol=_TOLERANCE, atol=0):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": context,
            }
    raise UnknownScaling("holds no scaling of rotary positions that a configuration of Llama 3 can say")


def _divisors(frequencies: _Array, factor: float, context: int, low: float, high: float) -> _Array:
    """The divisor of each frequency: 1 / ((1 - s) / factor + s), with s from 0 to 1 between `low` and `high`."""
    turns = context * frequencies / (2 * math.pi)  # within the original context
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    divisors: _Array = 1.0 / ((1.0 - share) / factor + share)
    return divisors


def _guesses(factors: _Array, frequencies: _Array, factor: float) -> Iterator[tuple[int, float, float]]:
    """Original context, `low_freq_factor` and `high_freq_factor`, likely ones first.

    The three are known up to a common scale, so `low_freq_factor` is 1 throughout.
    """
    for context in _CONTEXTS:
        yield context, _PUBLISHED_LOW, _PUBLISHED_HIGH
    share = (1.0 / factors - 1.0 / factor) / (1.0 - 1.0 / factor)
    between = (share > 1e-4) & (share < 1.0 - 1e-4)
    if between.sum() < 2:
        return
    # share = (context * frequency / 2 pi - 1) / (high - 1): a straight line in the frequency
    slope, start = np.polyfit(frequencies[between], share[between], 1)
    if start >= 0 or slope <= 0:
        return
    high = 1.0 - 1.0 / float(start)
    yield round(float(slope) * (high - 1.0) * 2 * math.pi), 1.0, round(high, 3)
