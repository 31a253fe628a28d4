"""`rltf get-model`: brings a model onto this machine before a run needs it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from rltf.runs.report import plain
from rltf.support.errors import UserError

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
"""What transformers reads of a repository on the hub; others hold the weights several times over."""


def get_model_command(name: str) -> None:
    """Fetches `smollm2`, converts a GGUF file, or fetches a model by hub name; says where it lies."""
    from rltf.engines.torch.model import source_of

    source = source_of(name)
    if not Path(source).is_dir():
        source = _from_hub(source)
    console = Console(soft_wrap=True)
    console.print(plain(f"{name} lies in {source}"))
    console.print(plain(f"try it: rltf rollout {name} --task maths"))


def _from_hub(name: str) -> str:
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(name, allow_patterns=_FILES))
    except Exception as error:
        # The hub's client has an error for each way in which a name, a right or a network can be missing.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{name}: there is no such model here, nor can it be had from the hub: {reason}") from error
