"""What a process holds of a CPU's memory over what it uses, kept small.

Two things make it grow without this. PyTorch's bfloat16 products keep a compiled kernel, a quarter of a MiB, for each
number of tokens that they have seen, a thousand kernels in each of two caches (pytorch/pytorch#98688). And the C
library keeps what is freed for later blocks of that size, which batches of many lengths do not ask for again. Together
a run of SmolLM2 came to hold more than twice of what it used.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "128"}
"""How many compiled kernels PyTorch's products keep: enough for one pass through a model."""
_SMALL = 10_000_000
"""Parameters up to which a model's memory is too little to save: its steps would take a tenth more time."""
_OWN_PAGES = 1 << 20
"""Bytes from which on a tensor gets pages of its own, which are given back as soon as it is freed."""
_OWN_PAGES_ELSEWHERE = 32 << 20
"""What the C library comes to by itself."""
_M_MMAP_THRESHOLD = -3


def keep_few_kernels() -> None:
    """To be called before the process's first product; a number that the environment holds already stays."""
    for name, most in KERNELS.items():
        os.environ.setdefault(name, most)


@contextmanager
def compact_heap(model: torch.nn.Module) -> Iterator[None]:
    """Within it what a model computes on a CPU leaves nothing behind; at its end free memory goes back."""
    library = _glibc() if _large_on_cpu(model) else None
    if library is None:
        yield
        return
    library.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES)
    try:
        yield
    finally:
        library.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_ELSEWHERE)
        library.malloc_trim(0)


def _large_on_cpu(model: torch.nn.Module) -> bool:
    weights = list(model.parameters())
    return all(w.device.type == "cpu" for w in weights) and sum(w.numel() for w in weights) > _SMALL


@cache
def _glibc() -> Any:
    """The C library, where it is GNU's; None elsewhere."""
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallopt, library.malloc_trim  # noqa: B018  An AttributeError where they are missing.
    except (OSError, AttributeError):
        return None
    return library
