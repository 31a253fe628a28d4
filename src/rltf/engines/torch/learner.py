"""The learner of the engine `torch`: scores and trains a policy with PyTorch and transformers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from rltf.config import PromptsConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Weights
from rltf.engines.losses import TokenBatch, entropy, token_loss
from rltf.engines.packing import Layout, TokenSequence, right_align, unique
from rltf.engines.torch.adapters import ADAPTER, merged, save_adapters
from rltf.engines.torch.forward import completion_logits, token_logprobs
from rltf.engines.torch.model import load_model, load_weights
from rltf.engines.torch.optimizer import MasterAdamW, holding
from rltf.engines.torch.process import deterministic, without_progress_bars
from rltf.engines.torch.self_check import check_batching
from rltf.support.errors import UserError
from rltf.text.renderer import Renderer
from rltf.types import Answer, FloatArray, Policy, Query, TokenDistributions, TrainingSample

_CPU_TOKEN_BUDGET, _TOKEN_BUDGET = 2_048, 16_384
_WEIGHTS, _AVERAGE, _OPTIMIZER = "weights.safetensors", "average.safetensors", "optimizer.pt"


class TorchLearner:
    """See `engines.base.Learner`."""

    def __init__(
        self,
        config: TorchEngineConfig,
        optimizer: TrainerConfig,
        temperature: float,
        prompts: PromptsConfig | None = None,
    ) -> None:
        """`temperature` is that of the policy which is trained: scores and losses divide the logits by it."""
        loaded = load_model(config, prompts)
        self._config = config
        self._temperature = temperature
        self._model, self._tokenizer, self._device = loaded.model, loaded.tokenizer, loaded.device
        self._initial: Any = None
        self._average: dict[str, torch.Tensor] | None = None
        self._average_decay = optimizer.average_decay
        default_budget = _CPU_TOKEN_BUDGET if self._device.type == "cpu" else _TOKEN_BUDGET
        self.token_budget = config.micro_batch_tokens or default_budget
        self.renderer: Renderer = loaded.renderer
        self.max_tokens = loaded.max_tokens
        self.version = 0
        checked = check_batching(self._model, config.model, config.share_prefixes, self.max_tokens)
        self.batching, self.notes = checked.batching, list(checked.notes)
        self._trainable = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        self._max_grad_norm = optimizer.max_grad_norm
        self._optimizer = MasterAdamW(self._trainable, optimizer, self._device)

    def weights(self) -> Weights:
        """The live model; see the protocol."""
        return Weights(version=self.version, model=self._model)

    @torch.no_grad()
    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Log-probabilities of the completions; see the protocol."""
        answers: dict[int, Answer] = {}
        for policy in sorted({query.policy for query in queries}):
            asked = [i for i, query in enumerate(queries) if query.policy == policy]
            with self._under(policy) as model:
                answers |= zip(asked, self._answers(model, [queries[i] for i in asked]), strict=True)
        return [answers[i] for i in range(len(queries))]

    def _answers(self, model: Any, queries: Sequence[Query]) -> list[Answer]:
        pairs, places = unique(
            [TokenSequence(prompt=query.prompt_tokens, completion=query.completion_tokens) for query in queries]
        )
        answers: dict[int, Answer] = {}
        for layout in self.batching.layouts(pairs, self.token_budget):
            logits, tokens = completion_logits(model, layout, self._device, self._temperature)
            logprobs = token_logprobs(logits, tokens).cpu().numpy()
            most = max(queries[place].top for member in layout.members for place in places[member])
            top = self._top(logits, most) if most else None
            for row, member in enumerate(layout.members):
                start = logprobs.shape[1] - len(pairs[member].completion)
                for place in places[member]:
                    asked = queries[place].top
                    answers[place] = Answer(
                        logprobs_T=logprobs[row, start:].copy(),
                        top=None
                        if top is None or not asked
                        else TokenDistributions(
                            tokens_TK=top.tokens_TK[row, start:, :asked].copy(),
                            logprobs_TK=top.logprobs_TK[row, start:, :asked].copy(),
                        ),
                    )
        return [answers[i] for i in range(len(queries))]

    @staticmethod
    def _top(logits_BTV: torch.Tensor, k: int) -> TokenDistributions:
        """The `k` most likely tokens, or all; arrays have a batch axis before theirs."""
        values, tokens = logits_BTV.topk(min(k, logits_BTV.shape[-1]), dim=-1)
        logprobs = values - torch.logsumexp(logits_BTV, dim=-1, keepdim=True)
        return TokenDistributions(tokens_TK=tokens.cpu().numpy(), logprobs_TK=logprobs.cpu().numpy())

    @contextmanager
    def _under(self, policy: Policy) -> Iterator[Any]:
        """The model with the weights of a policy."""
        if policy == "current":
            yield self._model
        elif policy == "average":
            with holding(self._trainable, self._averages()):
                yield self._model
        elif self._config.lora is not None:
            with self._model.disable_adapter():
                yield self._model
        else:
            if self._initial is None:
                self._initial = load_weights(self._config, self._device)
            yield self._initial

    def _averages(self) -> dict[str, torch.Tensor]:
        """The running average of the weights in float32, which begins when it is first asked for."""
        if self._average is None:
            self._average = {name: master.detach().clone() for name, master in self._optimizer.masters.items()}
        return self._average

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """Accumulates the gradient; see the protocol.

        Metrics, per component c: `loss/c`, `tokens/c`; and of what the policy wrote itself `policy/entropy` and
        `policy/sampler_gap` (mean |log pi - log pi_sampler| per token).
        """
        totals: dict[str, float] = defaultdict(float)
        sequences, places = unique(
            [TokenSequence(prompt=s.prompt_tokens, completion=s.completion_tokens) for s in samples]
        )
        if self._config.gradient_checkpointing:
            # Only in training mode are activations recomputed; dropout is off in either.
            self._model.train()
        for layout in self.batching.layouts(sequences, self.token_budget):
            # Several samples may have the same tokens: each has its own weights on the same row.
            rows = [(row, samples[place]) for row, member in enumerate(layout.members) for place in places[member]]
            with deterministic(self._device):
                loss = self._micro_batch_loss(layout, rows, totals) / normalizer
                loss.backward()
        if self._config.gradient_checkpointing:
            self._model.eval()
        metrics = {f"loss/{name}": totals[f"loss/{name}"] / normalizer for name in _components(samples)}
        metrics |= {f"tokens/{name}": totals[f"tokens/{name}"] for name in _components(samples)}
        if totals["tokens sampled"]:
            for name in ("entropy", "sampler_gap"):
                metrics[f"policy/{name}"] = totals[f"policy/{name}"] / totals["tokens sampled"]
        return metrics

    def _micro_batch_loss(
        self, layout: Layout, rows: Sequence[tuple[int, TrainingSample]], totals: dict[str, float]
    ) -> torch.Tensor:
        """Summed loss of samples, each given with its row in the layout. Axis S: samples of one kind."""
        logits, tokens = completion_logits(self._model, layout, self._device, self._temperature)
        logprobs = token_logprobs(logits, tokens)
        loss = logprobs.new_zeros(())
        for kind in sorted({_kind(s) for _, s in rows}):
            chosen = [(row, s) for row, s in rows if _kind(s) == kind]
            samples = [sample for _, sample in chosen]
            index_S = torch.tensor([row for row, _ in chosen], device=self._device)
            batch = self._token_batch(samples, logprobs[index_S], logits, index_S)
            part = token_loss(samples[0].loss, batch).sum()
            component = samples[0].component
            totals[f"loss/{component}"] += part.item()
            totals[f"tokens/{component}"] += sum(len(s.completion_tokens) for s in samples)
            loss = loss + part
            if samples[0].sampling_logprobs is not None or samples[0].entropy_weight:
                loss = loss - self._entropy_bonus(samples, logprobs[index_S], logits, index_S, totals)
        return loss

    def _token_batch(
        self, samples: Sequence[TrainingSample], logprobs_ST: torch.Tensor, logits: torch.Tensor, index_S: torch.Tensor
    ) -> TokenBatch:
        """What the loss of samples of one kind reads."""
        columns = logprobs_ST.shape[1]
        batch = TokenBatch(
            logprobs_BT=logprobs_ST,
            weights_BT=self._aligned([s.weights for s in samples], columns),
            old_logprobs_BT=self._aligned_or_none([s.old_logprobs for s in samples], columns),
            clip=samples[0].clip,
        )
        targets = [s.targets for s in samples if s.targets is not None]
        if not targets:
            return batch
        tokens_STK = self._aligned([t.tokens_TK for t in targets], columns)
        normaliser_ST1 = torch.logsumexp(logits, dim=-1, keepdim=True)[index_S]
        return replace(
            batch,
            target_logprobs_BTK=self._aligned([t.logprobs_TK for t in targets], columns),
            policy_logprobs_BTK=logits[index_S].gather(-1, tokens_STK) - normaliser_ST1,
        )

    def _entropy_bonus(
        self,
        samples: Sequence[TrainingSample],
        logprobs_ST: torch.Tensor,
        logits: torch.Tensor,
        index_S: torch.Tensor,
        totals: dict[str, float],
    ) -> torch.Tensor:
        """The bonus of samples of one kind, and the figures of those among them that the policy wrote itself."""
        columns = logprobs_ST.shape[1]
        mask_ST = self._aligned([np.ones(len(s.completion_tokens), dtype=np.float32) for s in samples], columns)
        weight = samples[0].entropy_weight
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(weight)):
            entropy_ST = entropy(logits)[index_S] * mask_ST
        sampled_ST = self._aligned_or_none([s.sampling_logprobs for s in samples], columns)
        if sampled_ST is not None:
            totals["tokens sampled"] += mask_ST.sum().item()
            totals["policy/entropy"] += entropy_ST.sum().item()
            totals["policy/sampler_gap"] += ((logprobs_ST - sampled_ST).detach().abs() * mask_ST).sum().item()
        return (entropy_ST * weight).sum()

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """Clips, steps and clears; a gradient that is not finite stops the run before it harms the weights."""
        norm = self._optimizer.clip(self._max_grad_norm)
        if not np.isfinite(norm):
            raise UserError(
                f"the gradient's norm is {norm} at optimiser step {self.version + 1}; the weights are "
                "untouched: lower trainer.learning_rate, or clip the ratio if objective.sd.ratio=full"
            )
        self._optimizer.step(learning_rate)
        self.version += 1
        if self._average is not None:
            for name, average in self._average.items():
                average.lerp_(self._optimizer.masters[name].detach(), 1.0 - self._average_decay)
        return {"optim/grad_norm": norm, "optim/learning_rate": learning_rate}

    def save(self, path: Path) -> None:
        """Writes trained weights in float32, optimiser state and version; the caller makes the directory safe."""
        path.mkdir(parents=True)
        weights = {name: w.detach().cpu().contiguous() for name, w in self._optimizer.masters.items()}
        save_file(weights, path / _WEIGHTS)
        if self._average is not None:
            save_file({name: a.cpu().contiguous() for name, a in self._average.items()}, path / _AVERAGE)
        torch.save({"optimizer": self._optimizer.state(), "version": self.version}, path / _OPTIMIZER)

    def load(self, path: Path) -> None:
        """Restores what `save` wrote, onto this engine's device."""
        try:
            weights = load_file(path / _WEIGHTS)
            average = load_file(path / _AVERAGE) if (path / _AVERAGE).is_file() else None
            state = torch.load(path / _OPTIMIZER, map_location=self._device, weights_only=True)
        except Exception as error:
            # safetensors, pickle and zip each have errors of their own for a damaged file.
            raise UserError(
                f"{path}: this checkpoint cannot be read ({type(error).__name__}); remove the directory to go on from "
                "the one before it"
            ) from error
        if weights.keys() != self._trainable.keys():
            raise UserError(f"{path}: its weights are of another model or of other adapters than engine.* names")
        self._average = None if average is None else {n: average[n].to(self._device) for n in self._trainable}
        self._optimizer.load(weights, state["optimizer"])
        self.version = int(state["version"])

    @without_progress_bars()
    def export(self, path: Path) -> None:
        """Writes model and tokenizer in the ordinary Hugging Face format, adapters merged, and these in `adapter/`."""
        model = self._model
        if self._config.lora is not None:
            save_adapters(model, path / ADAPTER)
            model = merged(model, self._plain_base)
        model.save_pretrained(path)
        self._tokenizer.save_pretrained(path)

    def _plain_base(self) -> Any:
        plain = self._config.model_copy(update={"quantize": None, "dtype": "float32"})
        return load_weights(plain, torch.device("cpu"))

    def close(self) -> None:
        """Lets go of the model."""
        self._model = self._initial = self._average = None
        self._trainable = {}

    def _aligned(self, rows: Sequence[NDArray[Any]], columns: int) -> torch.Tensor:
        return torch.from_numpy(right_align(rows, columns)).to(self._device)

    def _aligned_or_none(self, rows: Sequence[FloatArray | None], columns: int) -> torch.Tensor | None:
        given = [row for row in rows if row is not None]
        assert len(given) in (0, len(rows)), "samples of one kind agree in what they carry"
        return self._aligned(given, columns) if given else None


def _kind(sample: TrainingSample) -> tuple[Any, ...]:
    """Samples of one kind go through their loss together."""
    names = 0 if sample.targets is None else sample.targets.tokens_TK.shape[1]
    sampled = sample.sampling_logprobs is not None
    return (sample.loss, sample.clip, sample.component, names, sampled, sample.entropy_weight)


def _components(samples: Sequence[TrainingSample]) -> list[str]:
    return sorted({sample.component for sample in samples})
