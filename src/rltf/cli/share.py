"""`rltf export` and `rltf push`: a run's tables as files, its model on a hub."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from rltf.runs.card import CARD, card
from rltf.runs.directory import RunDir
from rltf.runs.report import plain
from rltf.runs.run import Run
from rltf.runs.tables import export
from rltf.support.errors import UserError
from rltf.support.hub import endpoint, reachable
from rltf.support.texts import sound

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def export_command(path: Path, out: Path | None) -> None:
    """Writes the tables."""
    for file in export(RunDir.open(path), out if out is not None else path / "tables"):
        Console().print(plain(f"wrote {file}"), soft_wrap=True)


def push_command(path: Path, name: str, *, best: bool, public: bool) -> None:
    """Uploads the model's directory."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name}: is no name on the hub; give OWNER/NAME")
    run = Run.open(path)
    summary = run.summary
    folder = path / "best" if best else run.model
    if summary is None or not folder.is_dir():
        mend = "evaluate on the way with evaluation.every" if best else f"finish it with rltf train --resume {path}"
        raise UserError(f"{path}: the run has no {'best' if best else 'trained'} model; {mend}")
    if not (folder / CARD).is_file():  # A run of an earlier version.
        (folder / CARD).write_text(card(run.config, summary, best=best), encoding="utf-8")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not reachable():
        raise UserError(f"{endpoint()} cannot be reached; try with a network, or upload {folder} from elsewhere")
    try:
        hub = HfApi()
        url = hub.create_repo(name, private=not public, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message=f"Trained with rltf: {summary.method}")
    except (HfHubHTTPError, OSError, ValueError) as error:
        said = sound(str(error)).strip().splitlines()
        raise UserError(f"{name}: not pushed: {said[0] if said else type(error).__name__}") from error
    Console().print(plain(f"pushed {folder} to {url}"), soft_wrap=True)
