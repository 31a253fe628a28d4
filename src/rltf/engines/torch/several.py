"""One engine out of several processes that a launcher started.

Process 0 runs the run as one process would: tasks, judges, records, trainer. Of its engine it has this object, which
cuts the work of each call into shares, has every process do its own with the same model (`spread.py`), and puts the
results together in order. So groups, rewards, baselines and normalisers are whole by construction. The other processes
are in `help_out`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rltf.config import RunConfig, TorchEngineConfig
from rltf.config.load import config_from_json, config_to_json
from rltf.engines.base import Joined, Weights
from rltf.engines.shares import shares
from rltf.engines.torch.engine import torch_engine
from rltf.engines.torch.learner import MICRO_BATCH, TorchLearner, batch_metrics
from rltf.engines.torch.model import number_format, pick_device
from rltf.engines.torch.spread import Alone, Replicated, Sharded
from rltf.engines.torch.team import ProcessLost, Team, is_lost, team
from rltf.support.errors import UserError
from rltf.support.launched import asked_of_accelerate, fsdp_version, is_helper, process_count
from rltf.text.renderer import Renderer
from rltf.types import Answer, Completion, Policy, Query, SamplingParams, Tokens, TrainingSample


def _settings(config: RunConfig) -> TorchEngineConfig:
    """Those of the engine, which processes here can share."""
    if not isinstance(config.engine, TorchEngineConfig):
        raise UserError(f"engine.name={config.engine.name} trains at a server: start the run without a launcher")
    return config.engine


def parallel(config: RunConfig) -> str:
    """How the policy lies over several processes, `ddp` or `fsdp2`; raises `UserError` for what cannot be."""
    engine = _settings(config)
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if asked_of_accelerate(name):
            raise UserError(f"accelerate's configuration turns {name} on, which rltf does not use; choose FSDP or none")
    if pick_device(engine.device).type == "mps":
        raise UserError(f"{process_count()} processes cannot share an MPS device: start the run without a launcher")
    by_accelerate = "fsdp2" if asked_of_accelerate("FSDP") else "ddp"
    chosen = engine.parallel or by_accelerate
    if chosen == "fsdp2":
        if engine.parallel is None and fsdp_version() != 2:
            raise UserError("accelerate's configuration turns FSDP 1 on; set fsdp_version: 2 there")
        if engine.quantize is not None:
            raise UserError(
                f"engine.quantize={engine.quantize}: weights in 4 bits cannot lie in parts over several "
                "processes; set engine.parallel=ddp, or remove it"
            )
        if config.sampler.transfer == "ipc":
            raise UserError(
                "sampler.transfer=ipc reads the weights where they lie, and with fsdp2 no GPU has all of them; set "
                "sampler.transfer=nccl, or engine.parallel=ddp"
            )
    if config.sampler.sleep:
        raise UserError(
            "sampler.sleep=true is for a server and one process on one GPU: start the run without a launcher"
        )
    return chosen


def several_engine(config: RunConfig) -> SeveralEngine:
    """The engine of process 0. The others load the model at the same moment."""
    if is_helper():
        raise UserError(f"{process_count()} processes were started; they share runs of `rltf train` alone: start one")
    parallel(config)
    members = team()
    members.say(config_to_json(config))
    members.serving = True
    return SeveralEngine(members, config)


def help_out() -> None:
    """What every process but the first does, until process 0 dismisses it."""
    members = team()
    while (text := members.hear()) is not None:
        member = _Member(members, config_from_json(text))
        while (order := members.deal()) is not None:
            name, arguments = order
            members.collect(member.outcome(name, arguments))
        member.close()


def dismiss() -> None:
    """Process 0 lets the others go, whether or not it needed them, and has closed its engine. Where a call was left
    half-way, they end when this process does."""
    with suppress(ProcessLost):
        _release(team())
        team().say(None)


def _release(members: Team) -> None:
    """Has the others leave the engine that they serve, if there is one."""
    if members.serving:
        members.serving = False
        members.deal([None] * members.size)


class _Member:
    """The part of the engine that lies in one process. All processes make the same calls, each with its own share."""

    def __init__(self, members: Team, config: RunConfig) -> None:
        settings = _settings(config)
        device = pick_device(settings.device)
        spread: Alone = Replicated(members.index)
        if parallel(config) == "fsdp2":
            spread = Sharded(members.index, members.size, device, number_format(settings, device))
        self._members = members
        self.whole: Any = None
        """The model as one process has it, since it was gathered last: in process 0."""
        self._engine: Joined | None = None
        self._failure = ""
        try:
            self._engine = torch_engine(
                settings, config.trainer, config.rollout.temperature, config.prompts, config.seed, spread
            )
        except UserError as error:
            self._failure = str(error)

    @property
    def engine(self) -> Joined:
        """The engine of this process, once it is ready."""
        assert self._engine is not None
        return self._engine

    @property
    def learner(self) -> TorchLearner:
        """Its learner."""
        assert isinstance(self.engine.learner, TorchLearner)
        return self.engine.learner

    def close(self) -> None:
        """Lets go of the model, if it was loaded."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def outcome(self, name: str, arguments: Mapping[str, Any]) -> tuple[Any, str]:
        """What a call gives, and what is to be said to the user where it cannot be made.

        Any other error ends the process, and the launcher ends the others.
        """
        if self._failure:
            return None, self._failure
        try:
            return getattr(self, "_" + name)(**arguments), ""
        except ProcessLost:
            raise
        except UserError as error:
            if self.learner.spread.sharded and self._members.index:
                # The others may be waiting for this one in the middle of a pass.
                raise
            return None, str(error)
        except RuntimeError as error:
            if is_lost(error):
                raise self._members.lost() from error
            raise

    def _ready(self) -> None:
        """Nothing: whether the model was loaded is known by now."""

    def _generate(self, **share: Any) -> list[list[Completion]]:
        return self.engine.generate(**share)

    def _answer(self, policy: Policy, queries: Sequence[Query]) -> list[Answer]:
        return self.learner.answer_under(policy, queries)

    def _accumulate(self, samples: Sequence[TrainingSample], normalizer: float) -> dict[str, float]:
        return self.learner.accumulate(samples, normalizer)

    def _optim_step(self, learning_rate: float) -> dict[str, float]:
        return dict(self.engine.optim_step(learning_rate))

    def _gather(self) -> None:
        self.whole = self.learner.whole_model()

    def _save(self, path: Path) -> None:
        self.engine.save(path)

    def _load(self, path: Path) -> None:
        self.engine.load(path)

    def _export(self, path: Path) -> None:
        self.engine.export(path)


