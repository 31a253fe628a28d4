"""Settings that libraries keep for a whole process, changed for a while and given back.

A run is a guest in a notebook or a program of somebody else's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging as transformers_logging


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Within it, reading and writing a model shows no bars: they would tear the progress view of a run."""
    shown, hub_shows = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
        # The setting of transformers takes the hub's along.
        if hub_shows:
            enable_progress_bars()
        else:
            disable_progress_bars()


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Within it, what runs on a CPU adds in one order: the gradient of a shared prefix is a sum over its rows, which
    threads would add in any."""
    if device.type != "cpu":
        yield
        return
    was, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    # An aid for debugging that comes with it, and only takes time.
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(was, warn_only=warned)


@contextmanager
def grouped_heads(device: torch.device) -> Iterator[None]:
    """Within it, attention on a CPU reads keys and values that several query heads have in common where they are.
    transformers copies them for each head as soon as there is a mask; the numbers are the same."""
    if device.type != "cpu":
        yield
        return
    name = "TRANSFORMERS_SDPA_FORCE_GQA"
    was = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if was is None:
            del os.environ[name]
        else:
            os.environ[name] = was
