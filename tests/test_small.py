"""Less memory for the same numbers: logits in chunks, activations computed again, samples that nothing reads."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.check import load, write_tiny
from test_engine import PROMPTS, build, gradient, inner, samples

from rltf.config import LoraConfig
from rltf.engines.packing import Layout, TokenSequence
from rltf.engines.torch import forward as forward_module
from rltf.engines.torch import sampler as sampler_module
from rltf.engines.torch import token_losses
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.forward import Pass
from rltf.engines.torch.heads import Head, find_head
from rltf.engines.torch.learner import TorchLearner
from rltf.engines.torch.self_check import check_batching
from rltf.support.errors import UserError
from rltf.types import Query, SamplingParams, TokenDistributions, TrainingSample


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

    def counted(*args: Any, **named: Any) -> list[Layout]:
        layouts = plain(*args, **named)
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


def failing(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Makes a device of which memory runs out in the backward pass of more than `most` tokens; records the sizes."""
    tried: list[int] = []
    plain = token_losses.backward

    def limited(found: Pass, kinds: Any, normalizer: float, chunk: int, figures: Any) -> None:
        plain(found, kinds, normalizer, chunk, figures)  # It fails when a part of the gradient is there already.
        tried.append(int(found.states_NH.shape[0]))
        if tried[-1] > most:
            raise error

    monkeypatch.setattr("rltf.engines.torch.learner.backward", limited)
    return tried


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 5 bytes")]
)
def test_a_step_that_runs_out_of_memory_is_begun_again_with_less_at_once(
    error: Exception, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, batch = gradient(build(tiny_model), samples()), samples()
    engine = build(tiny_model)
    learner = inner(engine)
    whole = learner.token_budget
    tried = failing(monkeypatch, 12, error)
    torch.testing.assert_close(gradient(engine, batch), expected, atol=1e-5, rtol=1e-4)
    assert max(tried) > 12 >= tried[-1]
    figures = engine.forward_backward(batch, 2.0)
    assert figures["memory/micro_batch_tokens"] == learner.token_budget < whole
    # What was accumulated before the step that failed is still there.
    torch.testing.assert_close(both(learner), expected * 1.5, atol=1e-5, rtol=1e-4)
    engine.save(tmp_path / "state")
    resumed = build(tiny_model)
    resumed.load(tmp_path / "state")
    assert inner(resumed).token_budget == learner.token_budget


def both(learner: TorchLearner) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in learner._trainable.values() if p.grad is not None])


def test_one_sequence_that_is_too_large_for_the_device_is_one_clear_line(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, 0, torch.OutOfMemoryError("CUDA"))
    with pytest.raises(UserError, match=r"not enough memory for one sequence of \d+ tokens: set engine\.gradient"):
        build(tiny_model).forward_backward(samples(), 1.0)


def test_another_error_of_a_pass_is_not_taken_for_a_lack_of_memory(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        build(tiny_model).forward_backward(samples(), 1.0)


def test_scoring_and_sampling_go_on_with_less_at_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [Query(prompt_tokens=prompt, completion_tokens=(12, 13)) for prompt in PROMPTS]
    sampling, seeds = SamplingParams(max_tokens=6), list(range(len(PROMPTS)))
    plain = build(tiny_model)
    scores, drawn = plain.answer(queries), plain.generate(PROMPTS, 4, sampling, seeds)
    run = forward_module.run

    def limited(model: Any, **inputs: Any) -> Any:
        if inputs["input_ids"].shape[0] > 3:
            raise torch.OutOfMemoryError("CUDA")
        return run(model, **inputs)

    engine = build(tiny_model)
    for module in (forward_module, sampler_module):
        monkeypatch.setattr(module, "run", limited)
    for found, expected in zip(engine.answer(queries), scores, strict=True):
        np.testing.assert_allclose(found.logprobs_T, expected.logprobs_T, atol=1e-5)
    again = engine.generate(PROMPTS, 4, sampling, seeds)
    assert [[c.tokens for c in group] for group in again] == [[c.tokens for c in group] for group in drawn]


def test_keys_and_values_of_grouped_heads_are_not_copied_and_the_setting_is_given_back(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four query heads read two heads of keys and values; with a mask, transformers would copy these."""
    write_tiny("llama", tokenizer, tmp_path / "tiny")
    seen: list[tuple[int, int]] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.append((query.shape[1], key.shape[1]))
        return plain(query, key, *args, **kwargs)

    engine = build(tmp_path / "tiny")
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    engine.forward_backward(samples(), 1.0)
    assert set(seen) == {(4, 2)}
    assert "TRANSFORMERS_SDPA_FORCE_GQA" not in os.environ