class SeveralEngine:
    """See `engines.base.Engine`: what process 0 of a run holds."""

    def __init__(self, members: Team, config: RunConfig) -> None:
        self._members = members
        self._member = _Member(members, config)
        self.parallel = parallel(config)
        try:
            self._all("ready")
        except UserError:
            self.close()
            raise
        self.max_tokens = self._member.engine.max_tokens
        """See `Learner`."""
        told = f"{members.size} processes share the run ({self.parallel}): each samples and trains a part"
        self.notes = [*self._member.engine.notes, told]
        """See `Learner`."""

    def _call(self, name: str, parts: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Has every process make a call with its own arguments; returns what they give, in the processes' order."""
        try:
            _, mine = self._members.deal([(name, part) for part in parts])
            outcomes = self._members.collect(self._member.outcome(name, mine))
        except BaseException:
            self._members.apart = True
            raise
        complaints = [complaint for _, complaint in outcomes if complaint]
        if complaints:
            raise UserError(complaints[0])
        return [value for value, _ in outcomes]

    def _all(self, name: str, **arguments: Any) -> Any:
        """The same call in every process, which gives the same in each."""
        return self._call(name, [arguments] * self._members.size)[0]

    @property
    def renderer(self) -> Renderer:
        """See `Learner`."""
        return self._member.engine.renderer

    @property
    def version(self) -> int:
        """See `Learner`."""
        return self._member.engine.version

    @property
    def exact(self) -> bool:
        """See `Sampler`; with the same number of processes."""
        return self._member.engine.exact

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """See `Engine`. A prompt's samples stay together; each has its seed, so that any share draws the same."""
        dealt = shares([len(prompt) + n * sampling.max_tokens for prompt in prompts], self._members.size)
        parts = [
            {
                "prompts": prompts[share.start : share.stop],
                "n": n,
                "sampling": sampling,
                "seeds": seeds[share.start : share.stop],
            }
            for share in dealt
        ]
        return [siblings for part in self._call("generate", parts) for siblings in part]

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """See `Learner`."""
        answers: dict[int, Answer] = {}
        for policy in sorted({query.policy for query in queries}):
            asked = [i for i, query in enumerate(queries) if query.policy == policy]
            dealt = shares([_length(queries[i]) for i in asked], self._members.size)
            parts = [{"policy": policy, "queries": [queries[asked[i]] for i in share]} for share in dealt]
            found = [answer for part in self._call("answer", parts) for answer in part]
            answers |= zip(asked, found, strict=True)
        return [answers[i] for i in range(len(queries))]

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """See `Learner`. The normaliser is the whole batch's, so that the shares' gradients add up to the batch's."""
        dealt = shares([_length(sample) for sample in samples], self._members.size)
        parts = [{"samples": samples[share.start : share.stop], "normalizer": normalizer} for share in dealt]
        totals: dict[str, float] = {}
        for part in self._call("accumulate", parts):
            for name, value in part.items():
                both = min if name == MICRO_BATCH else sum
                totals[name] = both([totals[name], value]) if name in totals else value
        return batch_metrics(totals, samples, normalizer)

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """See `Learner`. The gradients of all processes are summed first."""
        metrics: Mapping[str, float] = self._all("optim_step", learning_rate=learning_rate)
        return metrics

    def weights(self) -> Weights:
        """See `Learner`. Where each process has a part of the model, it is a copy of the whole on process 0's CPU."""
        if not self._member.learner.spread.sharded:
            return self._member.engine.weights()
        self._all("gather")
        return Weights(version=self.version, model=self._member.whole)

    def save(self, path: Path) -> None:
        """See `Learner`. Process 0 writes the whole, so that any number of processes can go on from it."""
        self._all("save", path=path)

    def load(self, path: Path) -> None:
        """See `Learner`. Every process reads the whole."""
        self._all("load", path=path)

    def export(self, path: Path) -> None:
        """See `Learner`."""
        self._all("export", path=path)

    def close(self) -> None:
        """See `Learner`. The other processes wait for another engine, or to be dismissed."""
        with suppress(ProcessLost):  # Then there is nobody left to close anything.
            _release(self._members)
        self._member.close()


def _length(item: Query | TrainingSample) -> int:
    return len(item.prompt_tokens) + len(item.completion_tokens)
