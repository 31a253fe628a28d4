"""What settings become that nobody set, where the model is not the built-in one.

The defaults in `config/` are the built-in model's, of one million parameters. For another model what was not set
follows from its size, from whether all its weights are trained or adapters, and from the task. It is settled once,
before a run begins: `config.json` has the values, `defaults.json` the reasons. What is set stays as it is set.

| setting | up to 10 million parameters | above | from 1,000 million on | note |
|---|---|---|---|---|
| `trainer.learning_rate`, all weights | 4e-4 | 1e-5 at 134.5 million, as size^-0.76 | the same, from 1e-6 on | 1 |
| the same, adapters | 4e-4 | twenty times that | the same | 2 |
| `trainer.groups_per_batch` | 16 | 8 | 32 | 3 |
| `trainer.minibatches` | 2 | 1 | 1 | 3 |
| `rollout.max_new_tokens` | 32 | 128; 512 where answers are worked out; room for golds | the same | 4 |
| `objective.sd.coefficient` | 1 | 1 | 0.1 | 5 |
| `objective.fm.coefficient`, `normalize` | 0.05, sum | 0.2, mean | 0.2, mean | 6 |
| `engine.dtype` | float32 | bfloat16 if that is 1.5 times as fast here | the same | 7 |
| `trainer.max_grad_norm` with `engine.name=tinker` | the server's word | the same | the same | 8 |

1. The built-in model learns at 4e-4, SmolLM2-135M at 1e-5; at 4e-4 it is ruined in one step. The power law goes through
   both, and ends at 1e-6, the usual rate for all weights of some thousand million (DAPO, arXiv 2503.14476).
2. The paper's adapters learn at 2e-5 at 8 thousand million, SmolLM2's at 2e-4 to 5e-4. That adapters take ten times the
   rate and more: Schulman et al., "LoRA Without Regret", 2025.
3. The paper: 32 problems, one optimiser step. Fewer for small models, which often learn on a CPU.
4. A limit costs nothing where attempts end before it; an attempt that is cut scores 0. A language model writes around
   its answer what the built-in one does not.
5. The paper's 0.1 at 8 thousand million; SmolLM2 learned at 1.
6. SELF (arXiv 2610.11384) at 4 to 9 thousand million; SmolLM2 at the same.
7. `engines/torch/arithmetic.py` measures it.
8. "none" where the server does not clip as it is told (`engines/tinker/dialects.py`), else as ever.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from rltf.config import (
    RejectionSamplingConfig,
    RltfFmConfig,
    RltfSdConfig,
    RltfSdFmConfig,
    RowsConfig,
    RunConfig,
    TinkerEngineConfig,
    TorchEngineConfig,
    single_tasks,
)
from rltf.config.engines import BUILTIN, on_this_machine
from rltf.config.load import changed
from rltf.engines.tinker.dialects import DIALECTS
from rltf.runs.directory import RunDir
from rltf.support.errors import UserError
from rltf.tasks import Task
from rltf.tasks.base import Family
from rltf.tasks.glance import glance
from rltf.tasks.mixture import parts_of

if TYPE_CHECKING:
    from rltf.engines.torch.size import Size

DEFAULTS = "defaults.json"
"""The file of a run's directory that says what was settled, and why."""
SMALL, LARGE = 10_000_000, 1_000_000_000
"""Parameters up to which a model is treated as the built-in one, and from which as the paper's."""
_REFERENCE, _REFERENCE_RATE, _POWER = 134.5e6, 1e-5, 0.76
_LOWEST_RATE, _ADAPTERS = 1e-6, 20
_WORKED_OUT: frozenset[Family] = frozenset({"puzzle", "maths", "code", "writing"})
_LOOKED_AT = 32
"""Problems whose gold answers are looked at."""
_CHARACTERS_PER_TOKEN = 3
"""Fewer than in English prose: answers are often numbers and code."""
_MOST_NEW_TOKENS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """A setting that was settled for a run."""

    setting: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"not set, so taken: {self.setting}={self.value} ({self.why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Settings with nothing left open."""

    config: RunConfig
    defaults: tuple[Default, ...]


def settle(config: RunConfig, task: Task) -> Settled:
    """Fits to model and task what was not set. Raises `UserError` where the model's config cannot be read.

    The result is settled: to settle it again changes nothing. An engine of the user's has the built-in model's.
    """
    if config.engine.path is not None:
        return Settled(config=config, defaults=())
    return _settled(config, tuple(_defaults(config, task)))


def settle_without_model(config: RunConfig) -> Settled:
    """Fits only what needs neither task nor model, for whoever goes on although one of them cannot be read."""
    return _settled(config, tuple(_by_server(config)))


def _settled(config: RunConfig, found: tuple[Default, ...]) -> Settled:
    return Settled(config=with_defaults(config, found) if found else config, defaults=found)


def with_defaults(config: RunConfig, defaults: Sequence[Default]) -> RunConfig:
    """The settings with what was settled for a run of them."""
    return changed(config, {default.setting: default.value for default in defaults})


def write_defaults(directory: RunDir, settled: Settled) -> None:
    """Writes the reasons into a run's directory."""
    rows = [asdict(default) for default in settled.defaults]
    directory.write_text(DEFAULTS, json.dumps(rows, indent=2) + "\n")


def read_defaults(directory: RunDir) -> list[Default]:
    """What was settled when a run began; empty for runs of versions that settled nothing."""
    if not directory.has(DEFAULTS):
        return []
    try:
        return [Default(**row) for row in json.loads(directory.read_text(DEFAULTS))]
    except (ValueError, TypeError) as error:
        raise UserError(f"{directory.path / DEFAULTS}: is damaged: it is not what a run writes there") from error


