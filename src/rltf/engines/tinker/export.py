"""Fetches trained adapters from a server of the Tinker API."""

from __future__ import annotations

import json
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from safetensors import safe_open

from rltf.engines.tinker.connection import Connection, ServerLost

ADAPTER = "adapter"
"""The directory of an export that holds them, as PEFT reads them."""
_FILES = ("adapter_config.json", "adapter_model.safetensors")
_MOST = 64 * 2**30
"""Bytes of a file that are believed to be adapters."""
_CHUNK = 2**20


def export_adapters(connection: Connection, weights: str, path: Path, *, kinds: bool) -> dict[str, Any]:
    """Puts the adapters behind a server's path (`tinker://run/sampler_weights/name`) into a directory.

    Not every server hands them out. What was trained is there all the same, so nothing is raised: what is returned says
    it, for the record. `kinds`: see `Dialect`.
    """
    run, _, name = weights.removeprefix("tinker://").partition("/")
    try:
        _fetch(connection, run, name if kinds else name.rpartition("/")[2], path / ADAPTER)
    except (ServerLost, OSError, tarfile.TarError, ValueError) as error:
        return {"adapter": None, "why": f"the server keeps the adapters: {' '.join(str(error).split())[:300]}"}
    return {"adapter": ADAPTER}


def _fetch(connection: Connection, run: str, name: str, target: Path) -> None:
    rest = connection.call("open its archive", connection.service.create_rest_client)
    url = connection.wait("hand out its adapters", rest.get_checkpoint_archive_url(run, name)).url
    if not url.startswith(("http://", "https://")):
        raise ValueError("it gave no address that begins with http:// or https://")
    with tempfile.TemporaryFile() as archive:
        with urllib.request.urlopen(url, timeout=connection.timeout) as answer:
            while part := answer.read(_CHUNK):
                archive.write(part)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as files:
            _unpack(files, target)


def _unpack(files: tarfile.TarFile, target: Path) -> None:
    """Two files by name, wherever they stand in the archive; nothing else of it is looked at."""
    found = {Path(member.name).name: member for member in files if member.isfile() and member.size < _MOST}
    if not all(name in found for name in _FILES):
        raise ValueError(f"its archive does not hold {' and '.join(_FILES)}")
    target.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        source = files.extractfile(found[name])
        assert source is not None
        with (target / name).open("wb") as out:
            while part := source.read(_CHUNK):
                out.write(part)
    _name_modules(target)


def _name_modules(target: Path) -> None:
    """PEFT does not load adapters whose settings leave open which modules have one, as SkyRL's do."""
    config = json.loads((target / _FILES[0]).read_text(encoding="utf-8"))
    if config.get("target_modules"):
        return
    with safe_open(target / _FILES[1], framework="np") as weights:
        modules = {key.partition(".lora_")[0].rpartition(".")[2] for key in weights.keys() if ".lora_" in key}  # noqa: SIM118
    config["target_modules"] = sorted(modules)
    (target / _FILES[0]).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
