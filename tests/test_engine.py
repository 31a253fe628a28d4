"""The torch engine on a small model: what it samples, scores and trains agrees with itself and with transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rltf.config import LoraConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Joined
from rltf.engines.packing import Layout
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.engine import torch_engine
from rltf.engines.torch.learner import TorchLearner
from rltf.support.errors import UserError
from rltf.types import Finish, FloatArray, LossName, Policy, Query, SamplingParams, Tokens, TrainingSample

LOSSES: tuple[LossName, ...] = ("cross_entropy", "importance_sampling", "ppo", "cispo")
PROMPTS = [(5, 6, 7, 8), (5, 6, 7, 9, 10, 11), (5, 6, 20), (5, 6, 7, 8, 30, 31, 32)]


def build(path: Path, temperature: float = 1.0, **settings: Any) -> Joined:
    trainer = TrainerConfig(learning_rate=1e-2, max_grad_norm=None)
    return torch_engine(TorchEngineConfig(model=str(path), device="cpu", **settings), trainer, temperature)


def inner(engine: Joined) -> TorchLearner:
    assert isinstance(engine.learner, TorchLearner)
    return engine.learner


def score(engine: Joined, pairs: Sequence[tuple[Tokens, Tokens]], policy: Policy = "current") -> list[FloatArray]:
    queries = [Query(prompt_tokens=prompt, completion_tokens=text, policy=policy) for prompt, text in pairs]
    return [answer.logprobs_T for answer in engine.answer(queries)]


def seeds_from(first: int) -> list[int]:
    return [10 * first + i for i in range(len(PROMPTS))]


def samples(count: int = 8, *, entropy: float = 0.0) -> list[TrainingSample]:
    rng = np.random.default_rng(0)
    result = []
    for i in range(count):
        length = int(rng.integers(1, 9))
        tokens = tuple(rng.integers(4, 60, size=length).tolist())
        weights = rng.normal(size=length).astype(np.float32)
        old = rng.normal(-6.0, 0.3, size=length).astype(np.float32)
        result.append(
            TrainingSample(
                prompt_tokens=PROMPTS[i % len(PROMPTS)],
                completion_tokens=tokens,
                weights=weights,
                loss=LOSSES[i % 4],
                old_logprobs=None if i % 4 == 0 else old,
                sampling_logprobs=old if i % 2 == 0 else None,
                entropy_weight=entropy,
                component=("policy", "distillation")[i % 2],
                rollout=i,
                turn=0,
            )
        )
    return result


def gradient(engine: Joined, batch: list[TrainingSample], normalizer: float = 1.0) -> torch.Tensor:
    inner(engine)._optimizer.zero_grad()
    engine.forward_backward(batch, normalizer)
    return torch.cat([p.grad.flatten() for p in inner(engine)._trainable.values() if p.grad is not None]).clone()


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampling_logprobs_equal_recomputed_ones(tiny_model: Path, share: bool, temperature: float) -> None:
    engine = build(tiny_model, temperature, share_prefixes=share)
    sampling = SamplingParams(max_tokens=12, temperature=temperature)
    completions = engine.generate(PROMPTS, 3, sampling, seeds_from(1))
    pairs = [(p, c.tokens) for p, group in zip(PROMPTS, completions, strict=True) for c in group]
    recomputed = score(engine, pairs)
    for completion, logprobs in zip([c for group in completions for c in group], recomputed, strict=True):
        np.testing.assert_allclose(completion.logprobs, logprobs, atol=2e-5)


def test_scores_equal_those_of_a_plain_forward_pass(tiny_model: Path) -> None:
    engine = build(tiny_model)
    pairs = [(prompt, (12, 13, 14)) for prompt in PROMPTS]
    for (prompt, completion), logprobs in zip(pairs, score(engine, pairs), strict=True):
        with torch.no_grad():
            logits = inner(engine)._model(torch.tensor([[*prompt, *completion]])).logits[0]
        plain = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1].gather(1, torch.tensor(completion)[:, None])[:, 0]
        np.testing.assert_allclose(logprobs, plain.numpy(), atol=2e-5)


def test_samples_do_not_depend_on_how_they_are_batched(tiny_model: Path) -> None:
    sampling = SamplingParams(max_tokens=10)
    plain = build(tiny_model).generate(PROMPTS, 4, sampling, seeds_from(3))
    for settings in (
        {"decode_batch": 4},
        {"decode_batch": 3},
        {"decode_batch": 1},
        {"micro_batch_tokens": 8},
        {"share_prefixes": False},
    ):
        other = build(tiny_model, **settings).generate(PROMPTS, 4, sampling, seeds_from(3))
        assert [[c.tokens for c in group] for group in other] == [[c.tokens for c in group] for group in plain]


def test_a_sample_depends_on_its_own_prompt_and_seed_alone(tiny_model: Path) -> None:
    engine, sampling, seeds = build(tiny_model), SamplingParams(max_tokens=10), seeds_from(3)
    together = engine.generate(PROMPTS, 4, sampling, seeds)
    for prompt, seed, group in zip(PROMPTS, seeds, together, strict=True):
        (alone,) = engine.generate([prompt], 2, sampling, [seed])
        assert [c.tokens for c in alone] == [c.tokens for c in group[:2]]


def test_the_seed_decides_the_samples(tiny_model: Path) -> None:
    engine, sampling = build(tiny_model), SamplingParams(max_tokens=10)
    first = [c.tokens for group in engine.generate(PROMPTS, 4, sampling, seeds_from(3)) for c in group]
    assert first == [c.tokens for group in engine.generate(PROMPTS, 4, sampling, seeds_from(3)) for c in group]
    assert first != [c.tokens for group in engine.generate(PROMPTS, 4, sampling, seeds_from(4)) for c in group]


def test_samples_follow_the_models_distribution(tiny_model: Path) -> None:
    engine = build(tiny_model)
    drawn = engine.generate([PROMPTS[0]], 4000, SamplingParams(max_tokens=1), seeds=[0])[0]
    counts = np.bincount([c.tokens[0] for c in drawn], minlength=200)
    with torch.no_grad():
        expected = torch.softmax(inner(engine)._model(torch.tensor([PROMPTS[0]])).logits[0, -1], -1).numpy()
    likely = np.argsort(expected)[-5:]
    deviation = np.abs(counts[likely] / 4000 - expected[likely])
    assert (deviation < 5 * np.sqrt(expected[likely] / 4000)).all()


def test_greedy_sampling_takes_the_most_likely_token(tiny_model: Path) -> None:
    engine = build(tiny_model)
    completion = engine.generate([PROMPTS[1]], 1, SamplingParams(max_tokens=5, temperature=0.0), seeds=[0])[0][0]
    tokens = list(PROMPTS[1])
    for token in completion.tokens:
        with torch.no_grad():
            assert token == int(inner(engine)._model(torch.tensor([tokens])).logits[0, -1].argmax())
        tokens.append(token)


def test_a_completion_ends_with_its_stop_token_or_is_marked_as_cut(tiny_model: Path) -> None:
    engine = build(tiny_model)
    stops = set(range(0, 200))
    engine.renderer.stop_tokens = tuple(stops)
    finished = {Finish.STOP: 0, Finish.LENGTH: 0}
    for completion in engine.generate([PROMPTS[0]], 64, SamplingParams(max_tokens=6), seeds=[0])[0]:
        finished[completion.finish] += 1
        assert (completion.tokens[-1] in stops) == (completion.finish == Finish.STOP)
        assert stops.isdisjoint(completion.tokens[:-1])
        assert len(completion.tokens) == 6 or completion.finish == Finish.STOP
    assert all(finished.values())


def test_the_split_into_micro_batches_changes_the_gradient_by_rounding_only(tiny_model: Path) -> None:
    whole = gradient(build(tiny_model, micro_batch_tokens=10_000), samples())
    one_by_one = gradient(build(tiny_model, micro_batch_tokens=1), samples())
    unshared = gradient(build(tiny_model, share_prefixes=False), samples())
    assert whole.norm() > 0.1
    torch.testing.assert_close(one_by_one, whole, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(unshared, whole, atol=1e-5, rtol=1e-4)


def test_accumulated_parts_add_up_to_the_whole(tiny_model: Path) -> None:
    engine = build(tiny_model)
    whole = gradient(engine, samples(), normalizer=8.0)
    inner(engine)._optimizer.zero_grad()
    for sample in samples():
        engine.forward_backward([sample], 8.0)
    parts = torch.cat([p.grad.flatten() for p in inner(engine)._trainable.values() if p.grad is not None])
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


def test_the_order_of_samples_does_not_matter(tiny_model: Path) -> None:
    engine = build(tiny_model)
    forwards = gradient(engine, samples())
    torch.testing.assert_close(gradient(engine, samples()[::-1]), forwards, atol=1e-5, rtol=1e-4)


def test_a_token_of_weight_zero_gives_no_gradient(tiny_model: Path) -> None:
    engine = build(tiny_model)
    masked = [
        TrainingSample(
            prompt_tokens=PROMPTS[0],
            completion_tokens=(12, 13, 14),
            weights=np.array([1.0, 0.5, 0.0], dtype=np.float32),
            loss="importance_sampling",
            old_logprobs=np.array([-5.0, -5.0, -np.inf], dtype=np.float32),
            component="distillation",
            rollout=0,
            turn=0,
        )
    ]
    short = [
        TrainingSample(
            prompt_tokens=PROMPTS[0],
            completion_tokens=(12, 13),
            weights=np.array([1.0, 0.5], dtype=np.float32),
            loss="importance_sampling",
            old_logprobs=np.array([-5.0, -5.0], dtype=np.float32),
            component="distillation",
            rollout=0,
            turn=0,
        )
    ]
    torch.testing.assert_close(gradient(engine, masked), gradient(engine, short), atol=1e-6, rtol=1e-5)


def test_the_gradient_is_that_of_the_stated_loss(tiny_model: Path) -> None:
    engine = build(tiny_model)
    sample = samples(1, entropy=0.3)[0]
    found = gradient(engine, [sample], normalizer=2.0)
    inner(engine)._optimizer.zero_grad()
    tokens = torch.tensor([[*sample.prompt_tokens, *sample.completion_tokens]])
    logits = inner(engine)._model(tokens).logits[0, len(sample.prompt_tokens) - 1 : -1]
    logprobs = torch.log_softmax(logits, -1)
    picked = logprobs.gather(1, torch.tensor(sample.completion_tokens)[:, None])[:, 0]
    bonus = 0.3 * -(logprobs.exp() * logprobs).sum()
    torch.autograd.backward((-(torch.from_numpy(sample.weights) * picked).sum() - bonus) / 2.0)
    expected = torch.cat([p.grad.flatten() for p in inner(engine)._trainable.values() if p.grad is not None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_step_against_the_gradient_raises_the_weighted_likelihood(tiny_model: Path) -> None:
    engine = build(tiny_model)
    batch = [sample for sample in samples() if sample.loss == "cross_entropy"]
    pairs = [(sample.prompt_tokens, sample.completion_tokens) for sample in batch]

    def objective() -> float:
        return sum(float((s.weights * lp).sum()) for s, lp in zip(batch, score(engine, pairs), strict=True))

    before = objective()
    engine.forward_backward(batch, 1.0)
    metrics = engine.optim_step(1e-3)
    assert metrics["optim/grad_norm"] > 0
    assert engine.version == 1
    assert objective() > before


def test_the_gradient_norm_is_clipped(tiny_model: Path) -> None:
    def moved(limit: float | None) -> torch.Tensor:
        engine = torch_engine(
            TorchEngineConfig(model=str(tiny_model), device="cpu"), TrainerConfig(max_grad_norm=limit), 1.0
        )
        engine.forward_backward(samples(), 1.0)
        engine.optim_step(1e-3)
        moments: list[torch.Tensor] = [state["exp_avg"] for state in inner(engine)._optimizer.state()["state"].values()]
        total: torch.Tensor = torch.cat([moment.flatten() for moment in moments]).norm()
        return total

    assert moved(0.5) < 0.1 * 0.5 + 1e-4 < moved(None)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_harmed(tiny_model: Path) -> None:
    engine = build(tiny_model)
    before = {name: p.detach().clone() for name, p in inner(engine)._trainable.items()}
    batch = samples(1)
    batch[0].weights[0] = np.inf
    engine.forward_backward(batch, 1.0)
    with pytest.raises(UserError, match="gradient"):
        engine.optim_step(1e-3)
    assert all(torch.equal(before[name], p) for name, p in inner(engine)._trainable.items())


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4)])
def test_save_and_load_go_on_exactly(tiny_model: Path, tmp_path: Path, lora: LoraConfig | None) -> None:
    def train(engine: Joined) -> None:
        engine.forward_backward(samples(), 8.0)
        engine.optim_step(1e-2)

    engine = build(tiny_model, lora=lora)
    train(engine)
    engine.save(tmp_path / "state")
    restored = build(tiny_model, lora=lora)
    restored.load(tmp_path / "state")
    assert restored.version == 1
    for each in (engine, restored):
        train(each)
    for name, parameter in inner(engine)._trainable.items():
        assert torch.equal(parameter, inner(restored)._trainable[name])


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4)])
def test_an_export_loads_in_transformers_and_gives_the_trained_policy(
    tiny_model: Path, tmp_path: Path, lora: LoraConfig | None
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    engine = build(tiny_model, lora=lora)
    for _ in range(3):
        engine.forward_backward(samples(), 8.0)
        engine.optim_step(1e-2)
    engine.export(tmp_path / "model")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
    with torch.no_grad():
        logits = exported(torch.tensor([[*PROMPTS[0], 12]])).logits[0, -2]
    expected = score(engine, [(PROMPTS[0], (12,))])[0][0]
    assert torch.log_softmax(logits, -1)[12].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4)])
def test_the_initial_policy_stays_what_it_was(tiny_model: Path, lora: LoraConfig | None) -> None:
    engine = build(tiny_model, lora=lora)
    pairs = [(prompt, (12, 13)) for prompt in PROMPTS]
    initial = score(engine, pairs)
    for _ in range(3):
        engine.forward_backward(samples(), 8.0)
        engine.optim_step(1e-2)
    for before, still, now in zip(initial, score(engine, pairs, "initial"), score(engine, pairs), strict=True):
        np.testing.assert_allclose(still, before, atol=1e-6)
        assert np.abs(now - before).max() > 1e-3


def test_lora_trains_the_adapters_alone(tiny_model: Path) -> None:
    engine = build(tiny_model, lora=LoraConfig(rank=2, alpha=4))
    assert inner(engine)._trainable
    assert all("lora_" in name for name in inner(engine)._trainable)


def test_adapters_begin_with_what_the_runs_seed_says_and_other_random_numbers_stay_as_they_were(
    tiny_model: Path,
) -> None:
    def begun(seed: int) -> torch.Tensor:
        config = TorchEngineConfig(model=str(tiny_model), device="cpu", lora=LoraConfig(rank=2))
        engine = torch_engine(config, TrainerConfig(), 1.0, seed=seed)
        return torch.cat([p.detach().flatten() for p in inner(engine)._trainable.values()])

    torch.manual_seed(7)
    first, before = begun(1), torch.random.get_rng_state()
    torch.rand(3)
    assert torch.equal(begun(1), first)
    assert not torch.equal(begun(2), first)
    torch.manual_seed(7)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bfloat16_runs_and_reports_its_sampler_gap(tiny_model: Path) -> None:
    engine = build(tiny_model, dtype="bfloat16")
    completion = engine.generate([PROMPTS[0]], 1, SamplingParams(max_tokens=6), seeds=[0])[0][0]
    batch = [
        TrainingSample(
            prompt_tokens=PROMPTS[0],
            completion_tokens=completion.tokens,
            weights=np.ones(len(completion.tokens), dtype=np.float32),
            loss="importance_sampling",
            old_logprobs=completion.logprobs,
            sampling_logprobs=completion.logprobs,
            component="policy",
            rollout=0,
            turn=0,
        )
    ]
    gap = engine.forward_backward(batch, 1.0)["policy/sampler_gap"]
    assert 0.0 <= gap < 0.5


def test_a_missing_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"engine\.model=.*no such directory"):
        build(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"engine\.model=.*no config\.json"):
        build(tmp_path)
    for name in ("config.json", "environment.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=rf"is a run's directory; its model is {tmp_path / 'model'}$"):
        build(tmp_path)


def test_a_tokenizer_without_chat_template_is_one_clear_line(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"no chat template.*engine\.chat_template"):
        build(tmp_path / "model")
    template = tmp_path / "template.jinja"
    template.write_text((tiny_model / "chat_template.jinja").read_text())
    assert build(tmp_path / "model", chat_template=str(template)).renderer.stop_tokens
    template.write_text("")
    with pytest.raises(UserError, match=r"engine\.chat_template=.*template\.jinja: the file is empty"):
        build(tmp_path / "model", chat_template=str(template))


def test_a_directory_without_a_tokenizer_says_what_is_missing(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copy(tiny_model / "config.json", tmp_path)
    with pytest.raises(UserError, match=r"tokenizer cannot be loaded: the directory holds none; copy tokenizer\.json"):
        build(tmp_path)


def test_samples_of_the_same_tokens_share_a_pass_and_keep_their_own_weights(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = build(tiny_model)
    one, two, three = samples(3, entropy=0.3)
    length = len(one.completion_tokens)
    again = dataclasses.replace(
        two,
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        weights=np.full(length, -0.7, dtype=np.float32),
        old_logprobs=np.full(length, -6.0, dtype=np.float32),
    )
    batch = [one, three, again, one]
    passes = 0

    def counted(*args: Any, **named: Any) -> list[Layout]:
        nonlocal passes
        layouts = plain(*args, **named)
        passes += sum(len(layout.members) for layout in layouts)
        return layouts

    plain = Batching.layouts
    monkeypatch.setattr(Batching, "layouts", counted)
    together = gradient(engine, batch)
    assert passes == 2
    apart = torch.stack([gradient(engine, [sample]) for sample in batch]).sum(dim=0)
    torch.testing.assert_close(together, apart, atol=2e-5, rtol=1e-4)
    metrics = engine.forward_backward(batch, 1.0)
    assert metrics["tokens/policy"] == 2 * length + len(three.completion_tokens)


def test_scores_of_the_same_tokens_are_all_given(tiny_model: Path) -> None:
    engine = build(tiny_model)
    pair = (PROMPTS[0], (12, 13))
    first, other, again = score(engine, [pair, (PROMPTS[1], (12, 13)), pair])
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_most_likely_tokens_are_those_of_the_distribution(tiny_model: Path) -> None:
    engine = build(tiny_model, temperature=0.7)
    queries = [Query(prompt_tokens=prompt, completion_tokens=(12, 13), top=k) for k, prompt in enumerate(PROMPTS)]
    for query, answer in zip(queries, engine.answer(queries), strict=True):
        if not query.top:
            assert answer.top is None
            continue
        assert answer.top is not None
        with torch.no_grad():
            logits = inner(engine)._model(torch.tensor([[*query.prompt_tokens, 12, 13]])).logits[0, -3:-1]
        values, tokens = torch.log_softmax(logits / 0.7, -1).topk(query.top)
        np.testing.assert_array_equal(answer.top.tokens_TK, tokens.numpy())
        np.testing.assert_allclose(answer.top.logprobs_TK, values.numpy(), atol=2e-5)


def test_distilling_towards_another_policys_distributions_reaches_it(tiny_model: Path) -> None:
    """The teacher is the policy after some training; a sample carries what it says."""
    engine = build(tiny_model)
    pairs = [(prompt, (12, 13, 14)) for prompt in PROMPTS]
    teacher = build(tiny_model)
    for _ in range(5):
        teacher.forward_backward(samples(), 8.0)
        teacher.optim_step(1e-2)
    taught = [Query(prompt_tokens=prompt, completion_tokens=text, top=200) for prompt, text in pairs]
    batch = [
        TrainingSample(
            prompt_tokens=prompt,
            completion_tokens=text,
            weights=np.ones(3, dtype=np.float32),
            loss="forward_kl",
            targets=answer.top,
            component="token_distillation",
            rollout=0,
            turn=0,
        )
        for (prompt, text), answer in zip(pairs, teacher.answer(taught), strict=True)
    ]
    losses = []
    for _ in range(30):
        losses.append(engine.forward_backward(batch, 4.0)["loss/token_distillation"])
        engine.optim_step(3e-3)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4)])
def test_the_averaged_policy_follows_slowly_and_survives_a_checkpoint(
    tiny_model: Path, tmp_path: Path, lora: LoraConfig | None
) -> None:
    def train(engine: Joined) -> None:
        engine.forward_backward([sample for sample in samples() if sample.loss == "cross_entropy"], 8.0)
        engine.optim_step(1e-2)

    engine = build(tiny_model, lora=lora)
    pairs = [(prompt, (12, 13)) for prompt in PROMPTS]
    weights = {name: p.detach().clone() for name, p in inner(engine)._trainable.items()}
    before = score(engine, pairs)
    np.testing.assert_array_equal(score(engine, pairs, "average"), before)
    expected = {name: p.clone() for name, p in weights.items()}
    for _ in range(3):
        train(engine)
        for name, p in inner(engine)._trainable.items():
            expected[name] += (1 - 0.99) * (p.detach() - expected[name])
    for name, average in inner(engine)._averages().items():
        torch.testing.assert_close(average, expected[name])
    now, followed = score(engine, pairs), score(engine, pairs, "average")
    assert np.abs(np.array(followed) - before).max() < np.abs(np.array(now) - before).max()
    np.testing.assert_array_equal(score(engine, pairs), now)
    engine.save(tmp_path / "state")
    restored = build(tiny_model, lora=lora)
    restored.load(tmp_path / "state")
    for each in (engine, restored):
        train(each)
    np.testing.assert_array_equal(score(restored, pairs, "average"), score(engine, pairs, "average"))


def test_each_completion_says_which_version_of_the_policy_wrote_it(tiny_model: Path) -> None:
    engine = build(tiny_model)
    sampling = SamplingParams(max_tokens=3)
    assert engine.generate([PROMPTS[0]], 1, sampling, seeds=[0])[0][0].version == 0
    engine.forward_backward(samples(), 8.0)
    engine.optim_step(1e-3)
    assert engine.generate([PROMPTS[0]], 1, sampling, seeds=[0])[0][0].version == 1


def sample(**parts: Any) -> TrainingSample:
    whole: dict[str, Any] = {
        "prompt_tokens": (1,),
        "completion_tokens": (2, 3),
        "weights": np.ones(2, dtype=np.float32),
        "loss": "cross_entropy",
        "component": "policy",
        "rollout": 0,
        "turn": 0,
    }
    return TrainingSample(**{**whole, **parts})


TWO, THREE = np.zeros(2, dtype=np.float32), np.zeros(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"weights": THREE}, "weights has shape"),
        ({"sampling_logprobs": THREE}, "sampling has shape"),
        ({"completion_tokens": (), "weights": np.zeros(0, dtype=np.float32)}, "need a token each"),
        ({"loss": "ppo"}, "ppo needs old_logprobs"),
        ({"loss": "ppo", "old_logprobs": THREE}, "old_logprobs has shape"),
        ({"old_logprobs": TWO}, "cross_entropy takes no old_logprobs"),
        ({"loss": "reverse_kl"}, "reverse_kl needs targets"),
        ({"loss": "ppo", "old_logprobs": TWO, "clip": (1.2, 0.8)}, "no bounds of a ratio"),
    ],
)
def test_a_sample_that_makes_no_sense_is_refused(parts: dict[str, Any], message: str) -> None:
    sample()
    with pytest.raises(ValueError, match=message):
        sample(**parts)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("rank", [None, 4])
def test_a_prompt_whose_group_takes_several_passes_is_computed_once(
    tiny_model: Path, rank: int | None, checkpointing: bool
) -> None:
    prompt = tuple(range(10, 40))
    group = [dataclasses.replace(sample, prompt_tokens=prompt) for sample in samples()]
    settings: dict[str, Any] = {"lora": None if rank is None else LoraConfig(rank=rank)}
    whole = build(tiny_model, micro_batch_tokens=10_000, **settings)
    parts = build(tiny_model, micro_batch_tokens=48, gradient_checkpointing=checkpointing, **settings)
    lengths: list[int] = []
    embedding = inner(parts)._model.get_input_embeddings()
    hook = embedding.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    expected, found = gradient(whole, group), gradient(parts, group)
    assert lengths.count(len(prompt) - 1) == 1 < len(lengths) - 1
    assert expected.norm() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    lengths.clear()
    queries = [Query(prompt_tokens=prompt, completion_tokens=sample.completion_tokens) for sample in group]
    answers = parts.answer(queries)
    assert lengths.count(len(prompt) - 1) == 1 < len(lengths) - 1
    hook.remove()
    for answer, other in zip(answers, whole.answer(queries), strict=True):
        np.testing.assert_allclose(answer.logprobs_T, other.logprobs_T, atol=2e-5)
