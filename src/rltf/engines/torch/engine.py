"""The engine `torch`: one process samples, scores and trains with PyTorch and transformers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from rltf.config import TorchEngineConfig, TrainerConfig
from rltf.engines.losses import entropy, token_loss
from rltf.engines.packing import Layout, TokenSequence, micro_batches, right_align, separate, share_prefixes, unique
from rltf.engines.torch import sampler as torch_sampler
from rltf.engines.torch.forward import completion_logits, token_logprobs
from rltf.engines.torch.model import load_model, load_weights
from rltf.support.errors import UserError
from rltf.text.renderer import Renderer
from rltf.types import Completion, FloatArray, SamplingParams, Tokens, TrainingSample

_CPU_TOKEN_BUDGET, _TOKEN_BUDGET = 2_048, 16_384
_WEIGHTS, _OPTIMIZER = "weights.safetensors", "optimizer.pt"


class TorchEngine:
    """See `engines.base.Engine`."""

    def __init__(self, config: TorchEngineConfig, optimizer: TrainerConfig, temperature: float) -> None:
        """`temperature` is that of the policy which is trained: scores and losses divide the logits by it."""
        loaded = load_model(config)
        self._config = config
        self._temperature = temperature
        self._model, self._tokenizer, self._device = loaded.model, loaded.tokenizer, loaded.device
        if self._device.type == "cpu":
            # The gradient of a shared prefix is a sum over its rows, which threads would add in any order.
            torch.use_deterministic_algorithms(True, warn_only=True)
        self._initial: Any = None
        default_budget = _CPU_TOKEN_BUDGET if self._device.type == "cpu" else _TOKEN_BUDGET
        self._token_budget = config.micro_batch_tokens or default_budget
        self.renderer: Renderer = loaded.renderer
        self.max_tokens = loaded.max_tokens
        self.policy_version = 0
        self._trainable = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        self._max_grad_norm = optimizer.max_grad_norm
        self._optimizer = torch.optim.AdamW(
            self._trainable.values(),
            lr=optimizer.learning_rate,
            betas=(optimizer.beta1, optimizer.beta2),
            weight_decay=optimizer.weight_decay,
            fused=self._device.type in ("cpu", "cuda"),
        )

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seed: int
    ) -> list[list[Completion]]:
        """Samples; see the protocol."""
        if not prompts:
            return []
        return torch_sampler.generate(
            self._model,
            self._device,
            prompts,
            n,
            sampling,
            seed,
            stop_tokens=self.renderer.stop_tokens,
            share=self._config.share_prefixes,
            token_budget=self._token_budget,
            decode_batch=self._config.decode_batch,
        )

    @torch.no_grad()
    def score(self, sequences: Sequence[tuple[Tokens, Tokens]], *, initial_policy: bool = False) -> list[FloatArray]:
        """Log-probabilities of the completions; see the protocol."""
        pairs, places = unique(
            [TokenSequence(prompt=prompt, completion=completion) for prompt, completion in sequences]
        )
        results: list[FloatArray] = [np.zeros(0, dtype=np.float32)] * len(sequences)
        model = self._initial_model() if initial_policy else self._model
        adapters_off = initial_policy and self._config.lora is not None
        for layout in self._layouts(pairs):
            if adapters_off:
                with self._model.disable_adapter():
                    logits, tokens = completion_logits(model, layout, self._device, self._temperature)
            else:
                logits, tokens = completion_logits(model, layout, self._device, self._temperature)
            logprobs = token_logprobs(logits, tokens).cpu().numpy()
            for row, member in enumerate(layout.members):
                length = len(pairs[member].completion)
                for place in places[member]:
                    results[place] = logprobs[row, logprobs.shape[1] - length :].copy()
        return results

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """Accumulates the gradient; see the protocol.

        Metrics, per component c: `loss/c`, `tokens/c`; and of the `policy` component `policy/entropy` and
        `policy/sampler_gap` (mean |log pi - log pi_sampler| per token).
        """
        totals: dict[str, float] = defaultdict(float)
        sequences, places = unique(
            [TokenSequence(prompt=s.prompt_tokens, completion=s.completion_tokens) for s in samples]
        )
        if self._config.gradient_checkpointing:
            # Only in training mode are activations recomputed; dropout is off in either.
            self._model.train()
        for layout in self._layouts(sequences):
            # Several samples may have the same tokens: each has its own weights on the same row.
            rows = [(row, samples[place]) for row, member in enumerate(layout.members) for place in places[member]]
            loss = self._micro_batch_loss(layout, rows, totals) / normalizer
            loss.backward()
        if self._config.gradient_checkpointing:
            self._model.eval()
        metrics = {f"loss/{name}": totals[f"loss/{name}"] / normalizer for name in _components(samples)}
        metrics |= {f"tokens/{name}": totals[f"tokens/{name}"] for name in _components(samples)}
        if totals["tokens/policy"]:
            for name in ("entropy", "sampler_gap"):
                metrics[f"policy/{name}"] = totals[f"policy/{name}"] / totals["tokens/policy"]
        return metrics

    def _micro_batch_loss(
        self, layout: Layout, rows: Sequence[tuple[int, TrainingSample]], totals: dict[str, float]
    ) -> torch.Tensor:
        """Summed loss of samples, each given with its row in the layout. Axis S: samples of one kind."""
        columns = layout.completion_columns
        logits, tokens = completion_logits(self._model, layout, self._device, self._temperature)
        logprobs = token_logprobs(logits, tokens)
        loss = logprobs.new_zeros(())
        for kind in sorted({(s.loss, s.clip, s.component) for _, s in rows}):
            name, clip, component = kind
            chosen = [(row, s) for row, s in rows if (s.loss, s.clip, s.component) == kind]
            samples = [sample for _, sample in chosen]
            index_S = torch.tensor([row for row, _ in chosen], device=self._device)
            mask_ST = self._floats([np.ones(len(s.completion_tokens), dtype=np.float32) for s in samples], columns)
            zeros = np.zeros(0, dtype=np.float32)
            old_ST = self._floats([zeros if s.old_logprobs is None else s.old_logprobs for s in samples], columns)
            weights_ST = self._floats([s.weights for s in samples], columns)
            part = token_loss(name, logprobs[index_S], weights_ST, old_ST, clip).sum()
            totals[f"loss/{component}"] += part.item()
            totals[f"tokens/{component}"] += mask_ST.sum().item()
            loss = loss + part
            if component == "policy":
                loss = loss - self._entropy_bonus(samples, index_S, logits, mask_ST, totals)
                gap_ST = (logprobs[index_S] - old_ST).detach().abs() * mask_ST
                totals["policy/sampler_gap"] += gap_ST.sum().item()
        return loss

    def _entropy_bonus(
        self,
        samples: Sequence[TrainingSample],
        index_S: torch.Tensor,
        logits: torch.Tensor,
        mask_ST: torch.Tensor,
        totals: dict[str, float],
    ) -> torch.Tensor:
        bonus_S = torch.tensor([sample.entropy_weight for sample in samples], device=self._device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(bonus_S.any())):
            entropy_ST = entropy(logits)[index_S] * mask_ST
        totals["policy/entropy"] += entropy_ST.sum().item()
        return (entropy_ST * bonus_S.unsqueeze(-1)).sum()

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """Clips, steps and clears; a gradient that is not finite stops the run before it harms the weights."""
        limit = float("inf") if self._max_grad_norm is None else self._max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(self._trainable.values(), limit).item()
        if not np.isfinite(norm):
            raise UserError(
                f"the gradient's norm is {norm} at optimiser step {self.policy_version + 1}; the weights are "
                "untouched: lower trainer.learning_rate, or clip the ratio if objective.sd.ratio=full"
            )
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.policy_version += 1
        return {"optim/grad_norm": norm, "optim/learning_rate": learning_rate}

    def save(self, path: Path) -> None:
        """Writes trained weights, optimiser state and version; the caller makes the directory safe."""
        path.mkdir(parents=True)
        weights = {name: p.detach().cpu().contiguous() for name, p in self._trainable.items()}
        save_file(weights, path / _WEIGHTS)
        torch.save({"optimizer": self._optimizer.state_dict(), "version": self.policy_version}, path / _OPTIMIZER)

    def load(self, path: Path) -> None:
        """Restores what `save` wrote, onto this engine's device."""
        try:
            weights = load_file(path / _WEIGHTS)
            state = torch.load(path / _OPTIMIZER, map_location=self._device, weights_only=True)
        except Exception as error:
            # safetensors, pickle and zip each have errors of their own for a damaged file.
            raise UserError(
                f"{path}: this checkpoint cannot be read ({type(error).__name__}); remove the directory to go on from "
                "the one before it"
            ) from error
        if weights.keys() != self._trainable.keys():
            raise UserError(f"{path}: its weights are of another model or of other adapters than engine.* names")
        with torch.no_grad():
            for name, parameter in self._trainable.items():
                parameter.copy_(weights[name])
        self._optimizer.load_state_dict(state["optimizer"])
        self.policy_version = int(state["version"])

    def export(self, path: Path) -> None:
        """Writes model and tokenizer in the ordinary Hugging Face format, adapters merged."""
        model = self._model
        if self._config.lora is not None:
            import copy

            model = copy.deepcopy(model).merge_and_unload()
        model.save_pretrained(path)
        self._tokenizer.save_pretrained(path)

    def _initial_model(self) -> Any:
        if self._config.lora is not None:
            return self._model
        if self._initial is None:
            self._initial = load_weights(self._config, self._device)
        return self._initial

    def _layouts(self, sequences: Sequence[TokenSequence]) -> list[Layout]:
        clusters = share_prefixes(sequences) if self._config.share_prefixes else separate(sequences)
        return micro_batches(sequences, clusters, self._token_budget)

    def _floats(self, rows: Sequence[FloatArray], columns: int) -> torch.Tensor:
        return torch.from_numpy(right_align(rows, columns)).to(self._device)


def _components(samples: Sequence[TrainingSample]) -> list[str]:
    return sorted({sample.component for sample in samples})
