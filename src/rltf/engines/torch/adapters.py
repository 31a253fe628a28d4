"""Low-rank adapters: where they go, and the model with them merged."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rltf.config import LoraConfig
from rltf.engines.torch.quantized import dequantize_into, is_quantized
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed

MOST_OFF = 1e-3
"""How far the log-probabilities of a merged model may be off in the median, in nats: rounding in float32, that is."""
ADAPTER = "adapter"
"""The directory of an exported model that holds the adapters by themselves."""
_PROBED = 32


def add_adapters(model: Any, lora: LoraConfig, seed: int) -> Any:
    """A PEFT model around `model`, whose adapters alone are trained. They begin with random numbers from `seed`."""
    try:
        import peft
    except ImportError as error:
        raise UserError("engine.lora needs the peft package; install rltf with its `lora` extra") from error
    unfit = _unfit(model)
    try:
        with _random_numbers(model.device, seed):
            wrapped = _wrapped(
                model,
                peft.LoraConfig(
                    r=lora.rank,
                    lora_alpha=lora.alpha,
                    target_modules=lora.target_modules,
                    exclude_modules=unfit or None if lora.target_modules == "all-linear" else None,
                    lora_dropout=0.0,
                    task_type="CAUSAL_LM",
                ),
            )
    except ValueError as error:
        raise UserError(f"engine.lora.target_modules: {str(error).strip().splitlines()[0]}") from error
    for name in unfit:
        if isinstance(wrapped.get_base_model().get_submodule(name), peft.tuners.tuners_utils.BaseTunerLayer):
            raise UserError(
                f"engine.lora.target_modules: {name} takes no adapter that could be merged; name others, or all-linear"
            )
    return wrapped


def _wrapped(model: Any, settings: Any) -> Any:
    """The PEFT model around `model`."""
    import peft

    with warnings.catch_warnings():
        # PEFT asks transformers by a name that is on its way out; nobody who trains can mend that.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        return peft.get_peft_model(model, settings)


@contextmanager
def _random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Within it, PyTorch's generators draw what the run's seed says; outside they are as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "adapters"))
        yield


def _unfit(model: Any) -> list[str]:
    """The linear layers among "all" that adapters do not fit, by their full names.

    A router that is a kind of linear layer returns more than one array; the kernels of Mamba read the weights of a
    layer `out_proj` past its adapter; and layers that share their weights could not be merged with an adapter each
    (embedding and output layer apart, see `merged`).
    """
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    uses = Counter(id(module.weight) for module in linear)
    names = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            path, _, last = name.rpartition(".")
            owner = model.get_submodule(path)
            of_mamba = last == "out_proj" and hasattr(owner, "conv1d") and hasattr(owner, "D")
            if of_mamba or uses[id(module.weight)] > 1 or not _is_plain(module):
                names.append(name)
    return names


@torch.no_grad()
def _is_plain(linear: torch.nn.Linear) -> bool:
    """Whether a kind of linear layer takes and gives what a linear layer does."""
    if type(linear).forward is torch.nn.Linear.forward:
        return True
    try:
        weight = linear.weight
        kind = weight.dtype if weight.is_floating_point() else torch.float32  # 4-bit weights lie in bytes.
        found: Any = linear(torch.zeros(1, linear.in_features, dtype=kind, device=weight.device))
    except Exception:  # Whatever it wants instead, it is not what an adapter gets.
        return False
    return isinstance(found, torch.Tensor) and found.shape == (1, linear.out_features)


@torch.no_grad()
def save_adapters(model: Any, path: Path) -> None:
    """Writes the adapters as PEFT has them: `peft.PeftModel.from_pretrained(base, path)` puts them on their base."""
    model.save_pretrained(path)


def merged(model: Any, plain: Callable[[], Any]) -> Any:
    """A copy of a PEFT model's base with the adapters in its weights, in float32, on the CPU.

    In bfloat16 a weight would be rounded to where it was before unless the adapters changed it by more than about a
    400th of it; and the device may not hold a second model. The copy's log-probabilities are compared with those of
    the model with its adapters beside it. Where the output layer shares its weights with the embedding and one of them
    has an adapter, the copy's are two: one weight cannot be both.

    Args:
        model: what was trained. It stays as it is.
        plain: gives the base without adapters in float32 on the CPU; called where the model's own base is quantised.

    Raises:
        UserError: where the copy is another policy.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    whole = _in_float32(model, plain)
    tokens = _probe_tokens(whole)
    expected = _logprobs(whole, tokens)
    base = whole.get_base_model()
    embedding, output = base.get_input_embeddings(), base.get_output_embeddings()
    adapted = any(isinstance(layer, BaseTunerLayer) for layer in (embedding, output))
    if adapted and output is not None and output.weight is embedding.weight:
        layer = output.get_base_layer() if isinstance(output, BaseTunerLayer) else output
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        base.config.get_text_config().tie_word_embeddings = base.config.tie_word_embeddings = False
    single = whole.merge_and_unload()
    single.config.dtype = torch.float32
    # The median: where rounding sends a token to another expert, that token alone is far off.
    off = float((_logprobs(single, tokens) - expected).abs().median())
    if not off <= MOST_OFF:
        raise UserError(
            f"the model with its adapters merged is another one: log-probabilities differ by {off:.2g} nats; it is not "
            "written. The adapters are in the run's newest checkpoint"
        )
    return single


def _in_float32(model: Any, plain: Callable[[], Any]) -> Any:
    """A copy on the CPU, made without a second model on the device."""
    base = model.get_base_model()
    if any(is_quantized(module) for module in base.modules()):
        return _on_plain_base(model, plain())
    tensors = [*model.parameters(), *model.buffers()]
    # Told beforehand what stands for each tensor, deepcopy makes no copy of its own.
    copies = {id(tensor): _copied(tensor) for tensor in tensors}
    whole = copy.deepcopy(model, copies)
    return whole.float()


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    there = tensor.detach().to("cpu", copy=True)
    if there.is_floating_point():
        there = there.float()
    return torch.nn.Parameter(there, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else there


def _on_plain_base(model: Any, plain: Any) -> Any:
    """The adapters of a quantised model on a base in float32 that has the weights which it computes with."""
    import peft

    names = {name.replace(".base_layer", ""): module for name, module in model.get_base_model().named_modules()}
    dequantize_into(plain, names)
    (settings,) = model.peft_config.values()
    whole = _wrapped(plain, copy.deepcopy(settings))
    state = {name: tensor.cpu().float() for name, tensor in peft.get_peft_model_state_dict(model).items()}
    peft.set_peft_model_state_dict(whole, state)
    return whole.eval()


def _probe_tokens(model: Any) -> torch.Tensor:
    vocabulary = model.get_base_model().get_input_embeddings().weight.shape[0]
    return torch.randint(0, vocabulary, (1, _PROBED), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _logprobs(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=tokens).logits[0, :-1].float()
    return torch.log_softmax(logits, -1).gather(-1, tokens[0, 1:, None])
