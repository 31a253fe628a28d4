"""What a launcher (`torchrun`, `accelerate launch`) says of the processes that it started together. Torch-free."""

from __future__ import annotations

import os


def process_count() -> int:
    """How many were started for one run; 1 without a launcher."""
    return _number("WORLD_SIZE", 1)


def local_process_count() -> int:
    """How many of them run on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def process_index() -> int:
    """Which of them this is. Process 0 runs the run; the others do their share of its engine's work."""
    return _number("RANK", 0)


def meeting_place() -> str | None:
    """Where they find each other; None where only their number is known, which a scheduler may have set."""
    return os.environ.get("MASTER_ADDR")


def is_helper() -> bool:
    """Whether this process does what process 0 says."""
    return process_count() > 1 and process_index() > 0


def asked_of_accelerate(name: str) -> bool:
    """Whether accelerate's configuration turns a way of its own on, such as `FSDP`."""
    return os.environ.get(f"ACCELERATE_USE_{name}", "").lower() in ("1", "true", "yes")


def fsdp_version() -> int:
    """That of accelerate's configuration."""
    return _number("FSDP_VERSION", 1)


def _number(name: str, otherwise: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else otherwise
