"""Loads a policy: any causal language model of transformers with its tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from rltf.builtin import builtin_directory
from rltf.config import PromptsConfig, TorchEngineConfig
from rltf.config.engines import BUILTIN, SMOLLM2
from rltf.engines.torch.adapters import add_adapters
from rltf.engines.torch.arithmetic import measured
from rltf.engines.torch.checkpointing import checkpoint_layers
from rltf.engines.torch.pretrained import gguf_directory, is_gguf, smollm2_directory
from rltf.engines.torch.process import without_progress_bars
from rltf.engines.torch.quantized import check_quantization, loading_options, without_packing
from rltf.support.errors import UserError
from rltf.support.hub import copies_alone_without_hub
from rltf.text.renderer import Renderer
from rltf.text.turns import DIALOGUE
from rltf.types import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model on its device and what goes with it."""

    model: Any
    """A `PreTrainedModel`, or a `PeftModel` around one."""
    tokenizer: Any
    renderer: Renderer
    device: torch.device
    max_tokens: int


def pick_device(name: str) -> torch.device:
    """The device that `engine.device` means on this machine."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    if not available[name]:
        raise UserError(f"engine.device={name}: this machine has none that PyTorch can use; set engine.device=auto")
    return torch.device(name)


def number_format(config: TorchEngineConfig, device: torch.device) -> torch.dtype:
    """What `engine.dtype` means on a device. A run settles `auto` before it begins (`runs/defaults.py`)."""
    name = measured(device.type).dtype if config.dtype == "auto" else config.dtype
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def source_of(model: str) -> str:
    """The directory or hub name behind `engine.model`. A GGUF file, or `smollm2`, is converted on first use."""
    if model == BUILTIN:
        return str(builtin_directory())
    if model == SMOLLM2:
        return str(smollm2_directory())
    if is_gguf(model) and not Path(model).is_dir():
        return str(gguf_directory(model))
    try:
        path = Path(model).expanduser()
        is_directory = path.is_dir()
    except (OSError, RuntimeError) as error:
        raise UserError(f"engine.model={model[:80]}: is no path and no hub name: {first_line(error)}") from error
    if is_directory:
        if (path / "environment.json").is_file():
            raise UserError(f"engine.model={model}: is a run's directory; its model is {path / 'model'}")
        if not (path / "config.json").is_file():
            raise UserError(
                f"engine.model={model}: the directory holds no model (no config.json); "
                "give a Hugging Face model directory, such as a run's `model`"
            )
        return str(path)
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1 or os.sep + os.sep in model
    # `runs/mine` could be a hub name, but where `runs` is a directory here, it is a mistyped run.
    if looks_like_path or (len(path.parts) > 1 and Path(path.parts[0]).is_dir()):
        raise UserError(f"engine.model={model}: no such directory; give `builtin`, a model directory or a hub name")
    return model


def _unloadable(source: str, part: str) -> str:
    """What to say of a model that does not load. A name that is no directory here is a hub's, or misspelt."""
    if Path(source).is_dir():
        return f"its {part} cannot be loaded"
    return f"there is no such directory here, and from the hub its {part} cannot be loaded"


@without_progress_bars()
def load_weights(config: TorchEngineConfig, device: torch.device) -> Any:
    """The model as its source has it, without adapters, in evaluation mode (no dropout)."""
    check_quantization(config, device)
    source, dtype = source_of(config.model), number_format(config, device)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=config.trust_remote_code,
            **loading_options(config, device, dtype),
        )
    except Exception as error:
        # A broken directory shows itself in as many kinds of error as there are libraries that read it.
        raise UserError(f"engine.model={config.model}: {_unloadable(source, 'model')}: {first_line(error)}") from error
    absent = sorted(map(str, [*report.get("missing_keys", ()), *report.get("mismatched_keys", ())]))
    if absent:
        raise UserError(
            f"engine.model={config.model}: {len(absent)} of its weights are missing or of another shape than "
            f"config.json says, such as {absent[0]}; they would be random numbers"
        )
    if config.quantize is not None:
        without_packing(model)
        return model.eval()
    return model.to(device).eval()


@without_progress_bars()
def load_tokenizer(config: TorchEngineConfig) -> Any:
    """The tokenizer with its chat template, or the one that is set in its place."""
    source = source_of(config.model)
    with _copies_alone(source) as missing:
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=config.trust_remote_code)
        except Exception as error:
            what = _unloadable(source, "tokenizer")
            reason = _no_tokenizer(source) or missing or first_line(error)
            raise UserError(f"engine.model={config.model}: {what}: {reason}") from error
    if config.chat_template is not None:
        try:
            tokenizer.chat_template = Path(config.chat_template).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, RuntimeError) as error:
            raise UserError(f"engine.chat_template={config.chat_template}: {first_line(error)}") from error
    if config.chat_template is not None and not tokenizer.chat_template:
        raise UserError(f"engine.chat_template={config.chat_template}: the file is empty; name another")
    if not tokenizer.chat_template:
        raise UserError(
            f"engine.model={config.model}: its tokenizer has no chat template; set engine.chat_template to a "
            "Jinja file or choose an instruction-tuned model"
        )
    return tokenizer


