"""Python files of the user's: trusted code, whose errors are told in one line."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from rltf.support.errors import Stopped, TaskHung, UserError
from rltf.support.user_code import TookTooLong, call_user_code


def load_module(file: Path, setting: str) -> ModuleType:
    """The module in a file, which is run once, and once more after each change.

    `setting` names it in the `UserError` of a file that does not load.
    """
    try:
        path = file.expanduser().resolve()
    except RuntimeError as error:  # no such user
        raise UserError(f"{setting}: {error}") from error
    if not path.is_file():
        raise UserError(f"{setting}: there is no file {path}")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{setting}: {path} cannot be read: {error.strerror}") from error
    return _load(path, setting, digest)


class _Source(SourceFileLoader):
    """Runs what stands in the file. Compiled code that is kept beside it is told from another by the second alone."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """None, by which the loader keeps and takes no compiled code."""
        raise OSError


@cache
def _load(path: Path, setting: str, digest: str) -> ModuleType:
    # Named for its place: a file called json.py, or two of one name, stand in nobody's way.
    name = f"rltf_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    execute = spec.loader.exec_module
    module = importlib.util.module_from_spec(spec)
    # As for a program of its own: dataclasses look their module up, and files beside it can be imported.
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        call_user_code(lambda: execute(module), place=f"{setting}: loading the file")
    except (Stopped, KeyboardInterrupt):
        raise
    except TookTooLong as error:
        raise TaskHung(f"{setting}: loading the file {describe(error, path)}") from error
    except BaseException as error:
        del sys.modules[name]
        raise UserError(f"{setting}: the file raised {describe(error, path)}") from error
    return module


def describe(error: BaseException, path: Path) -> str:
    """An error with the last line of a file that it passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{error}{place}" if isinstance(error, TookTooLong) else f"{type(error).__name__}: {error}{place}"
