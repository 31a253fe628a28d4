"""The learner of the engine `tinker`: adapters on a base model at a server of the Tinker API."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rltf.config import PromptsConfig, TinkerEngineConfig, TrainerConfig
from rltf.engines.base import Weights
from rltf.engines.packing import TokenSequence, unique
from rltf.engines.tinker.connection import Connection, sdk
from rltf.engines.tinker.dialects import DIALECTS, check_optimizer
from rltf.engines.tinker.export import export_adapters
from rltf.engines.tinker.gradients import Float64Array, advantages, loss_and_gradient
from rltf.engines.tinker.local import load_local
from rltf.engines.tinker.probe import check_reduction, checks_reduction, grad_norm
from rltf.engines.tinker.requests import check_sample, completion_logprobs, data
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.types import Answer, FloatArray, Message, Query, TrainingSample

Scorer: TypeAlias = Callable[[Sequence[TokenSequence]], list[FloatArray]]
STATE = "tinker.json"
"""In a checkpoint or an export: what the server keeps, and where."""
_EPSILON = 1e-8
"""AdamW's, as in the engine `torch`; the SDK's own is 1e-12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """What is to be sent of a sequence before the next optimiser step."""

    logprobs_T: FloatArray
    gradient_T: Float64Array


class TinkerLearner:
    """See `engines.base.Learner`."""

    def __init__(
        self, config: TinkerEngineConfig, optimizer: TrainerConfig, prompts: PromptsConfig, seed: int = 0
    ) -> None:
        """`seed` is the run's. Raises `UserError` where tokenizer, key or server are missing."""
        self._config, self._optimizer, self._dialect = config, optimizer, DIALECTS[config.server]
        check_optimizer(config, optimizer)
        self._local = load_local(config, prompts)
        self.renderer = self._local.renderer
        self.version = 0
        self.notes = self._notes()
        self._seed = derive_seed(seed, "adapters") % 2**31
        self._initial: Any = None
        self._pending: dict[TokenSequence, _Pending] = {}
        self._sent = False
        self._saved = 0
        self.connection = Connection(config)
        try:
            self._open()
        except BaseException:
            self.connection.close()
            raise

    def _open(self) -> None:
        """Asks the server what it takes, checks it, and has it make the adapters."""
        self.limits = self._local.limits(self.connection.longest(self._config.model))
        self.max_tokens = self.limits.tokens
        if checks_reduction(self._config):
            ends = TokenSequence(
                prompt=self.renderer.prompt([Message(role="user", content="?")]),
                completion=self.renderer.stop_tokens[:1],
            )
            check_reduction(self._config, self.connection, self._new_client(), ends)
        self._adapters, self._untouched = self._new_client(), True

    def _notes(self) -> list[str]:
        notes = [
            "engine.name=tinker is not exact: seeds go along with what is asked, but the server decides what it draws",
            "policy/entropy is an estimate: minus the mean log-probability of the tokens that were sampled",
        ]
        if self._dialect.shared_decay and self._optimizer.weight_decay:
            notes.append(
                f"trainer.weight_decay={self._optimizer.weight_decay:g}: with engine.dialect={self._config.server} it "
                "shrinks the adapters of all who train at that server; have it for yourself"
            )
        if not self._dialect.adam:
            notes.append(
                f"engine.dialect={self._config.server}: betas, weight decay and clipping are those that the server was "
                "started with, not trainer.beta1, beta2, weight_decay and max_grad_norm"
            )
        return notes

    def _new_client(self) -> Any:
        """New adapters at the server; those of a run begin alike."""
        config = self._config
        return self.connection.call(
            f"make adapters of rank {config.lora.rank} on {config.model}",
            lambda: self.connection.service.create_lora_training_client(
                base_model=config.model,
                rank=config.lora.rank,
                seed=self._seed,
                # As in the engine `torch`, where adapters are on the linear layers of the blocks.
                train_unembed=False,
            ),
        )

    @property
    def _client(self) -> Any:
        """The SDK's client, for a request: from then on no state can be loaded into these adapters."""
        self._untouched = False
        return self._adapters

    def weights(self) -> Weights:
        """The training client; see the protocol."""
        return Weights(version=self.version, model=self._client)

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Log-probabilities of the completions; see the protocol. Of the averaged policy there are none."""
        for query in queries:
            if query.policy == "average" or query.top:
                what = "an averaged policy" if query.policy == "average" else "the most likely tokens"
                raise UserError(f"the method asks for {what}; engine.name=tinker has none: take engine.name=torch")
        answers: dict[int, Answer] = {}
        for policy in sorted({query.policy for query in queries}):
            asked = [i for i, query in enumerate(queries) if query.policy == policy]
            score = self._current_logprobs if policy == "current" else self._initial_logprobs
            scored = self._each(score, [queries[i] for i in asked])
            answers |= {i: Answer(logprobs_T=logprobs_T.copy()) for i, logprobs_T in zip(asked, scored, strict=True)}
        return [answers[i] for i in range(len(queries))]

    def _current_logprobs(self, sequences: Sequence[TokenSequence]) -> list[FloatArray]:
        if not sequences:
            return []
        found = self._client.forward([self._data(sequence) for sequence in sequences], "cross_entropy")
        return self._logprobs("score", found, sequences)

    def _initial_logprobs(self, sequences: Sequence[TokenSequence]) -> list[FloatArray]:
        """Those of the base model: adapters begin as no change."""
        if self._initial is None:
            self._initial = self.connection.call(
                "open a sampler of the base model",
                lambda: self.connection.service.create_sampling_client(base_model=self._config.model),
            )
        make = sdk().types.ModelInput.from_ints
        futures = []
        for sequence in sequences:
            tokens = (*sequence.prompt, *sequence.completion)
            self.limits.check(tokens)
            futures.append(self._initial.compute_logprobs(make(list(tokens))))
        return [
            completion_logprobs(self.connection.wait("score under the base model", future), sequence)
            for future, sequence in zip(futures, sequences, strict=True)
        ]

    def _data(self, sequence: TokenSequence, **per_token: Any) -> Any:
        self.limits.check((*sequence.prompt, *sequence.completion))
        return data(sequence, **per_token)

    def _logprobs(self, doing: str, future: Any, sequences: Sequence[TokenSequence]) -> list[FloatArray]:
        """What a pass at the server found of the completions."""
        outputs = self.connection.wait(doing, future).loss_fn_outputs
        if len(outputs) != len(sequences):
            raise UserError(f"the server answered for {len(outputs)} of {len(sequences)} sequences")
        return [
            completion_logprobs(output["logprobs"].data, sequence)
            for output, sequence in zip(outputs, sequences, strict=True)
        ]

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """Accumulates the gradient; see the protocol. Metrics are those of the engine `torch`, but for the entropy,
        which is estimated from the sampled tokens."""
        for sample in samples:
            check_sample(sample)
        read = [sample for sample in samples if sample.weights.any()]
        named = self._dialect.named_losses
        logprobs = self._named(read, normalizer) if named else self._each(self._current_logprobs, read)
        totals: dict[str, float] = defaultdict(float)
        for sample, logprobs_T in zip(read, logprobs, strict=True):
            loss, gradient_T = loss_and_gradient(sample, logprobs_T)
            if not np.isfinite(gradient_T).all():
                raise UserError(
                    f"the gradient of a sample of {sample.component!r} is not finite; the weights are untouched: lower "
                    "trainer.learning_rate, or clip the ratio if objective.sd.ratio=full"
                )
            if not named:
                self._hold(_sequence(sample), logprobs_T, gradient_T / normalizer)
            totals[f"loss/{sample.component}"] += loss / normalizer
            if sample.sampling_logprobs is not None:
                totals["tokens sampled"] += len(logprobs_T)
                totals["entropy"] -= float(logprobs_T.sum())
                totals["sampler_gap"] += float(abs(logprobs_T - sample.sampling_logprobs).sum())
        metrics = {f"loss/{name}": totals[f"loss/{name}"] for name in _components(samples)}
        for sample in samples:
            totals[f"tokens/{sample.component}"] += len(sample.completion_tokens)
        metrics |= {f"tokens/{name}": totals[f"tokens/{name}"] for name in _components(samples)}
        if totals["tokens sampled"]:
            for name in ("entropy", "sampler_gap"):
                metrics[f"policy/{name}"] = totals[name] / totals["tokens sampled"]
        return metrics

    def _hold(self, sequence: TokenSequence, logprobs_T: FloatArray, gradient_T: Float64Array) -> None:
        """Keeps a gradient for the optimiser step: a server that takes means divides by how many sequences there are,
        which is known only then."""
        held = self._pending.get(sequence)
        total_T = gradient_T if held is None else held.gradient_T + gradient_T
        self._pending[sequence] = _Pending(logprobs_T=logprobs_T, gradient_T=total_T)

    def _each(self, score: Scorer, of: Sequence[TrainingSample] | Sequence[Query]) -> list[FloatArray]:
        """Log-probabilities of completions; those that are asked for several times are scored once."""
        sequences, places = unique([_sequence(each) for each in of])
        found: dict[int, FloatArray] = {}
        for logprobs_T, members in zip(score(sequences), places, strict=True):
            found |= dict.fromkeys(members, logprobs_T)
        return [found[i] for i in range(len(of))]

    def _named(self, samples: Sequence[TrainingSample], normalizer: float) -> list[FloatArray]:
        """Log-probabilities of the samples' tokens, which the server trains by losses of its own."""
        kinds: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for i, sample in enumerate(samples):
            kinds[(sample.loss, sample.clip)].append(i)
        under_way = []
        for (loss, clip), members in kinds.items():
            rows = []
            for sample in (samples[i] for i in members):
                weights_T = sample.weights / normalizer
                named: dict[str, Any] = {"weights": weights_T}
                if sample.old_logprobs is not None:
                    # Where a token is masked, a ratio may be infinite, and times 0 it would be no number.
                    old_T = np.where(sample.weights == 0, 0.0, sample.old_logprobs)
                    named = {"logprobs": old_T, "advantages": weights_T}
                rows.append(self._data(_sequence(sample), **named))
            bounds = {"clip_low_threshold": clip[0], "clip_high_threshold": clip[1]}
            config = bounds if loss in ("ppo", "cispo") else None
            under_way.append((members, self._client.forward_backward(rows, loss, config)))
            self._sent = True
        by_sample: dict[int, FloatArray] = {}
        for members, future in under_way:
            found = self._logprobs("train", future, [_sequence(samples[i]) for i in members])
            by_sample |= zip(members, found, strict=True)
        return [by_sample[i] for i in range(len(samples))]

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """Sends the gradients that wait, and has the server take one step."""
        metrics = {"optim/learning_rate": learning_rate}
        pending, self._pending = self._pending, {}
        if not pending and not self._sent:
            # Nothing had a weight. A step would move the weights by what the optimiser remembers.
            self.version += 1
            return metrics | {"optim/grad_norm": 0.0}
        self._sent = False
        sent = None
        if pending:
            rows = [self._gradient(sequence, held, len(pending)) for sequence, held in pending.items()]
            sent = self._client.forward_backward(rows, "importance_sampling")
        optimizer = self._optimizer
        step = self._client.optim_step(
            sdk().types.AdamParams(
                learning_rate=learning_rate,
                beta1=optimizer.beta1,
                beta2=optimizer.beta2,
                eps=_EPSILON,
                weight_decay=optimizer.weight_decay,
                grad_clip_norm=optimizer.max_grad_norm or 0.0,
            )
        )
        if sent is not None:
            self.connection.wait("train", sent)
        norm = grad_norm(self.connection.wait("take an optimiser step", step))
        self.version += 1
        if norm is not None and not norm < float("inf"):
            raise UserError(
                f"the gradient's norm was {norm} at optimiser step {self.version}, and the server's weights are "
                "spoiled: resume the run, which goes on from its newest checkpoint, with a lower trainer.learning_rate"
            )
        return metrics | ({} if norm is None else {"optim/grad_norm": norm})

    def _gradient(self, sequence: TokenSequence, held: _Pending, sequences: int) -> Any:
        targets = len(sequence.prompt) + len(sequence.completion) - 1
        sent_T = advantages(held.gradient_T, self._dialect.reduction, targets=targets, sequences=sequences)
        row = self._data(sequence, logprobs=held.logprobs_T, advantages=sent_T)
        if self._dialect.masks:
            row.loss_fn_inputs["weights"] = self._data(sequence).loss_fn_inputs["weights"]
        return row

    def save(self, path: Path) -> None:
        """Has the server save weights and optimiser, and writes down where; see the protocol."""
        self._saved += 1
        state = self.connection.wait(
            "save its state", self._client.save_state(f"rltf-{self.version:06d}-{self._saved}")
        )
        path.mkdir(parents=True)
        (path / STATE).write_text(json.dumps(self._record() | {"state": state.path}, indent=2) + "\n")

    def load(self, path: Path) -> None:
        """Has the server go on from what `save` had it save.

        Servers load a state as the first thing that adapters are asked for, or not at all.
        """
        try:
            state = json.loads((path / STATE).read_text(encoding="utf-8"))
            saved, version = str(state["state"]), int(state["version"])
            same = (state["model"], state["rank"]) == (self._config.model, self._config.lora.rank)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: this checkpoint cannot be read ({type(error).__name__}); remove the directory to go on from "
                "the one before it"
            ) from error
        if not same:
            raise UserError(f"{path}: its weights are of another model or of other adapters than engine.* names")
        if not self._untouched:
            self._adapters = self._new_client()
        self.connection.wait(f"load the state {saved}", self._client.load_state_with_optimizer(saved))
        self.version, self._pending, self._sent = version, {}, False

    def export(self, path: Path) -> None:
        """Writes the tokenizer, where the server keeps the trained weights, and the adapters, if it hands them out.

        The base model stays where it is, so this is no directory that transformers loads by itself.
        """
        self._saved += 1
        name = f"rltf-{self.version:06d}-{self._saved}"
        weights = self.connection.wait("save its weights", self._client.save_weights_for_sampler(name)).path
        self._local.tokenizer.save_pretrained(path)
        adapters = export_adapters(self.connection, weights, path, kinds=self._dialect.kinds)
        (path / STATE).write_text(json.dumps(self._record() | {"weights": weights, **adapters}, indent=2) + "\n")

    def _record(self) -> dict[str, Any]:
        config = self._config
        server = {
            "model": config.model,
            "rank": config.lora.rank,
            "base_url": config.base_url,
            "dialect": config.server,
        }
        return server | {"version": self.version}

    def close(self) -> None:
        """Ends the session."""
        self._adapters = self._initial = None
        self.connection.close()


def _sequence(of: TrainingSample | Query) -> TokenSequence:
    return TokenSequence(prompt=of.prompt_tokens, completion=of.completion_tokens)


def _components(samples: Sequence[TrainingSample]) -> list[str]:
    return sorted({sample.component for sample in samples})
