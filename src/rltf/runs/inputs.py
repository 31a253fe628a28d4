"""The files of the user's that a run's settings name: which they were, whether they changed, whose code they hold.

A run's directory may come from somebody else, with settings that name a Python file. Nothing of it is to run unasked:
the digests in `inputs.json` are marked with a key that lies on this machine alone, and code is run only where the mark
is right and the files are as they were.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rltf.config import RunConfig, UserMethodConfig
from rltf.config.load import task_files
from rltf.runs.directory import RunDir
from rltf.support.errors import UserError

INPUTS = "inputs.json"
"""In a run's directory: SHA-256 of each file by its path."""
CHANGED_INPUTS = "changed_inputs.jsonl"
"""There as well: which of them have changed when the run was resumed, after which step, from what and to what."""
_MARK = "inputs.mark"
"""There as well: a mark on these digests that this machine alone can make."""


def named_files(config: RunConfig) -> list[str]:
    """The files of the user's that settings name: task, method, engine, log, judges' prompts, feedback function."""
    function, other, objective = config.feedback.function, config.evaluation.judge, config.objective
    named = (
        *task_files(config.task),
        objective.path.rpartition(":")[0] if isinstance(objective, UserMethodConfig) else None,
        config.log.path,
        config.judge.prompt,
        other.prompt if other else None,
        function.rpartition(":")[0] if function else None,
        config.engine.path.rpartition(":")[0] if config.engine.path else None,
    )
    return [path for path in named if path is not None]


def input_digests(config: RunConfig) -> dict[str, str]:
    """By path, the SHA-256 of each file of the user's. Raises `UserError` for one that cannot be read."""
    return {path: _digest(path) for path in named_files(config)}


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}, which the settings name, cannot be read: {error.strerror}") from error


def mark_of(config: RunConfig, digests: Mapping[str, str]) -> str | None:
    """The mark of a run that begins with these files; None where its settings name no code.

    Made before there is a run, as this machine may have no place for the key.
    """
    runs_code = config.engine.trust_remote_code or any(file.endswith(".py") for file in digests)
    return _mark(digests) if runs_code else None


def write_inputs(run: RunDir, digests: Mapping[str, str], mark: str | None) -> None:
    """Keeps which files a run began with, or goes on with."""
    run.write_text(INPUTS, json.dumps(dict(digests), indent=2) + "\n")
    if mark is not None:
        run.write_text(_MARK, mark + "\n")


def check_inputs(run: RunDir, config: RunConfig, *, accept: bool) -> dict[str, tuple[str, str]]:
    """Refuses files that are not those of the run, unless `accept`; returns what has changed, from what to what.

    Raises `UserError` for a file that has changed, and for code that this machine has not seen begin.
    """
    kept, _ = _kept(run)
    digests = input_digests(config)
    changed = {file: (kept.get(file, ""), digest) for file, digest in digests.items() if kept.get(file) != digest}
    if accept:
        return changed
    if changed:
        raise UserError(
            f"{next(iter(changed))} has changed since {run.path} began; bring it back as it was, begin another run, or "
            "go on with --accept-changed-files, which the run keeps a record of"
        )
    check_code(run, config, named_files(config))
    return {}


def check_code(run: RunDir, config: RunConfig, files: Sequence[str]) -> None:
    """Refuses code among `files` that the settings run and that this machine has not seen the run begin with."""
    kept, mark = _kept(run)
    code = {file: digest for file, digest in input_digests(config).items() if file in files and file.endswith(".py")}
    if not code and not config.engine.trust_remote_code:
        return
    mine = hmac.compare_digest(mark, _mark(kept))
    for file, digest in code.items():
        if kept.get(file) != digest:
            reason = f"{file} is not the code that {run.path} began with"
        elif not mine:
            reason = f"{run.path} was not begun on this machine, and its settings run the code in {file}"
        else:
            continue
        raise UserError(f"{reason}: read it, and if you trust it, go on with --accept-changed-files")
    if config.engine.trust_remote_code and not mine:
        raise UserError(
            f"{run.path} was not begun on this machine, and engine.trust_remote_code runs the code of its model: read "
            "it, and if you trust it, go on with --accept-changed-files"
        )


def _kept(run: RunDir) -> tuple[dict[str, str], str]:
    """The digests that the run has on record, and their mark."""
    kept = json.loads(run.read_text(INPUTS)) if run.has(INPUTS) else {}
    return kept, run.read_text(_MARK).strip() if run.has(_MARK) else ""


def _mark(digests: Mapping[str, str]) -> str:
    text = json.dumps(dict(sorted(digests.items())))
    return hmac.new(_key(), text.encode(), "sha256").hexdigest()


def _key() -> bytes:
    """A secret of this user on this machine, made when it is first needed."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "rltf" / "key"
        with suppress(FileNotFoundError):
            return state.read_bytes()
        state.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not there at all, whoever else makes one at this moment; readable by its owner alone.
        descriptor, partial = tempfile.mkstemp(dir=state.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        with suppress(FileExistsError):
            os.link(partial, state)
        Path(partial).unlink()
        return state.read_bytes()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"a run with code of yours keeps a key in XDG_STATE_HOME, or ~/.local/state, and cannot write there: "
            f"{error}; set XDG_STATE_HOME to a directory of yours"
        ) from error