def check_weights(config: TorchEngineConfig) -> None:
    """Refuses a directory whose files of weights are missing or cut short; reads no more of them than their heads."""
    directory = Path(source_of(config.model))
    if not directory.is_dir():
        return
    here = f"engine.model={config.model}: the directory"
    files = sorted(directory.glob("*.safetensors"))
    if not files and not any(directory.glob("*.bin")):
        raise UserError(f"{here} holds no weights (no *.safetensors)")
    for index in directory.glob("*.safetensors.index.json"):
        try:
            named = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{here}'s {index.name} cannot be read: {first_line(error)}") from error
        if absent := sorted(named - {file.name for file in files}):
            raise UserError(f"{here} has no {absent[0]}, which its {index.name} names")
    for file in files:
        try:
            with safe_open(str(file), framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise UserError(f"{here}'s {file.name} is damaged or cut short: {first_line(error)}") from error


def _no_tokenizer(source: str) -> str:
    """That a directory has none, where it has none; an empty text otherwise."""
    directory = Path(source)
    names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
    if not directory.is_dir() or any((directory / name).is_file() for name in names):
        return ""
    return "the directory holds none; copy tokenizer.json and tokenizer_config.json from where the model was had"


def _copies_alone(source: str) -> AbstractContextManager[str]:
    """Within it, a hub that cannot be reached is not tried again and again; gives that reason, or an empty text."""
    return nullcontext("") if Path(source).is_dir() else copies_alone_without_hub()


def load_for_prompts(config: TorchEngineConfig, prompts: PromptsConfig) -> tuple[Renderer, int]:
    """What the prompts of a run can be checked with before weights are read: its renderer, and the longest sequence."""
    tokenizer = load_tokenizer(config)
    renderer = _renderer(tokenizer, _stop_tokens(tokenizer, None), prompts)
    _probe(config, renderer, prompts)
    return renderer, longest_sequence(load_description(config))


def load_description(config: TorchEngineConfig) -> Any:
    """The model's own config, which says what it is without its weights."""
    source = source_of(config.model)
    with _copies_alone(source) as missing:
        try:
            return AutoConfig.from_pretrained(source, trust_remote_code=config.trust_remote_code)
        except Exception as error:
            what = _unloadable(source, "config")
            raise UserError(f"engine.model={config.model}: {what}: {missing or first_line(error)}") from error


def _renderer(tokenizer: Any, stop_tokens: Sequence[int], prompts: PromptsConfig) -> Renderer:
    return Renderer(tokenizer, stop_tokens, day=prompts.day, keep_thinking=prompts.thinking == "kept")


def longest_sequence(config: Any) -> int:
    """Tokens, of prompt and completion, that a model of this config takes."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", 1 << 30))


def load_model(config: TorchEngineConfig, prompts: PromptsConfig | None = None, seed: int = 0) -> LoadedModel:
    """Tokenizer first, as its faults are found without reading weights; then the model and its adapters, which begin
    with random numbers from the run's `seed`."""
    device = pick_device(config.device)
    check_quantization(config, device)
    tokenizer = load_tokenizer(config)
    prompts = prompts or PromptsConfig()
    _probe(config, _renderer(tokenizer, _stop_tokens(tokenizer, None), prompts), prompts)
    model = load_weights(config, device)
    renderer = _renderer(tokenizer, _stop_tokens(tokenizer, model.generation_config), prompts)
    if not renderer.stop_tokens:
        raise UserError(f"engine.model={config.model}: its tokenizer and template end no turn, so no answer could end")
    if config.lora is not None:
        model = add_adapters(model, config.lora, seed)
    if config.gradient_checkpointing and not checkpoint_layers(model):
        kind = model.config.model_type
        raise UserError(f"engine.gradient_checkpointing: models of the kind {kind} cannot do that; set it to false")
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        renderer=renderer,
        device=device,
        max_tokens=longest_sequence(model.config),
    )


def _probe(config: TorchEngineConfig, renderer: Renderer, prompts: PromptsConfig) -> None:
    """Refuses a chat template that fails, or that leaves out what it is given, a system prompt included."""
    source = "engine.chat_template" if config.chat_template is not None else f"engine.model={config.model}"
    for given in (DIALOGUE[:1], DIALOGUE):
        try:
            text = renderer.text(renderer.prompt(given))
        except Exception as error:
            raise UserError(f"{source}: the chat template fails: {first_line(error)}") from error
        if any(message.content not in text for message in given):
            raise UserError(f"{source}: the chat template leaves out a message's text; use another template")
    if prompts.system is not None:
        _probe_system(renderer)


def _probe_system(renderer: Renderer) -> None:
    system = Message(role="system", content="some rules")
    for given in ((system, *DIALOGUE[:1]), (system, *DIALOGUE)):
        try:
            prompt = renderer.prompt(given)
        except Exception as error:
            raise UserError(
                f"prompts.system: the model's chat template takes no system message ({first_line(error)}); remove it, "
                "and put its text into the task's questions"
            ) from error
        if system.content not in renderer.text(prompt):
            raise UserError(
                "prompts.system: the model's chat template leaves the system message out; remove it, and put its text "
                "into the task's questions"
            )


def _stop_tokens(tokenizer: Any, generation: Any) -> list[int]:
    """The ids that end an answer by word of the tokenizer and of the generation config, where there is one.

    The renderer adds the one of its template.
    """
    configured = generation.eos_token_id if generation is not None else None
    ids = [tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])]
    return list(dict.fromkeys(token for token in ids if token is not None))


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line."""
    text = str(error).strip()
    if "trust_remote_code" in text:
        return "it needs code of its own; read that, and if you trust it, set engine.trust_remote_code=true"
    return text.splitlines()[0] if text else type(error).__name__
