"""Less memory for the same numbers: logits in chunks, activations computed again, samples that nothing reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.check import load, write_tiny
from test_engine import PROMPTS, gradient, inner, samples
from test_engine import build as build_engine

from rltf.config import LoraConfig
from rltf.engines.base import Joined
from rltf.engines.packing import Layout, TokenSequence
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.heads import Head, find_head
from rltf.engines.torch.self_check import check_batching
from rltf.types import Query, TokenDistributions, TrainingSample


def build(path: Path, **settings: Any) -> Joined:
    """An engine whose adapters, if any, begin alike."""
    torch.manual_seed(0)
    return build_engine(path, **settings)


def with_targets(count: int) -> list[TrainingSample]:
    """Samples that move towards distributions over four tokens."""
    rng = np.random.default_rng(5)
    made = []
    for i, sample in enumerate(samples(count, entropy=0.2)):
        length = len(sample.completion_tokens)
        tokens = np.stack([rng.choice(60, size=4, replace=False) for _ in range(length)])
        logprobs = np.log(rng.dirichlet(np.ones(5), size=length)[:, :4]).astype(np.float32)
        made.append(
            dataclasses.replace(
                sample,
                loss=("forward_kl", "reverse_kl", "jensen_shannon")[i % 3],
                old_logprobs=None,
                targets=TokenDistributions(tokens_TK=tokens, logprobs_TK=logprobs),
            )
        )
    return made


def widest_logits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Records for how many tokens logits are made at a time."""
    made: list[int] = []
    plain = Head.logits

    def counted(head: Head, states: torch.Tensor) -> torch.Tensor:
        made.append(len(states))
        return plain(head, states)

    monkeypatch.setattr(Head, "logits", counted)
    return made


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, target_modules=["q_proj", "lm_head"])])
def test_logits_in_chunks_give_the_same_gradient_and_figures(
    chunk: int, lora: LoraConfig | None, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [*samples(8, entropy=0.3), *with_targets(6)]
    whole = build(tiny_model, lora=lora)
    inner(whole)._head_apart = False
    expected, figures = gradient(whole, batch), whole.forward_backward(batch, 2.0)
    made = widest_logits(monkeypatch)
    chunked = build(tiny_model, lora=lora, logit_chunk=chunk)
    made.clear()
    torch.testing.assert_close(gradient(chunked, batch), expected, atol=1e-5, rtol=1e-4)
    assert chunked.forward_backward(batch, 2.0) == pytest.approx(figures, rel=1e-5, abs=1e-6)
    assert made and max(made) <= chunk


def test_logits_in_chunks_give_the_same_answers(tiny_model: Path) -> None:
    queries = [
        Query(prompt_tokens=p, completion_tokens=(12, 13, 14)[: i + 1], top=i) for i, p in enumerate(PROMPTS[:3])
    ]
    whole = build(tiny_model)
    inner(whole)._head_apart = False
    for found, expected in zip(build(tiny_model, logit_chunk=2).answer(queries), whole.answer(queries), strict=True):
        np.testing.assert_allclose(found.logprobs_T, expected.logprobs_T, atol=1e-6)
        assert (found.top is None) == (expected.top is None)
        if found.top is not None and expected.top is not None:
            np.testing.assert_array_equal(found.top.tokens_TK, expected.top.tokens_TK)
            np.testing.assert_allclose(found.top.logprobs_TK, expected.top.logprobs_TK, atol=1e-6)


@pytest.mark.parametrize("kind", ["gemma2", "cohere", "granite", "opt", "gpt2", "falcon_h1", "llama4_text"])
def test_a_head_has_its_models_own_scales_and_caps(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    from families.table import CHANGES

    write_tiny(kind, tokenizer, tmp_path / "tiny", **CHANGES.get(kind, {}))
    model = load(tmp_path / "tiny")
    head = find_head(model)
    assert head is not None
    states: list[torch.Tensor] = []
    head.decoder.register_forward_hook(lambda module, given, output: states.append(output[0]))
    with torch.no_grad():
        whole = model(input_ids=torch.tensor([[20, 21, 22, 23]])).logits[0]
        torch.testing.assert_close(head.logits(states[0][0]), whole, atol=1e-5, rtol=1e-5)


def test_a_model_whose_head_makes_other_logits_is_told_and_trained_with_whole_ones(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = gradient(build(tiny_model), samples())
    plain = Head.logits
    monkeypatch.setattr(Head, "logits", lambda head, states: 2.0 * plain(head, states))
    engine = build(tiny_model, logit_chunk=2)
    (note,) = engine.notes
    assert "logits are made for a whole micro-batch at once" in note
    torch.testing.assert_close(gradient(engine, samples()), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2)])
def test_activations_computed_again_give_the_same_gradient_to_the_bit(
    share: bool, lora: LoraConfig | None, tiny_model: Path
) -> None:
    kept = gradient(build(tiny_model, share_prefixes=share, lora=lora), samples())
    again = gradient(build(tiny_model, share_prefixes=share, lora=lora, gradient_checkpointing=True), samples())
    assert kept.norm() > 0.01
    assert torch.equal(again, kept)


def test_checkpointing_keeps_fewer_numbers_for_the_backward_pass(tiny_model: Path) -> None:
    sequences = [TokenSequence(prompt=s.prompt_tokens, completion=s.completion_tokens) for s in samples()]

    def kept(**settings: Any) -> int:
        engine, sizes = build(tiny_model, **settings), dict[int, int]()

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            layout = Batching.SHARED.layouts(sequences, 10_000)[0]
            learner = inner(engine)
            everything = np.ones((len(layout.members), layout.completion_columns), dtype=np.bool_)
            learner._pass(learner._model, layout, everything)
        return sum(sizes.values())

    assert kept(gradient_checkpointing=True) < 0.5 * kept()


def test_a_sample_of_no_weight_is_not_computed_and_changes_nothing(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = build(tiny_model)
    batch = samples(6)
    idle = [dataclasses.replace(s, weights=np.zeros_like(s.weights)) for s in samples(8)[6:]]
    expected = gradient(engine, batch, normalizer=3.0)
    rows: list[int] = []
    plain = Batching.layouts

    def counted(*args: Any) -> list[Layout]:
        layouts = plain(*args)
        rows.append(sum(len(layout.members) for layout in layouts))
        return layouts

    monkeypatch.setattr(Batching, "layouts", counted)
    assert torch.equal(gradient(engine, [*batch, *idle], normalizer=3.0), expected)
    assert rows == [6]
    assert engine.forward_backward(idle, 3.0) == {"loss/policy": 0.0, "loss/distillation": 0.0} | {
        f"tokens/{s.component}": float(len(s.completion_tokens)) for s in idle
    }


@pytest.mark.parametrize("kind", ["mistral", "gemma3n_text", "mamba", "falcon_h1", "gpt_oss"])
def test_other_architectures_checkpoint_too(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    from families.table import CHANGES

    write_tiny(kind, tokenizer, tmp_path / "tiny", **CHANGES.get(kind, {}))
    assert check_batching(load(tmp_path / "tiny"), "it", True, 256).head_apart
    kept = gradient(build(tmp_path / "tiny"), samples())
    again = gradient(build(tmp_path / "tiny", gradient_checkpointing=True, logit_chunk=2), samples())
    torch.testing.assert_close(again, kept, atol=1e-4 * float(kept.abs().max()), rtol=1e-3)
