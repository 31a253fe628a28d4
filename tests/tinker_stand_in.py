"""A stand-in for the client of a Tinker server: the SDK's surface over a small model in this process.

It computes with plain passes of transformers and PEFT, one sequence at a time, and none of rltf's code. What kinds of
server differ in, it does as they do: how losses are divided, what a ratio's loss may be sent, a first place in a list
of log-probabilities, one place for sampler and trainer.
"""

from __future__ import annotations

import copy
import io
import tarfile
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


@dataclass
class World:
    """One server with its model; what it was asked is kept for a test to look at."""

    model: Path
    kind: str = "skyrl_jax"
    asked: list[tuple[str, Any]] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    """Of each optimiser step, by parameter."""
    states: dict[str, Any] = field(default_factory=dict)
    runs: int = 0
    stuck: bool = False
    """Answers nothing any more."""
    names: tuple[str, ...] | None = None
    """Models that it says it has; None: the one."""

    def sdk(self) -> Any:
        """What stands in for the package."""
        import tinker

        return SimpleNamespace(types=tinker.types, ServiceClient=self._open)

    def _open(self, **settings: Any) -> Service:
        self.opened.append(settings)
        return Service(self)

    def answer(self, what: str, given: Any, value: Any) -> Future[Any]:
        self.asked.append((what, given))
        return Future() if self.stuck else done(value())


class Service:
    def __init__(self, world: World) -> None:
        self.world, self.holder = world, SimpleNamespace(close=lambda: world.asked.append(("close", None)))

    def get_server_capabilities(self) -> Any:
        names = (str(self.world.model),) if self.world.names is None else self.world.names
        models = [SimpleNamespace(model_name=name, max_context_length=None) for name in names]
        return SimpleNamespace(supported_models=models)

    def create_lora_training_client(self, base_model: str, rank: int, seed: int, train_unembed: bool) -> Training:
        return Training(self.world, rank, seed)

    def create_sampling_client(self, base_model: str) -> Sampling:
        return Sampling(self.world, _plain(self.world.model), None)

    def create_rest_client(self) -> Any:
        return SimpleNamespace(holder=self.holder, get_checkpoint_archive_url=self._archive)

    def _archive(self, run: str, name: str) -> Future[Any]:
        if f"tinker://{run}/{name}" not in self.world.states:
            future: Future[Any] = Future()
            future.set_exception(RuntimeError("no such checkpoint"))
            return future
        url = self.world.states[f"tinker://{run}/{name}"]
        return done(SimpleNamespace(url=url, expires=datetime.now(UTC)))


