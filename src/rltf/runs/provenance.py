"""What a run ran on: versions, revision, machine. No paths, no variables, no keys."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from rltf.support.launched import process_count

_PACKAGES = ("rltf", "torch", "transformers", "tokenizers", "peft", "numpy", "reasoning-gym", "tinker")


def environment() -> dict[str, Any]:
    """Versions of what decides a run's numbers."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "processes": process_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git_revision": git_revision(),
    }


def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, with `+changes` if files differ; None when installed."""
    here = Path(__file__).parent
    revision = _git(here, "rev-parse", "HEAD")
    if revision is None or _git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return revision + ("+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
