"""`rltf train --dry-run --gpus N --gpu-memory GIB`: what a run would need on GPUs that are not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from rltf.config import RunConfig, TorchEngineConfig
from rltf.runs.build import build_task
from rltf.runs.defaults import settle
from rltf.runs.report import plain
from rltf.support.errors import UserError

if TYPE_CHECKING:
    from rltf.engines.torch.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """What is planned for."""

    count: int
    memory: float
    """Of each, in GiB."""

    def __str__(self) -> str:
        return f"{self.count} GPU{'s' * (self.count > 1)} of {self.memory:g} GiB"


def print_plan(console: Console, config: RunConfig, gpus: Gpus, prompt_tokens: int) -> str:
    """Prints what each GPU would hold, for each way of spreading the run, and what to set; a complaint if none fits.

    Args:
        console: where.
        config: the settings as they were given: what is left out is settled for GPUs, not for this machine.
        gpus: what is planned for.
        prompt_tokens: about how long a question is.
    """
    from rltf.engines.torch.memory import GIB, settings_of
    from rltf.engines.torch.plan import plans

    engine = settings_of(config)
    # A copy, so that what nobody has set is still open.
    there = config.model_copy(update={"engine": engine.model_copy(update=_on_gpus(engine))})
    try:
        there = settle(there, build_task(there.task)).config
        found = plans(there, prompt_tokens, gpus.count, gpus.memory * GIB)
    except UserError as error:
        return str(error)
    console.print(_table(found, gpus, settings_of(there).dtype))
    fitting = [plan for plan in found if plan.fits(gpus.memory * GIB)]
    if not fitting:
        return f"no way fits on {gpus}: {_mends(there, found[-1], gpus)}"
    chosen = fitting[0]
    settings = " ".join(setting for setting in chosen.settings if gpus.count > 1 or "parallel" not in setting)
    launcher = f"torchrun --nproc_per_node {gpus.count} -m rltf train" if gpus.count > 1 else "rltf train"
    console.print(plain(f"on {gpus}, the fastest that fits: {launcher} ... {settings}".rstrip()), soft_wrap=True)
    return ""


def _on_gpus(engine: TorchEngineConfig) -> dict[str, str]:
    """What the engine's settings become there. Every GPU that a plan is made for computes faster in bfloat16."""
    is_open = "dtype" not in engine.model_fields_set or engine.dtype == "auto"
    return {"device": "cuda"} | ({"dtype": "bfloat16"} if is_open else {})


def _table(found: list[Plan], gpus: Gpus, dtype: str) -> Table:
    from rltf.engines.torch.memory import GIB

    table = Table(title=f"on each of {gpus}, in {dtype}, GiB, computed", title_justify="left")
    table.add_column("")
    for plan in found:
        table.add_column(plan.way if gpus.count > 1 else "one process", justify="right")
    rows = {
        "libraries": [plan.process for plan in found],
        "weights held": [plan.weights for plan in found],
        "optimiser": [plan.optimizer for plan in found],
        "further policies (reference, teacher)": [plan.reference for plan in found],
        "sampling: weights gathered": [plan.gathered for plan in found],
        "sampling: cache and logits": [plan.sampling for plan in found],
        "training: weights gathered": [plan.gathered_in_training for plan in found],
        "training: gradients": [plan.gradients for plan in found],
        "training: activations of a micro-batch": [plan.training for plan in found],
        "at the peak": [plan.peak for plan in found],
        "moved to and from other GPUs in a step": [plan.traffic for plan in found],
    }
    for name, values in rows.items():
        if any(values):
            table.add_row(name, *(f"{value / GIB:.2f}" for value in values))
    table.add_row("fits", *("yes" if plan.fits(gpus.memory * GIB) else "no" for plan in found))
    return table


def _mends(config: RunConfig, least: Plan, gpus: Gpus) -> str:
    """What would lower the plan that takes least."""
    from rltf.engines.torch.memory import GIB, settings_of

    engine = settings_of(config)
    mends = []
    model = least.gathered or least.weights
    if model > gpus.memory * GIB / 2:
        return (
            f"the model takes {model / GIB:.0f} GiB, and each GPU samples with the whole of it: take larger GPUs, a "
            "smaller model, engine.quantize=nf4 with engine.lora.rank, or another engine (docs/scale.md)"
        )
    if not engine.gradient_checkpointing and least.training > least.gradients:
        mends.append("engine.gradient_checkpointing=true")
    if engine.lora is None:
        mends.append("engine.lora.rank=32")
    elif engine.quantize is None:
        mends.append("engine.quantize=nf4")
    if engine.dtype == "float32":
        mends.append("engine.dtype=bfloat16")
    return f"try {', '.join(mends) or 'a smaller model'}, more GPUs, or another engine (docs/scale.md)"