def _plain(path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def _logprobs(model: Any, tokens: list[int], targets: list[int]) -> Tensor:
    logits = model(input_ids=torch.tensor([tokens])).logits[0]
    return logits.log_softmax(-1).gather(1, torch.tensor(targets)[:, None])[:, 0]  # type: ignore[no-any-return]


class Training:
    def __init__(self, world: World, rank: int, seed: int) -> None:
        self.world, self.touched = world, False
        world.runs += 1
        self.name = f"tinker://run{world.runs}"
        torch.manual_seed(seed)
        adapters = LoraConfig(r=rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        self.model = get_peft_model(_plain(world.model), adapters).eval()
        self.weights = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(self.weights.values(), weight_decay=0.0)
        self.sequences, self.saved = 0, 0

    def forward(self, data: list[Any], loss_fn: str) -> Future[Any]:
        assert loss_fn == "cross_entropy"
        with torch.no_grad():
            return self._ask("forward", data, lambda: self._pass(data, loss_fn, None)[1])

    def forward_backward(self, data: list[Any], loss_fn: str, config: dict[str, float] | None = None) -> Future[Any]:
        def run() -> Any:
            loss, output = self._pass(data, loss_fn, config)
            loss.backward()  # type: ignore[no-untyped-call]
            self.sequences += len(data)
            return output

        return self._ask(f"forward_backward {loss_fn}", data, run)

    def _pass(self, data: list[Any], loss_fn: str, config: dict[str, float] | None) -> tuple[Tensor, Any]:
        total, outputs = torch.zeros(()), []
        for datum in data:
            inputs = {name: torch.tensor(values.data) for name, values in datum.loss_fn_inputs.items()}
            if self.world.kind == "hosted" and loss_fn != "cross_entropy":
                assert set(inputs) == {"target_tokens", "logprobs", "advantages"}, "the service takes no other inputs"
            targets = inputs["target_tokens"].tolist()
            tokens = list(datum.model_input.to_ints())
            assert len(tokens) == len(targets)
            found = _logprobs(self.model, tokens, targets)
            mask = inputs.get("weights", torch.ones(len(targets)))
            loss = _loss(loss_fn, found, inputs, config or {}) * (1 if loss_fn == "cross_entropy" else mask)
            if self.world.kind == "skyrl_jax":
                loss = loss / mask.sum()
            total = total + loss.sum()
            outputs.append({"logprobs": SimpleNamespace(data=found.detach().tolist())})
        return total, SimpleNamespace(loss_fn_outputs=outputs, metrics={})

    def optim_step(self, adam: Any) -> Future[Any]:
        def run() -> Any:
            for weight in self.weights.values():
                if weight.grad is not None and self.world.kind == "skyrl_jax":
                    weight.grad /= self.sequences
            clip = adam.grad_clip_norm if self.world.kind == "hosted" and adam.grad_clip_norm else float("inf")
            norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), clip).item()
            self.world.gradients.append({n: w.grad.clone() for n, w in self.weights.items() if w.grad is not None})
            for group in self.optimizer.param_groups:
                group |= {"lr": adam.learning_rate, "betas": (adam.beta1, adam.beta2), "eps": adam.eps}
                group["weight_decay"] = adam.weight_decay
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.sequences = 0
            return SimpleNamespace(metrics=None if self.world.kind == "hosted" else {"skyrl.ai/grad_norm": norm})

        return self._ask("optim_step", adam, run)

    def save_state(self, name: str) -> Future[Any]:
        def run() -> Any:
            path = f"{self.name}/weights/{name}"
            assert path not in self.world.states, "a name is used once"
            weights = {n: w.detach().clone() for n, w in self.weights.items()}
            self.world.states[path] = (weights, copy.deepcopy(self.optimizer.state_dict()))
            return SimpleNamespace(path=path)

        return self._ask("save_state", name, run)

    def _ask(self, what: str, given: Any, value: Any) -> Future[Any]:
        self.touched = True
        return self.world.answer(what, given, value)

    def load_state_with_optimizer(self, path: str) -> Future[Any]:
        assert not self.touched, "a state is loaded first, or not at all"

        def run() -> None:
            weights, optimizer = self.world.states[path]
            self._put(weights)
            self.optimizer.load_state_dict(copy.deepcopy(optimizer))

        return self._ask("load_state", path, run)

    def _put(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])

    def save_weights_for_sampler(self, name: str) -> Future[Any]:
        def run() -> Any:
            kind = "sampler_weights/" if self.world.kind == "hosted" else ""
            path = f"{self.name}/{kind}{name}"
            if self.world.kind != "skyrl_train":
                self.world.states[path] = self._packed(name).as_uri().replace("file:", "http:")
            return SimpleNamespace(path=path)

        return self._ask("save_weights", name, run)

    def _packed(self, name: str) -> Path:
        """An archive as servers hand out: the adapters as PEFT saves them, in a directory of any name."""
        target = self.world.model.parent / f"{name}.tar.gz"
        with TemporaryDirectory() as directory, tarfile.open(target, "w:gz") as files:
            self.model.save_pretrained(directory)
            files.add(directory, arcname="some/where")
            extra = tarfile.TarInfo("../../outside.txt")
            files.addfile(extra, io.BytesIO(b""))
        return target

    def save_weights_and_get_sampling_client(self) -> Sampling:
        self.saved += 1
        self.touched = True
        weights = {name: w.detach().clone() for name, w in self.weights.items()}
        return Sampling(self.world, self.model, (self, weights))


class Sampling:
    def __init__(self, world: World, model: Any, of: tuple[Training, dict[str, Tensor]] | None) -> None:
        self.world, self.model, self.of = world, model, of

    def sample(self, prompt: Any, num_samples: int, sampling_params: Any) -> Future[Any]:
        def run() -> Any:
            if self.of is not None:
                # One place for both: whatever the trainer holds by now, it goes on from these.
                self.of[0]._put(self.of[1])
            found = [self._one(list(prompt.to_ints()), sampling_params, k) for k in range(num_samples)]
            return SimpleNamespace(sequences=found)

        return self.world.answer("sample", sampling_params, run)

    @torch.no_grad()
    def _one(self, tokens: list[int], how: Any, k: int) -> Any:
        generator = torch.Generator().manual_seed(how.seed + k)
        sampled: list[int] = []
        logprobs: list[float] = []
        while len(sampled) < how.max_tokens and not (sampled and sampled[-1] in how.stop):
            found = self.model(input_ids=torch.tensor([tokens + sampled])).logits[0, -1].log_softmax(-1)
            scaled = found / how.temperature if how.temperature else found
            drawn = torch.multinomial(scaled.softmax(-1), 1, generator=generator) if how.temperature else found.argmax()
            sampled.append(int(drawn))
            logprobs.append(float(found[sampled[-1]]))
        stopped = sampled[-1] in how.stop
        return SimpleNamespace(tokens=sampled, logprobs=logprobs, stop_reason="stop" if stopped else "length")

    @torch.no_grad()
    def compute_logprobs(self, prompt: Any) -> Future[Any]:
        tokens = list(prompt.to_ints())
        found = _logprobs(self.model, tokens[:-1], tokens[1:]).tolist()
        return self.world.answer("logprobs", tokens, lambda: [None, *found] if self.world.kind == "hosted" else found)


def _loss(name: str, logprobs: Tensor, inputs: dict[str, Tensor], config: dict[str, float]) -> Tensor:
    """As the Tinker API documents them."""
    if name == "cross_entropy":
        return -inputs["weights"] * logprobs
    ratio, advantages = torch.exp(logprobs - inputs["logprobs"]), inputs["advantages"]
    if name == "importance_sampling":
        return -ratio * advantages
    clipped = ratio.clamp(config["clip_low_threshold"], config["clip_high_threshold"])
    if name == "ppo":
        return -torch.minimum(ratio * advantages, clipped * advantages)
    assert name == "cispo"
    return -clipped.detach() * logprobs * advantages
