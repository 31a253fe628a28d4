"""The engine `tinker`, against a stand-in for the client of a server. `tests/real_skyrl` has a real one."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from command_line import rltf as command
from test_engine import PROMPTS, inner
from tinker_stand_in import Training, World

import rltf
from rltf.config import LoraConfig, PromptsConfig, TinkerEngineConfig, TorchEngineConfig, TrainerConfig
from rltf.config.load import configure
from rltf.engines.base import Engine
from rltf.engines.losses import TokenBatch, token_loss
from rltf.engines.tinker.connection import Connection, ServerLost
from rltf.engines.tinker.dialects import DIALECTS
from rltf.engines.tinker.engine import tinker_engine
from rltf.engines.tinker.gradients import advantages, loss_and_gradient
from rltf.engines.tinker.requests import Limits
from rltf.engines.torch.engine import torch_engine
from rltf.rollouts.collector import RolloutCollector
from rltf.runs.build import build_engine, build_task
from rltf.runs.defaults import settle
from rltf.support.errors import EngineLost, UserError
from rltf.types import Completion, Finish, LossName, Query, SamplingParams, TokenDistributions, TrainingSample

SERVERS = sorted(DIALECTS)
LOSSES: tuple[LossName, ...] = ("cross_entropy", "importance_sampling", "ppo", "cispo")
KEY = "tml-secret-0123456789"
SAMPLING = SamplingParams(max_tokens=6)


def settings(world: World, **changes: Any) -> TinkerEngineConfig:
    own = {} if world.kind == "hosted" else {"base_url": "http://127.0.0.1:9", "dialect": world.kind}
    given = {"name": "tinker", "model": str(world.model), "lora": LoraConfig(rank=4), **own, **changes}
    return TinkerEngineConfig.model_validate(given)


def optimizer(world: World, **changes: Any) -> TrainerConfig:
    return TrainerConfig(**{"max_grad_norm": None, **changes})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Callable[..., tuple[World, Engine]]:
    """Makes a server of some kind, and an engine at it."""

    def made(kind: str = "skyrl_jax", trainer: TrainerConfig | None = None, **changes: Any) -> tuple[World, Engine]:
        world = World(tiny_model, kind)
        use(monkeypatch, world)
        monkeypatch.setenv("TINKER_API_KEY", KEY)
        engine = tinker_engine(settings(world, **changes), trainer or optimizer(world), PromptsConfig(), seed=3)
        world.asked.clear()  # What was asked to check the server.
        return world, engine

    return made


def use(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    for module in ("connection", "learner", "sampler"):
        monkeypatch.setattr(f"rltf.engines.tinker.{module}.sdk", world.sdk)
    monkeypatch.setattr("rltf.engines.tinker.connection.check_listening", lambda config: None)
    monkeypatch.setattr("urllib.request.urlopen", from_disk)


def from_disk(url: str, timeout: float) -> io.BytesIO:
    """In place of a download."""
    return io.BytesIO(Path(url.removeprefix("http://")).read_bytes())


def client(engine: Any) -> Training:
    made: Training = engine.learner._adapters
    return made


def make_samples(loss: LossName | None = None, seed: int = 0) -> list[TrainingSample]:
    """Samples of one loss, or of all, on shared and on different sequences, with weights of both signs and masks."""
    rng = np.random.default_rng(seed)
    found = []
    for i, name in enumerate((loss,) * 4 if loss else LOSSES * 2):
        completion = (7, 8, 9, 10, 11)[: 3 + i % 3]
        weights = rng.normal(size=len(completion)).astype(np.float32)
        weights[i % 3] = 0.0
        old = rng.normal(-6.5, 0.3, size=len(completion)).astype(np.float32)
        found.append(
            TrainingSample(
                prompt_tokens=PROMPTS[i % 2],
                completion_tokens=completion,
                weights=weights,
                loss=name,
                old_logprobs=None if name == "cross_entropy" else old,
                clip=(0.9, 1.3),
                sampling_logprobs=old if name == "ppo" else None,
                component=f"the {name}",
                rollout=i,
                turn=0,
            )
        )
    return found


def directly(training: Training, samples: Sequence[TrainingSample], normalizer: float) -> dict[str, torch.Tensor]:
    """The gradient of our summed loss by the adapters, from plain passes of the same model."""
    total = torch.zeros(())
    for sample in samples:
        tokens = torch.tensor([[*sample.prompt_tokens, *sample.completion_tokens]])
        first = len(sample.prompt_tokens) - 1
        logits = training.model(input_ids=tokens).logits[0, first:-1].log_softmax(-1)
        old = sample.old_logprobs
        batch = TokenBatch(
            logprobs_BT=logits.gather(1, tokens[0, first + 1 :, None]).T,
            weights_BT=torch.from_numpy(sample.weights)[None],
            old_logprobs_BT=None if old is None else torch.from_numpy(old)[None],
            clip=sample.clip,
        )
        total = total + token_loss(sample.loss, batch).sum()
    names = list(training.weights)
    found = torch.autograd.grad(total / normalizer, [training.weights[name] for name in names])
    return dict(zip(names, found, strict=True))


def after_a_step(engine: Engine, rate: float = 1e-2) -> None:
    """Adapters that do something: they begin as no change."""
    engine.forward_backward(make_samples("cross_entropy", seed=9), 1.0)
    engine.optim_step(rate)


@pytest.mark.parametrize("loss", [*LOSSES, None])
@pytest.mark.parametrize("kind", SERVERS)
def test_the_gradient_at_every_kind_of_server_is_that_of_our_own_loss(
    serve: Callable[..., tuple[World, Engine]], kind: str, loss: LossName | None
) -> None:
    world, engine = serve(kind)
    after_a_step(engine)
    first, second = make_samples(loss), make_samples(loss, seed=1)[:3]
    expected = directly(client(engine), first, 4.0)
    more = directly(client(engine), second, 2.0)
    # Two calls before one step: a server that takes means divides by all their sequences.
    engine.forward_backward(first, 4.0)
    engine.forward_backward(second, 2.0)
    engine.optim_step(1e-3)
    for name, found in world.gradients[-1].items():
        torch.testing.assert_close(found, expected[name] + more[name], rtol=2e-4, atol=2e-6)
    assert max(g.abs().max() for g in world.gradients[-1].values()) > 1e-3


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("loss", ["importance_sampling", "ppo", "cispo"])
def test_a_masked_token_may_be_as_unlikely_as_it_likes(
    serve: Callable[..., tuple[World, Engine]], kind: str, loss: LossName
) -> None:
    world, engine = serve(kind)
    sample = make_samples(loss)[0]
    old = np.where(sample.weights == 0, -1000.0, sample.old_logprobs).astype(np.float32)  # type: ignore[arg-type]
    engine.forward_backward([sample.__class__(**{**fields_of(sample), "old_logprobs": old})], 1.0)
    engine.optim_step(1e-3)
    assert all(gradient.isfinite().all() for gradient in world.gradients[-1].values())


@pytest.mark.parametrize("kind", SERVERS)
def test_a_gradient_that_is_not_finite_takes_no_step(serve: Callable[..., tuple[World, Engine]], kind: str) -> None:
    world, engine = serve(kind)
    sample = make_samples("importance_sampling")[0]
    unlikely = np.full(3, -3000.0, np.float32)
    with pytest.raises(UserError, match=r"the gradient of a sample of .* is not finite; the weights are untouched"):
        engine.forward_backward([sample.__class__(**{**fields_of(sample), "old_logprobs": unlikely})], 1.0)
    assert "optim_step" not in [what for what, _ in world.asked]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_derivative_is_that_of_finite_differences(loss: LossName) -> None:
    sample = make_samples(loss)[2]
    logprobs = np.array([-6.4, -6.7, -6.2, -6.6, -6.5], dtype=np.float32)
    value, gradient = loss_and_gradient(sample, logprobs)
    assert np.isfinite(value)
    assert gradient[np.flatnonzero(sample.weights == 0)] == pytest.approx(0.0)
    for t in range(5):
        ahead, behind = logprobs.copy(), logprobs.copy()
        ahead[t] += 1e-3
        behind[t] -= 1e-3
        slope = (loss_and_gradient(sample, ahead)[0] - loss_and_gradient(sample, behind)[0]) / (ahead[t] - behind[t])
        if loss == "cispo":  # Its ratio is no part of the derivative.
            ratio = np.exp(logprobs[t] - sample.old_logprobs[t])  # type: ignore[index]
            slope = -sample.weights[t] * np.clip(ratio, *sample.clip)
        assert gradient[t] == pytest.approx(slope, rel=2e-3, abs=1e-6)


def test_what_is_divided_by_is_multiplied_back() -> None:
    gradient = np.array([0.5, -2.0])
    assert advantages(gradient, "sum", targets=9, sequences=4).tolist() == [-0.5, 2.0]
    assert advantages(gradient, "mean", targets=9, sequences=4).tolist() == [-18.0, 72.0]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_step_is_that_of_the_engine_torch(
    serve: Callable[..., tuple[World, Engine]], tiny_model: Path, kind: str
) -> None:
    trainer = TrainerConfig(max_grad_norm=1.0 if kind == "hosted" else None, weight_decay=0.1, beta2=0.9)
    _, engine = serve(kind, trainer)
    own = torch_engine(TorchEngineConfig(model=str(tiny_model), device="cpu", lora=LoraConfig(rank=4)), trainer, 1.0)
    with torch.no_grad():
        for name, weight in inner(own)._trainable.items():
            weight.copy_(client(engine).weights[name])
    queries = [
        Query(prompt_tokens=prompt, completion_tokens=(7, 8, 9), policy=policy)
        for prompt in PROMPTS[:2]
        for policy in ("current", "initial")
    ]
    for step in range(3):
        samples = make_samples(seed=step)
        ours, theirs = own.forward_backward(samples, 4.0), engine.forward_backward(samples, 4.0)
        assert set(ours) == set(theirs)
        for name in set(ours) - {"policy/entropy"}:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-4, abs=1e-5), name
        done, told = own.optim_step(1e-2), engine.optim_step(1e-2)
        if kind != "hosted":  # The stand-in for the service tells no norm.
            assert told["optim/grad_norm"] == pytest.approx(done["optim/grad_norm"], rel=1e-4)
        for mine, its in zip(own.answer(queries), engine.answer(queries), strict=True):
            np.testing.assert_allclose(its.logprobs_T, mine.logprobs_T, atol=2e-4)
    assert engine.version == own.version == 3


def test_the_service_gets_losses_by_name_and_other_servers_the_gradient(
    serve: Callable[..., tuple[World, Engine]],
) -> None:
    for kind in SERVERS:
        world, engine = serve(kind)
        assert settings(world).dialect == (None if kind == "hosted" else kind)
        engine.forward_backward(make_samples(), 4.0)
        engine.optim_step(1e-3)
        sent = [what for what, _ in world.asked if what.startswith("forward")]
        if kind == "hosted":
            assert sorted(sent) == sorted(f"forward_backward {loss}" for loss in LOSSES)
        else:
            assert sent == ["forward", "forward_backward importance_sampling"]
            (datum,) = {id(d): d for what, data in world.asked if "importance" in what for d in data[:1]}.values()
            assert datum.loss_fn_inputs["weights"].data == [1.0] * len(datum.loss_fn_inputs["target_tokens"].data)


def test_notes_say_what_a_server_does_its_own_way(serve: Callable[..., tuple[World, Engine]]) -> None:
    for kind, decay, words in (("skyrl_jax", 0.1, "adapters of all who train"), ("skyrl_train", 0.0, "betas")):
        _, engine = serve(kind, TrainerConfig(max_grad_norm=None, weight_decay=decay))
        assert any(words in line for line in engine.notes)
        _, engine = serve(kind)
        assert any(words in line for line in engine.notes) == (kind == "skyrl_train")
    _, engine = serve("hosted", TrainerConfig(weight_decay=0.1))
    assert len(engine.notes) == 2


@pytest.mark.parametrize("kind", SERVERS)
def test_nothing_to_train_on_sends_no_step(serve: Callable[..., tuple[World, Engine]], kind: str) -> None:
    world, engine = serve(kind)
    sample = make_samples("ppo")[0]
    engine.forward_backward([sample.__class__(**{**fields_of(sample), "weights": np.zeros(3, np.float32)})], 1.0)
    assert engine.optim_step(1e-2)["optim/grad_norm"] == 0.0
    assert engine.version == 1
    assert not world.asked


def fields_of(sample: TrainingSample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in TrainingSample.__dataclass_fields__}


# What is sent is checked


def test_what_no_server_can_train_is_refused_before_it_is_sent(serve: Callable[..., tuple[World, Engine]]) -> None:
    world, engine = serve()
    sample = make_samples("cross_entropy")[0]
    targets = TokenDistributions(tokens_TK=np.ones((3, 2), np.int64), logprobs_TK=np.full((3, 2), -2.0, np.float32))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"loss": "reverse_kl", "targets": targets}, "trains reverse_kl.*engine.name=torch"),
        ({"entropy_weight": 0.1}, "trains the entropy.*engine.name=torch"),
        ({"weights": np.array([1, np.nan, 1], np.float32)}, "weights that are not finite"),
        ({"prompt_tokens": (1, 2, 10**6)}, "the token 1000000, but the model has"),
        ({"prompt_tokens": (1,) * 3000}, "3,003 tokens is longer than the 2,048"),
    ]
    for changes, message in wrong:
        with pytest.raises(UserError, match=message):
            engine.forward_backward([sample.__class__(**{**fields_of(sample), **changes})], 1.0)
    for query in ({"policy": "average"}, {"top": 5}):
        with pytest.raises(UserError, match=r"the method asks for .*take engine.name=torch"):
            engine.answer([Query(prompt_tokens=(1, 2), completion_tokens=(3,), **query)])
    with pytest.raises(UserError, match="the token 1000000"):
        engine.answer([Query(prompt_tokens=(1, 2), completion_tokens=(10**6,), policy="initial")])
    with pytest.raises(UserError, match="longer than"):
        engine.generate([(1,) * 2047], 1, SAMPLING, [0])
    assert not world.asked


def test_log_probabilities_are_read_from_the_right(serve: Callable[..., tuple[World, Engine]]) -> None:
    answers = []
    for kind in SERVERS:
        _, engine = serve(kind)
        answers.append(engine.answer([Query(prompt_tokens=(5, 6), completion_tokens=(7, 8), policy="initial")])[0])
    for answer in answers[1:]:
        np.testing.assert_allclose(answer.logprobs_T, answers[0].logprobs_T, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"), [(None, "gave no log-prob"), ([-1.0], "gave no"), ([-1.0, float("nan")], "not finite")]
)
def test_answers_that_are_none_are_told(
    serve: Callable[..., tuple[World, Engine]], values: list[float] | None, message: str
) -> None:
    world, engine = serve()
    world.answer = lambda what, given, value: done_with(values or [])  # type: ignore[method-assign]
    with pytest.raises(UserError, match=message):
        engine.answer([Query(prompt_tokens=(5, 6), completion_tokens=(7, 8), policy="initial")])


def done_with(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


# Sampling


def test_samples_come_from_the_newest_weights_with_seeds_of_their_own(
    serve: Callable[..., tuple[World, Engine]],
) -> None:
    _, engine = serve()
    assert not engine.exact
    first = engine.generate(PROMPTS[:2], 3, SAMPLING, [1, 2])
    again = engine.generate(PROMPTS[:2], 3, SAMPLING, [1, 2])
    assert tokens_of(first) == tokens_of(again)
    assert len(set(tokens_of(first))) > 3
    assert client(engine).saved == 1
    for prompt, siblings in zip(PROMPTS, first, strict=False):
        queries = [Query(prompt_tokens=prompt, completion_tokens=c.tokens) for c in siblings]
        for completion, answer in zip(siblings, engine.answer(queries), strict=True):
            np.testing.assert_allclose(completion.logprobs, answer.logprobs_T, atol=1e-5)
            assert completion.version == 0
            ended = completion.tokens[-1] in engine.renderer.stop_tokens
            assert completion.finish is (Finish.STOP if ended else Finish.LENGTH)
    after_a_step(engine)
    before = engine.answer([Query(prompt_tokens=PROMPTS[0], completion_tokens=(7, 8))])[0]
    later = engine.generate(PROMPTS[:1], 1, SAMPLING, [1])
    assert (later[0][0].version, client(engine).saved) == (1, 2)
    # What is trained is still what it was before the sampler came by.
    after = engine.answer([Query(prompt_tokens=PROMPTS[0], completion_tokens=(7, 8))])[0]
    np.testing.assert_array_equal(before.logprobs_T, after.logprobs_T)


def test_an_older_sampler_is_never_asked(serve: Callable[..., tuple[World, Engine]]) -> None:
    _, engine = serve()
    engine.generate(PROMPTS[:1], 1, SAMPLING, [1])
    after_a_step(engine)
    with pytest.raises(AssertionError, match="newest"):
        engine.sampler.generate(PROMPTS[:1], 1, SAMPLING, [1])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprobs": None}, "without a log-probability for each"),
        ({"logprobs": [-1.0]}, "without a log-probability for each"),
        ({"logprobs": [-1.0, float("nan")]}, "without a log-probability for each"),
        ({"tokens": []}, "a sample of 0 tokens"),
        ({"tokens": [1] * 9, "logprobs": [-1.0] * 9}, "a sample of 9 tokens"),
        ({"tokens": [5, 10**7]}, "the token 10000000"),
        ({"stop_reason": "stop"}, "keeps to itself"),
        (None, "gave 0 samples of a prompt where 1"),
    ],
)
def test_samples_that_are_none_are_told(
    serve: Callable[..., tuple[World, Engine]], changes: dict[str, Any] | None, message: str
) -> None:
    world, engine = serve()
    whole = {"tokens": [5, 6], "logprobs": [-1.0, -2.0], "stop_reason": "length"}
    sequences = [] if changes is None else [SimpleNamespace(**{**whole, **changes})]
    world.answer = lambda what, given, value: done_with(SimpleNamespace(sequences=sequences))  # type: ignore[method-assign]
    with pytest.raises(UserError, match=message):
        engine.generate(PROMPTS[:1], 1, SAMPLING, [1])


def tokens_of(groups: Sequence[Sequence[Completion]]) -> list[tuple[int, ...]]:
    return [completion.tokens for siblings in groups for completion in siblings]


# Waits, faults, keys


def test_every_wait_ends(serve: Callable[..., tuple[World, Engine]]) -> None:
    world, engine = serve(timeout=0.2)
    engine.generate(PROMPTS[:1], 1, SAMPLING, [1])
    world.stuck = True
    query = Query(prompt_tokens=(5, 6), completion_tokens=(7, 8))
    waits: list[tuple[Callable[[], Any], str]] = [
        (lambda: engine.generate(PROMPTS[:1], 1, SAMPLING, [1]), "sample"),
        (lambda: engine.answer([query]), "score"),
        (lambda: engine.answer([Query(prompt_tokens=(5,), completion_tokens=(7,), policy="initial")]), "score under"),
        (lambda: engine.forward_backward(make_samples(), 1.0), "score"),
        (lambda: engine.save(Path("nowhere")), "save its state"),
        (lambda: engine.export(Path("nowhere")), "save its weights"),
    ]
    for wait, doing in waits:
        with pytest.raises(ServerLost, match=rf"127.0.0.1:9 did not {doing}.* within engine.timeout=0.2 s$"):
            wait()
    assert not Path("nowhere").exists()


def test_a_request_that_is_given_up_is_not_tried_again(serve: Callable[..., tuple[World, Engine]]) -> None:
    world, _ = serve()
    connection = Connection(settings(world, timeout=0.1))
    plain: Future[Any] = Future()
    inside: Future[Any] = Future()  # The SDK has two kinds of them.
    for future, given in ((plain, plain), (inside, SimpleNamespace(result=inside.result, future=lambda: inside))):
        with pytest.raises(ServerLost):
            connection.wait("do it", given)
        assert future.cancelled()
    with pytest.raises(ServerLost, match="did not open within"):
        connection.call("open", lambda: Future().result())


def test_a_fault_is_one_line_without_the_key(serve: Callable[..., tuple[World, Engine]]) -> None:
    world, _ = serve("hosted")
    connection = Connection(settings(world))

    def fail() -> None:
        raise RuntimeError(f"500\nheaders {{'X-API-Key': '{KEY}'}}")

    with pytest.raises(ServerLost, match=r"the hosted service did not train: 500 headers.*\(key\)") as caught:
        connection.call("train", fail)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_and_addresses(
    serve: Callable[..., tuple[World, Engine]], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = serve("hosted")
    assert (world.opened[0]["api_key"], "base_url" in world.opened[0]) == (KEY, False)
    # A server of one's own is not sent the service's key.
    world, _ = serve("skyrl_jax")
    assert KEY not in json.dumps(world.opened[0])
    assert world.opened[0]["base_url"] == "http://127.0.0.1:9"
    monkeypatch.setenv("MY_KEY", "tml-mine")
    world, _ = serve("skyrl_jax", key_env="MY_KEY")
    assert world.opened[0]["api_key"] == world.opened[0]["default_headers"]["X-API-Key"] == "tml-mine"
    monkeypatch.setenv("MY_KEY", "sk-other")
    with pytest.raises(UserError, match="MY_KEY holds no key of the Tinker API"):
        serve("skyrl_jax", key_env="MY_KEY")
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UserError, match="MY_KEY is not set"):
        serve("skyrl_jax", key_env="MY_KEY")
    monkeypatch.setenv("TINKER_BASE_URL", "http://elsewhere")
    with pytest.raises(UserError, match="TINKER_BASE_URL names a server"):
        serve("hosted")


def test_a_model_that_the_server_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    world = World(tiny_model, names=("Qwen/Qwen3-8B",))
    use(monkeypatch, world)
    with pytest.raises(UserError, match=r"the server has no such model, but Qwen/Qwen3-8B"):
        tinker_engine(settings(world), optimizer(world))
    assert ("close", None) in world.asked


@pytest.mark.parametrize(("kind", "said"), [("skyrl_train", "skyrl_jax"), ("skyrl_jax", "hosted")])
def test_a_server_that_divides_otherwise_than_its_dialect_is_refused(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, kind: str, said: str
) -> None:
    world = World(tiny_model, kind)
    use(monkeypatch, world)
    takes = "sums" if kind == "skyrl_train" else "means"
    with pytest.raises(
        UserError, match=rf"engine.dialect={said}: this server takes {takes} .*set engine.dialect to .*{kind}"
    ):
        tinker_engine(settings(world, dialect=said), optimizer(world))


def test_the_check_of_a_server_leaves_nothing_behind(
    serve: Callable[..., tuple[World, Engine]], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, checked = serve()
    monkeypatch.setattr("rltf.engines.tinker.learner.check_reduction", lambda *given: None)
    use(monkeypatch, world)
    plain = tinker_engine(settings(world), optimizer(world), PromptsConfig(), seed=3)
    for engine in (checked, plain):
        for step in range(2):
            engine.forward_backward(make_samples(seed=step), 4.0)
            engine.optim_step(1e-2)
    query = [Query(prompt_tokens=PROMPTS[0], completion_tokens=(7, 8, 9))]
    np.testing.assert_array_equal(checked.answer(query)[0].logprobs_T, plain.answer(query)[0].logprobs_T)


def test_the_tokenizer_may_lie_elsewhere(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    world = World(tiny_model, names=("a-name-of-the-server",))
    use(monkeypatch, world)
    engine = tinker_engine(settings(world, model="a-name-of-the-server", tokenizer=str(tiny_model)), optimizer(world))
    assert engine.max_tokens == 2048
    with pytest.raises(UserError, match="a-name-of-the-server"):
        tinker_engine(settings(world, model="a-name-of-the-server"), optimizer(world))


# What is kept


def test_a_state_is_saved_and_loaded_into_another_session(
    serve: Callable[..., tuple[World, Engine]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world, engine = serve()
    query = [Query(prompt_tokens=PROMPTS[0], completion_tokens=(7, 8, 9))]
    after_a_step(engine)
    engine.save(tmp_path / "saved")
    engine.forward_backward(make_samples(seed=4), 1.0)
    engine.optim_step(1e-2)
    expected = engine.answer(query)[0].logprobs_T

    use(monkeypatch, world)
    other = tinker_engine(settings(world), optimizer(world), seed=8)
    other.load(tmp_path / "saved")
    assert other.version == 1
    other.forward_backward(make_samples(seed=4), 1.0)
    other.optim_step(1e-2)
    np.testing.assert_allclose(other.answer(query)[0].logprobs_T, expected, atol=1e-6)
    other.load(tmp_path / "saved")
    other.save(tmp_path / "again")  # The same version twice.

    with pytest.raises(UserError, match="of another model or of other adapters"):
        tinker_engine(settings(world, lora=LoraConfig(rank=2)), optimizer(world)).load(tmp_path / "saved")
    (tmp_path / "saved" / "tinker.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        other.load(tmp_path / "saved")


@pytest.mark.parametrize("kind", SERVERS)
def test_an_export_holds_the_adapters_where_the_server_hands_them_out(
    serve: Callable[..., tuple[World, Engine]], tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    import peft
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, engine = serve(kind)
    after_a_step(engine)
    engine.export(tmp_path / "model")
    record = json.loads((tmp_path / "model" / "tinker.json").read_text())
    assert record["weights"].startswith("tinker://")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
    if kind == "skyrl_train":
        assert record["adapter"] is None
        assert "the server keeps the adapters: " in record["why"]
        return
    model = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path / "model" / record["adapter"]
    )
    tokens = torch.tensor([[*PROMPTS[0], 7, 8]])
    with torch.no_grad():
        found = model(tokens).logits[0].log_softmax(-1)[[-3, -2], [7, 8]]
    answer = engine.answer([Query(prompt_tokens=PROMPTS[0], completion_tokens=(7, 8))])[0]
    np.testing.assert_allclose(found.numpy(), answer.logprobs_T, atol=1e-5)
    assert not (tmp_path.parent / "outside.txt").exists()


def test_adapters_whose_settings_name_no_module_get_them_from_the_weights(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from rltf.engines.tinker.export import _name_modules

    save_file(
        {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": np.ones((1, 1), np.float32)},
        tmp_path / "adapter_model.safetensors",
    )
    (tmp_path / "adapter_config.json").write_text('{"r": 1, "target_modules": null}')
    _name_modules(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == ["up_proj"]


# Whole runs

SMALL = {
    "task.train_size": 20,
    "task.test_size": 4,
    "task.validation_size": 4,
    "trainer.steps": 3,
    "trainer.groups_per_batch": 2,
    "trainer.group_size": 3,
    "trainer.save_every": 1,
    "evaluation.samples": 1,
    "rollout.max_new_tokens": 8,
    "objective.name": "rltf_sd_fm",  # A model with random weights is never right: feedback is all that it learns.
    "engine.name": "tinker",
    "engine.lora.rank": 4,
}


def run_settings(world: World, **changes: Any) -> rltf.RunConfig:
    own = {"engine.base_url": "http://127.0.0.1:9", "engine.dialect": world.kind} if world.kind != "hosted" else {}
    return configure((), {**SMALL, "engine.model": str(world.model), **own, **changes})


@pytest.mark.parametrize("kind", ["hosted", "skyrl_jax"])
def test_a_run_stops_with_its_server_and_goes_on_from_its_checkpoint(
    terse_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    world = World(terse_model, kind)
    use(monkeypatch, world)
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    config = run_settings(world, **{"engine.timeout": 0.5})

    def second_step(number: int, metrics: Any, timing: Any) -> None:
        world.stuck = number == 2

    observer = rltf.Observer()
    observer.step = second_step  # type: ignore[method-assign, assignment]
    with rltf.Run.begin(config, tmp_path / "run") as run, pytest.raises(EngineLost, match="resume the run"):
        run.train([observer])
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    saved = json.loads((checkpoint / "tinker.json").read_text())["state"]
    assert saved.endswith("/weights/rltf-000002-1")

    world.stuck = False
    with rltf.Run.resume(tmp_path / "run", {"engine.timeout": 60.0}) as run:
        summary = run.train()
    assert summary.steps == 3
    assert ("load_state", saved) in world.asked
    table = rltf.Run.open(tmp_path / "run").metrics()
    assert table["step"] == [1, 2, 3]
    assert table["policy/version"] == [2, 4, 6]
    losses = [value for name, column in table.items() if name.startswith("loss/") for value in column]
    assert len(losses) >= 3
    assert all(value is not None and value > 0 for value in losses)
    record = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert record["exact"] is False
    written = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in text for text in written)
    with pytest.raises(UserError, match=r"its model is adapters .*docs/tinker.md"):
        rltf.evaluate(tmp_path / "run")


def test_name_says_which_engine(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tiny_model, "skyrl_jax")
    use(monkeypatch, world)
    engine = build_engine(run_settings(world, **{"engine.name": "tinker", "trainer.max_grad_norm": "none"}))
    assert engine.notes[0].startswith("engine.name=tinker is not exact")
    assert world.opened


def test_a_base_model_at_a_server_is_evaluated(terse_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(terse_model, "skyrl_jax")
    use(monkeypatch, world)
    config = run_settings(world).model_dump(mode="json")
    named = {"engine.name": "tinker", "engine.base_url": "http://127.0.0.1:9", "engine.dialect": "skyrl_jax"}
    small = {"evaluation.samples": 1, "evaluation.problems": 3, "rollout.max_new_tokens": 8}
    found = rltf.evaluate(str(terse_model), {**named, **small}, task=config["task"]["name"])
    assert found.problems == 3
    assert len([what for what, _ in world.asked if what == "sample"]) >= 3


def test_looking_at_a_model_gives_no_advice_to_resume_a_run(terse_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(terse_model, "skyrl_jax")
    use(monkeypatch, world)

    def ask(*arguments: Any, **named: Any) -> Any:
        world.stuck = True
        return collect(*arguments, **named)

    collect = RolloutCollector.collect
    monkeypatch.setattr(RolloutCollector, "collect", ask)
    named = {"engine.name": "tinker", "engine.base_url": "http://127.0.0.1:9", "engine.dialect": "skyrl_jax"}
    with pytest.raises(ServerLost, match=r"did not sample within engine\.timeout=0\.5 s$"):
        rltf.evaluate(str(terse_model), {**named, "engine.timeout": 0.5, "evaluation.problems": 1})


def test_a_server_that_does_not_clip_settles_the_clip(tiny_model: Path) -> None:
    for kind, expected in (("hosted", 1.0), ("skyrl_jax", None), ("skyrl_train", None)):
        config = run_settings(World(tiny_model, kind))
        settled = settle(config, build_task(config.task))
        assert settled.config.trainer.max_grad_norm == expected
        assert settle(settled.config, build_task(config.task)).config == settled.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("trainer.max_grad_norm=1.0",), r"server: trainer.max_grad_norm=1: .* set trainer.max_grad_norm="),
        (("objective.name=sdpo",), "objective.name=sdpo compares whole distributions.*set objective.name=rltf_sd"),
        (("objective.name=sdft",), "objective.name=sdft compares"),
        (("objective.entropy_coefficient=0.1",), "objective.entropy_coefficient=0.1 reads all of the vocabulary"),
        (("rollout.temperature=0.7",), r"rollout.temperature=0.7: .*set rollout.temperature=1.0"),
        (("engine.lora.alpha=8",), "remove engine.lora.alpha"),
        (("engine.dialect=none",), "set engine.dialect to skyrl_jax"),
        (("engine.base_url=none",), "set engine.base_url"),
        (("engine.base_url=http://me:secret@host",), "no keys belong in the address.*engine.key_env"),
        (("engine.key_env=NO_SUCH_KEY",), "server: engine.key_env: the environment variable NO_SUCH_KEY is not set"),
        (("engine.tokenizer=/nowhere",), r"^prompts: engine\.tokenizer=/nowhere: no such directory"),
        (
            ("engine.model=./gone",),
            r"^prompts: engine\.tokenizer is not set, .* of engine\.model=\./gone are read here: .*; set it to a",
        ),
        (("engine.dtype=bfloat16",), "engine.dtype: is no setting of engine.name=tinker"),
    ],
)
def test_the_dry_run_refuses_in_one_line(
    tiny_model: Path, tmp_path: Path, changes: tuple[str, ...], message: str
) -> None:
    # Settings that contradict each other are refused as such, what a server lacks as one of the checks.
    status = 1 if message.startswith("server: ") or message.startswith("^prompts: ") else 2
    done = command("train", *dry(tiny_model), *changes, "--dry-run", cwd=tmp_path, status=status)
    found = [line for line in (done.stdout + done.stderr).splitlines() if re.search(message, line)]
    assert found, done.stdout[-1000:] + done.stderr
    assert "secret" not in done.stdout + done.stderr


def dry(model: Path) -> list[str]:
    given = {"engine.name": "tinker", "engine.model": str(model), "engine.dialect": "skyrl_jax"}
    return [f"{name}={value}" for name, value in (given | {"engine.base_url": "http://127.0.0.1:9"}).items()]


def test_the_dry_run_asks_whether_a_server_is_there(tiny_model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"engine.base_url=http://127.0.0.1:{listening.getsockname()[1]}"
        done = command("train", *dry(tiny_model), address, "--dry-run", cwd=tmp_path)
    assert "server: good" in done.stdout
    assert "prompts: good" in done.stdout
    assert "not set, so taken: trainer.max_grad_norm=None" in done.stdout


def test_nobody_at_the_address_is_told_at_once(tiny_model: Path, tmp_path: Path) -> None:
    told = r"nobody listens at http://127.0.0.1:9 \(Connection refused\): start the server, or mend engine.base_url"
    done = command("train", *dry(tiny_model), "--dry-run", cwd=tmp_path, status=1)
    assert re.search(f"server: {told}", done.stdout)
    begun = time.monotonic()
    given = {**SMALL, "trainer.max_grad_norm": "none", **dict(each.split("=", 1) for each in dry(tiny_model))}
    with pytest.raises(UserError, match=f"{told}$"):
        build_engine(configure((), given))
    assert time.monotonic() - begun < 30


def test_the_hosted_service_is_not_asked(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    done = command("train", "engine.name=tinker", f"engine.model={tiny_model}", "--dry-run", cwd=tmp_path)
    assert "server: not asked" in done.stdout
    assert "server: good" not in done.stdout


def test_no_advice_to_resume_before_there_is_a_run(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    world = World(tiny_model, "skyrl_jax", stuck=True)
    use(monkeypatch, world)
    with pytest.raises(ServerLost, match=r"within engine\.timeout=0\.2 s$"):
        tinker_engine(settings(world, timeout=0.2), optimizer(world), PromptsConfig(), seed=3)


def test_the_clip_is_settled_where_the_tokenizer_cannot_be_had(tiny_model: Path, tmp_path: Path) -> None:
    done = command("train", *dry(tiny_model), "engine.tokenizer=/nowhere", "--dry-run", cwd=tmp_path, status=1)
    assert "not set, so taken: trainer.max_grad_norm=None" in done.stdout
    assert "server: trainer.max_grad_norm" not in done.stdout


def test_a_model_has_to_be_named() -> None:
    with pytest.raises(UserError, match=r"^engine: name=tinker needs engine.model=..., such as engine.model=Qwen/"):
        configure((), {"engine.name": "tinker"})


def test_limits_speak_of_the_server_too(serve: Callable[..., tuple[World, Engine]]) -> None:
    _, engine = serve()
    local = engine.learner._local  # type: ignore[attr-defined]
    assert local.limits(100) == Limits(vocabulary=local.vocabulary, tokens=100)
    assert local.limits(None).tokens == 2048


@pytest.mark.skipif("RLTF_SKYRL" not in os.environ, reason="RLTF_SKYRL names no environment with SkyRL (2.2 GB)")
def test_against_a_real_server() -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-m", "tests.real_skyrl", os.environ["RLTF_SKYRL"]], cwd=root, check=False)
    assert done.returncode == 0