def _defaults(config: RunConfig, task: Task) -> Iterator[Default]:
    engine, local = config.engine, on_this_machine(config.engine)
    yield from _by_server(config)
    if isinstance(engine, TorchEngineConfig) and engine.dtype == "auto" and engine.model == BUILTIN:
        yield _dtype(engine)
    if local.model == BUILTIN:
        return
    # Imported here: torch and transformers take seconds to import, and the built-in model needs neither of them yet.
    from rltf.engines.torch.size import size_of

    size = size_of(local)
    if isinstance(engine, TorchEngineConfig) and (
        engine.dtype == "auto" or (size.parameters > SMALL and _is_open(config, "engine.dtype"))
    ):
        yield _dtype(engine)
    if size.parameters <= SMALL:
        return
    for setting, (value, why) in _proposals(config, task, size).items():
        if _is_open(config, setting):
            yield Default(setting=setting, value=value, why=why)


def _by_server(config: RunConfig) -> Iterator[Default]:
    engine = config.engine
    if not isinstance(engine, TinkerEngineConfig) or DIALECTS[engine.server].clips:
        return
    if _is_open(config, "trainer.max_grad_norm"):
        why = f"engine.dialect={engine.server} does not clip as it is told"
        yield Default(setting="trainer.max_grad_norm", value=None, why=why)


def _proposals(config: RunConfig, task: Task, size: Size) -> dict[str, tuple[Any, str]]:
    """By setting, its value for a model of a size, and why. Not all of them are open."""
    named, large = f"{size.parameters / 1e6:,.1f} million parameters", size.parameters >= LARGE
    adapters = config.engine.lora is not None
    trained = "adapters on them are trained" if adapters else "all of them trained"
    minibatches = 1 if _is_open(config, "trainer.minibatches") else config.trainer.minibatches
    found: dict[str, tuple[Any, str]] = {
        "trainer.learning_rate": (learning_rate(size.parameters, adapters=adapters), f"{named}, {trained}"),
        "trainer.groups_per_batch": (groups(large=large, minibatches=minibatches), named),
        "trainer.minibatches": (1, f"{named}: one optimiser step for each batch"),
        # Evaluations have two turns at least.
        "rollout.max_new_tokens": new_tokens(
            task, size.max_tokens, max(2, config.horizon), worked_out=_is_worked_out(config, task)
        ),
    }
    objective = config.objective
    distils = isinstance(objective, RltfSdConfig | RltfSdFmConfig | RejectionSamplingConfig)
    if large and distils and _is_open(config, "objective.sd.initial_coefficient"):
        found["objective.sd.coefficient"] = (0.1, f"{named}, as in the paper")
    if isinstance(objective, RltfFmConfig | RltfSdFmConfig) and not objective.fm.model_fields_set:
        found["objective.fm.coefficient"] = (0.2, f"{named}: of the mean over a feedback's tokens")
        found["objective.fm.normalize"] = ("token_mean", f"{named}: long and short feedback count alike")
    return found


def learning_rate(parameters: int, *, adapters: bool) -> float:
    """Peak rate of AdamW for a pretrained model, to two digits."""
    rate = max(_LOWEST_RATE, _REFERENCE_RATE * (_REFERENCE / parameters) ** _POWER)
    return float(f"{rate * (_ADAPTERS if adapters else 1):.1e}")


def groups(*, large: bool, minibatches: int) -> int:
    """Problems per step, a multiple of the minibatches."""
    return minibatches * math.ceil((32 if large else 8) / minibatches)


def _is_worked_out(config: RunConfig, task: Task) -> bool:
    """Whether answers are such that a language model reasons in words before it gives them."""
    by_value = any(isinstance(t, RowsConfig) and t.scorer in ("numeric", "maths") for t in single_tasks(config.task))
    return by_value or any(part.family in _WORKED_OUT for part in parts_of(task).values())


def new_tokens(task: Task, max_tokens: int, horizon: int, *, worked_out: bool) -> tuple[int, str]:
    """Token limit of an attempt by a pretrained model, and why: room for words around the longest gold answer.

    Args:
        task: whose problems are attempted.
        max_tokens: the longest sequence that the model takes.
        horizon: attempts per episode. All together may fill half of that.
        worked_out: whether the model reasons in words before it answers.
    """
    gold = max(map(_longest_gold, parts_of(task).values()))
    wanted = min(max(512 if worked_out else 128, 2 * gold + 64), _MOST_NEW_TOKENS)
    room = max(1, max_tokens // (2 * horizon))
    why = "answers that are worked out" if worked_out else "short answers"
    if gold:
        why += f", golds of up to about {gold} tokens"
    if room < wanted:
        return room, f"half of the model's {max_tokens:,} tokens for {horizon} attempts"
    return wanted, why


def _longest_gold(task: Task) -> int:
    """About the tokens of the longest gold answer among some problems; 0 where there are no golds."""
    longest = max(len(problem.answer) for problem in glance(task)[:_LOOKED_AT])
    return math.ceil(longest / _CHARACTERS_PER_TOKEN)


def _dtype(engine: TorchEngineConfig) -> Default:
    from rltf.engines.torch.arithmetic import measured
    from rltf.engines.torch.model import pick_device

    found = measured(pick_device(engine.device).type)
    return Default(setting="engine.dtype", value=found.dtype, why=found.told())


def _is_open(config: RunConfig, setting: str) -> bool:
    """Whether nobody has set it."""
    *sections, field = setting.split(".")
    here: BaseModel = config
    for section in sections:
        here = getattr(here, section)
    return field not in here.model_fields_set
