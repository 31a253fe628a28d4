"""The learner of the engine `torch`: scores and trains a policy with PyTorch and transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from rltf.config import PromptsConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Weights
from rltf.engines.packing import Layout, TokenSequence, right_align, unique
from rltf.engines.torch import fixed
from rltf.engines.torch.adapters import ADAPTER, merged, save_adapters
from rltf.engines.torch.attention import fast_attention, float32_attention, has_kernels, is_slow
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.forward import BoolArray, Pass, Prefixes, completion_pass, passes, token_logprobs
from rltf.engines.torch.heap import compact_heap
from rltf.engines.torch.memory import LOGITS, token_budget
from rltf.engines.torch.model import load_model, load_weights
from rltf.engines.torch.optimizer import MasterAdamW, holding
from rltf.engines.torch.process import deterministic, grouped_heads, without_progress_bars
from rltf.engines.torch.room import TooLarge, give_back, room_for
from rltf.engines.torch.self_check import check_batching, check_fixed, check_unmasked
from rltf.engines.torch.spread import Alone
from rltf.engines.torch.token_losses import Figures, backward, is_read, tokens_to_read
from rltf.support.errors import UserError
from rltf.text.renderer import Renderer
from rltf.types import Answer, FloatArray, Policy, Query, TokenDistributions, TrainingSample

T = TypeVar("T")
MICRO_BATCH, SAMPLED = "memory/micro_batch_tokens", "tokens sampled"
_WEIGHTS, _AVERAGE, _OPTIMIZER = "weights.safetensors", "average.safetensors", "optimizer.pt"


class TorchLearner:
    """See `engines.base.Learner`."""

    def __init__(
        self,
        config: TorchEngineConfig,
        optimizer: TrainerConfig,
        temperature: float,
        prompts: PromptsConfig | None = None,
        seed: int = 0,
        spread: Alone | None = None,
    ) -> None:
        """`temperature` is that of the policy which is trained: scores and losses divide the logits by it. `seed`: the
        run's. `spread`: how the policy lies over several processes, each of which has a learner and makes its calls."""
        loaded = load_model(config, prompts, seed)
        self._config, self._prompts, self._seed = config, prompts, seed
        self.spread = spread or Alone()
        self._temperature = temperature
        self._model, self._tokenizer, self._device = loaded.model, loaded.tokenizer, loaded.device
        self._initial: Any = None
        self._copy: Any = None
        self._average: dict[str, torch.Tensor] | None = None
        self._average_decay = optimizer.average_decay
        self.token_budget = token_budget(config, self._model.config, self._device, training=True)
        self.reading_budget = token_budget(config, self._model.config, self._device, training=False)
        self._halved = False
        self.renderer: Renderer = loaded.renderer
        self.max_tokens = loaded.max_tokens
        self.version = 0
        checked = check_batching(self._model, config.model, config.share_prefixes, self.max_tokens)
        self.batching, self._head_apart, self.notes = checked.batching, checked.head_apart, list(checked.notes)
        self.fixed_columns = 0
        """How long sequences may be that are decoded with tensors of fixed shape."""
        if config.cuda_graphs and not self.spread.sharded and self._device.type in fixed.RECORDED_ON:
            self.fixed_columns, notes = check_fixed(self._model, self.batching, self.max_tokens)
            self.notes += notes
        self.unmasked = has_kernels(self._model) and check_unmasked(self._model, self.batching, self.max_tokens)
        """Whether passes are laid out so that attention needs no mask."""
        self.spread.place(self._model, adapters=config.lora is not None)
        self._trainable = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        self._max_grad_norm = optimizer.max_grad_norm
        self._optimizer = MasterAdamW(self._trainable, optimizer, self._device)

    def weights(self) -> Weights:
        """The live model; see the protocol."""
        return Weights(version=self.version, model=self._model)

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Log-probabilities of the completions; see the protocol."""
        answers: dict[int, Answer] = {}
        for policy in sorted({query.policy for query in queries}):
            asked = [i for i, query in enumerate(queries) if query.policy == policy]
            answers |= zip(asked, self.answer_under(policy, [queries[i] for i in asked]), strict=True)
        return [answers[i] for i in range(len(queries))]

    @torch.no_grad()
    def answer_under(self, policy: Policy, queries: Sequence[Query]) -> list[Answer]:
        """Answers queries that name one policy; there may be none, where other processes have some."""
        with compact_heap(self._model), self._under(policy) as model, self.spread.gathered(), self._attention():
            work = partial(self._answers, model, queries)
            while (found := self._fitting(work)) is None:
                pass
        return found

    def _fitting(self, work: Callable[[], T]) -> T | None:
        """What some passes give; None where memory ran out, and fewer tokens are to go into each from now on."""
        try:
            return work()
        except TooLarge as found:
            fewer, self._halved = found.smaller(), True
            if not self.spread.retries:
                raise UserError(
                    f"the device has not enough memory for {found.tokens:,} tokens in one pass, and with fsdp2 all "
                    f"processes would have to begin again: set engine.micro_batch_tokens={fewer}"
                ) from found
        self.token_budget, self.reading_budget = min(self.token_budget, fewer), min(self.reading_budget, fewer)
        give_back(self._device)
        return None

    def _answers(self, model: Any, queries: Sequence[Query]) -> list[Answer]:
        pairs, places = unique(
            [TokenSequence(prompt=query.prompt_tokens, completion=query.completion_tokens) for query in queries]
        )
        answers: dict[int, Answer] = {}
        layouts = self.batching.layouts(pairs, self.reading_budget, from_left=self.unmasked)
        for layout, prefixes in passes(model, layouts, self._device):
            lengths = [len(pairs[member].completion) for member in layout.members]
            read_BT = right_align([np.ones(length, dtype=np.bool_) for length in lengths], layout.completion_columns)
            most = max(queries[place].top for member in layout.members for place in places[member])
            with room_for(layout):
                logprobs_N, top = self._read(self._pass(model, layout, read_BT, prefixes), most)
            start = 0
            for member, length in zip(layout.members, lengths, strict=True):
                tokens = slice(start, start + length)
                start += length
                for place in places[member]:
                    asked = queries[place].top
                    answers[place] = Answer(
                        logprobs_T=logprobs_N[tokens].copy(),
                        top=None
                        if top is None or not asked
                        else TokenDistributions(
                            tokens_TK=top.tokens_TK[tokens, :asked].copy(),
                            logprobs_TK=top.logprobs_TK[tokens, :asked].copy(),
                        ),
                    )
        return [answers[i] for i in range(len(queries))]

    def _pass(self, model: Any, layout: Layout, read_BT: BoolArray, prefixes: Prefixes | None = None) -> Pass:
        device, apart = self._device, self._head_apart
        return completion_pass(model, layout, device, self._temperature, read_BT, apart=apart, prefixes=prefixes)

    def _chunk(self) -> int:
        """For how many tokens logits are made at a time."""
        return self._config.logit_chunk or max(1, LOGITS // int(self._model.config.get_text_config().vocab_size))

    def _read(self, found: Pass, most: int) -> tuple[FloatArray, TokenDistributions | None]:
        """Log-probabilities `[N]` of a pass's tokens, and the `most` likely tokens (or all) at each of them."""
        logprobs: list[torch.Tensor] = []
        likely: list[tuple[torch.Tensor, torch.Tensor]] = []
        chunk = self._chunk()
        for states_CH, token_C in zip(found.states_NH.split(chunk), found.token_N.split(chunk), strict=True):
            logits_CV = found.logits(states_CH)
            logprobs.append(token_logprobs(logits_CV, token_C).cpu())
            if most:
                values, tokens = logits_CV.topk(min(most, logits_CV.shape[-1]), dim=-1)
                likely.append((tokens.cpu(), (values - torch.logsumexp(logits_CV, dim=-1, keepdim=True)).cpu()))
        tops = [torch.cat(parts).numpy() for parts in zip(*likely, strict=True)]
        top = TokenDistributions(tokens_TK=tops[0], logprobs_TK=tops[1]) if tops else None
        return torch.cat(logprobs).numpy(), top

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Attention as this device has it fastest."""
        with fast_attention(self.unmasked), float32_attention(is_slow(self._model)):
            yield

    @contextmanager
    def _under(self, policy: Policy) -> Iterator[Any]:
        """The model with the weights of a policy."""
        if policy == "current":
            yield self._model
        elif policy == "average":
            with holding(self._trainable, self._averages(), in_place=self.spread.sharded):
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
        `policy/sampler_gap` (mean |log pi - log pi_sampler| per token). Where memory ran out,
        `memory/micro_batch_tokens`: what fits into one pass; the step was begun again with that.
        """
        return batch_metrics(self.accumulate(samples, normalizer), samples, normalizer)

    def accumulate(self, samples: Sequence[TrainingSample], normalizer: float) -> dict[str, float]:
        """Adds the gradient of some samples, all or this process's share; returns sums for `batch_metrics`."""
        # What was added before is put aside: a pass that runs out of memory leaves a part of its gradient behind.
        before = {name: w.grad for name, w in self._optimizer.masters.items() if w.grad is not None}
        self._optimizer.zero_grad()
        work = partial(self._backward, samples, normalizer)
        with compact_heap(self._model):
            while (figures := self._fitting(work)) is None:
                self._optimizer.zero_grad()
        for name, gradient in before.items():
            master = self._optimizer.masters[name]
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        totals = figures.sums() | ({SAMPLED: float(figures.sampled)} if figures.sampled else {})
        if self._halved:
            totals[MICRO_BATCH] = float(self.token_budget)
        return totals

    def _backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Figures:
        """Adds the gradient of all samples."""
        figures = Figures()
        read = [sample for sample in samples if is_read(sample).any()]
        sequences, places = unique(
            [TokenSequence(prompt=s.prompt_tokens, completion=s.completion_tokens) for s in read]
        )
        layouts = self.batching.layouts(sequences, self.token_budget, from_left=self.unmasked) if sequences else []
        shared = self.batching is Batching.SHARED
        with (
            self.spread.training(len(layouts), self._empty_pass, shared=shared),
            deterministic(self._device),
            grouped_heads(self._device),
            self._attention(),
        ):
            for layout, prefixes in passes(self._model, layouts, self._device):
                # Several samples may have the same tokens: each has its own weights on the same row.
                rows = [(row, read[place]) for row, member in enumerate(layout.members) for place in places[member]]
                read_BT, kinds = tokens_to_read(layout, rows)
                with room_for(layout):
                    found = self._pass(self._model, layout, read_BT, prefixes)
                    backward(found, kinds, normalizer, self._chunk(), figures)
        return figures

    def _empty_pass(self) -> None:
        """A pass whose gradient is zero, for the other processes, which wait for this one's part in each of theirs."""
        (layout,) = self.batching.layouts([TokenSequence(prompt=(0,), completion=(0,))], self.token_budget)
        found = self._pass(self._model, layout, np.ones((1, 1), dtype=np.bool_))
        logits = found.logits(found.states_NH)
        logits.backward(torch.zeros_like(logits))

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """Clips, steps and clears; a gradient that is not finite stops the run before it harms the weights."""
        self.spread.reduce(self._optimizer.masters)
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
        weights = {name: self.spread.whole(w) for name, w in self._optimizer.masters.items()}
        average = self._average and {name: self.spread.whole(a) for name, a in self._average.items()}
        state = {"optimizer": self._optimizer.state(self.spread.whole), "version": self.version}
        if not self.spread.writes:
            return
        path.mkdir(parents=True)
        save_file(weights, path / _WEIGHTS)
        if average is not None:
            save_file(average, path / _AVERAGE)
        # Another split into passes would round otherwise.
        split = {"micro_batch_tokens": (self.token_budget, self.reading_budget)} if self._halved else {}
        torch.save(state | split, path / _OPTIMIZER)

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
        part, masters = self.spread.part, self._optimizer.masters
        self._average = None if average is None else {n: part(average[n], like) for n, like in masters.items()}
        self._optimizer.load(weights, state["optimizer"], part)
        self.version = int(state["version"])
        if "micro_batch_tokens" in state:
            (self.token_budget, self.reading_budget), self._halved = state["micro_batch_tokens"], True

    @without_progress_bars()
    def export(self, path: Path) -> None:
        """Writes model and tokenizer in the ordinary Hugging Face format, adapters merged, and these in `adapter/`."""
        model = self.whole_model()
        if model is None:
            return
        if self._config.lora is not None:
            save_adapters(model, path / ADAPTER)
            model = merged(model, self._plain_base)
        model.save_pretrained(path)
        self._tokenizer.save_pretrained(path)

    def whole_model(self) -> Any:
        """The model as one process has it: of a sharded one a copy on the CPU, the same object each time; None in a
        process that writes none. Every process asks at the same moment."""
        if not self.spread.sharded:
            return self._model if self.spread.writes else None
        trained = {name: self.spread.whole(w) for name, w in self._optimizer.masters.items()}
        if not self.spread.writes:
            return None
        if self._copy is None:
            on_cpu = self._config.model_copy(update={"device": "cpu", "gradient_checkpointing": False})
            self._copy = load_model(on_cpu, self._prompts, self._seed).model
        with torch.no_grad():
            for name, parameter in self._copy.named_parameters():
                if name in trained:
                    parameter.copy_(trained[name])
        return self._copy

    def _plain_base(self) -> Any:
        plain = self._config.model_copy(update={"quantize": None, "dtype": "float32"})
        return load_weights(plain, torch.device("cpu"))

    def close(self) -> None:
        """Lets go of the model."""
        self._model = self._initial = self._copy = self._average = None
        self._trainable = {}


def batch_metrics(
    totals: Mapping[str, float], samples: Sequence[TrainingSample], normalizer: float
) -> dict[str, float]:
    """What `forward_backward` returns, of sums over the tokens of all the samples."""
    metrics = {f"loss/{name}": totals.get(f"loss/{name}", 0.0) / normalizer for name in _components(samples)}
    for name in _components(samples):
        metrics[f"tokens/{name}"] = float(sum(len(s.completion_tokens) for s in samples if s.component == name))
    if sampled := totals.get(SAMPLED):
        metrics |= {f"policy/{name}": totals[f"policy/{name}"] / sampled for name in ("entropy", "sampler_gap")}
    return metrics | ({MICRO_BATCH: totals[MICRO_BATCH]} if MICRO_BATCH in totals else {})


def _components(samples: Sequence[TrainingSample]) -> list[str]:
    return sorted({sample.component for sample in samples})
