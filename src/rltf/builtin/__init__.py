"""The built-in model: small enough to learn on a laptop in minutes."""

from __future__ import annotations

from pathlib import Path


def builtin_directory() -> Path:
    """Where the package keeps the built-in model, an ordinary Hugging Face directory."""
    return Path(__file__).parent / "model"
