"""Decoding with tensors of fixed shape, unrecorded as on a CPU, against the plain decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.check import load, write_tiny
from test_engine import PROMPTS, build, inner, seeds_from

from rltf.config import LoraConfig
from rltf.engines.torch import fixed, sampler
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.self_check import check_fixed
from rltf.types import Completion, SamplingParams, Tokens

STOPS = tuple(range(0, 128, 6))
TEMPERATURES = {"llama": 1.0, "qwen3": 0.7, "gpt2": 1.0, "gpt_neox": 0.5}


def sample(model: Any, prompts: Sequence[Tokens] = PROMPTS, **settings: Any) -> list[Completion]:
    arguments: dict[str, Any] = {
        "sampling": SamplingParams(max_tokens=17),
        "stop_tokens": STOPS,
        "batching": Batching.SHARED,
        "token_budget": 10_000,
        "decode_batch": 100,
    } | settings
    seeds = [10 * i for i in range(len(prompts))]
    groups = sampler.generate(model, model.device, prompts, 5, seeds=seeds, **arguments)
    return [completion for group in groups for completion in group]


def assert_same(found: list[Completion], expected: list[Completion]) -> None:
    assert [(c.tokens, c.finish) for c in found] == [(c.tokens, c.finish) for c in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Buffers of few columns, looked at often; and the rows and the first step of each."""
    for name, value in (("_BLOCK", 4), ("_ALIGNED", 2), ("_LOOK_EVERY", 2)):
        monkeypatch.setattr(fixed, name, value)
    made: list[tuple[int, int]] = []
    block = fixed.FixedDecoder._block

    def noted(self: Any, row_A: Any, place_A: Any, first: int) -> int:
        made.append((len(row_A), first))
        return block(self, row_A, place_A, first)

    monkeypatch.setattr(fixed.FixedDecoder, "_block", noted)
    return made


@pytest.mark.parametrize("kind", TEMPERATURES)
def test_it_draws_what_the_plain_decoder_draws(
    kind: str, small_blocks: list[tuple[int, int]], tokenizer: Any, tmp_path: Path
) -> None:
    write_tiny(kind, tokenizer, tmp_path / "tiny")
    model = load(tmp_path / "tiny")
    for batching in Batching:
        settings: dict[str, Any] = {
            "batching": batching,
            "sampling": SamplingParams(max_tokens=17, temperature=TEMPERATURES[kind]),
        }
        plain = sample(model, **settings)
        assert not small_blocks
        assert_same(sample(model, fixed_columns=1000, **settings), plain)
        rows = [rows for rows, _ in small_blocks]
        assert min(rows) < max(rows), "no row was dropped"
        assert len({first for _, first in small_blocks}) > 2, "no buffer was too small"
        assert len({len(c.tokens) for c in plain}) > 3
        small_blocks.clear()


def test_blocks_of_the_usual_size_change_nothing(tiny_model: Path) -> None:
    model = load(tiny_model)
    sampling = SamplingParams(max_tokens=90, temperature=0.0)
    plain = sample(model, sampling=sampling, stop_tokens=[3])
    assert max(len(c.tokens) for c in plain) == 90
    assert_same(sample(model, sampling=sampling, stop_tokens=[3], fixed_columns=1000), plain)


def test_with_adapters_it_draws_the_same(tiny_model: Path, small_blocks: list[tuple[int, int]]) -> None:
    model = inner(build(tiny_model, lora=LoraConfig(rank=4)))._model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    plain = sample(model)
    assert_same(sample(model, fixed_columns=1000), plain)
    assert small_blocks
    with model.disable_adapter():
        assert [c.tokens for c in sample(model)] != [c.tokens for c in plain]


def test_a_window_is_kept_by_the_plain_decoder_alone(
    small_blocks: list[tuple[int, int]], tokenizer: Any, tmp_path: Path
) -> None:
    write_tiny("mistral", tokenizer, tmp_path / "narrow")
    assert check_fixed(load(tmp_path / "narrow"), Batching.SHARED, 256) == (0, [])
    write_tiny("mistral", tokenizer, tmp_path / "tiny", sliding_window=64)
    model = load(tmp_path / "tiny")
    columns, notes = check_fixed(model, Batching.SHARED, 256)
    assert columns == 64
    assert notes == ["sequences beyond the model's window of 64 tokens are decoded without CUDA graphs"]
    small_blocks.clear()
    assert_same(sample(model, fixed_columns=columns), sample(model))
    assert small_blocks
    small_blocks.clear()
    long = [tuple(range(5, 70)), tuple(range(5, 80))]
    assert_same(sample(model, long, fixed_columns=columns), sample(model, long))
    assert not small_blocks


def test_a_cache_of_other_things_than_keys_and_values_is_left_to_the_plain_decoder(
    small_blocks: list[tuple[int, int]], tokenizer: Any, tmp_path: Path
) -> None:
    write_tiny("qwen3_next", tokenizer, tmp_path / "tiny")
    model = load(tmp_path / "tiny")
    assert check_fixed(model, Batching.PADDED, 256) == (
        0,
        ["decoded without CUDA graphs: its cache holds other things than the keys and values of every column"],
    )
    settings: dict[str, Any] = {"batching": Batching.PADDED}
    assert_same(sample(model, fixed_columns=1000, **settings), sample(model, **settings))
    assert not small_blocks


def test_the_check_refuses_a_model_that_a_recording_would_get_wrong(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_model)
    assert check_fixed(model, Batching.SHARED, 256) == (256, [])

    def late(self: Any, keys: Any, values: Any, *args: Any, **kwargs: Any) -> Any:
        """As if the column were a number that the recording holds fast."""
        self.keys[:, :, self._used], self.values[:, :, self._used] = keys[:, :, 0], values[:, :, 0]
        return self.keys, self.values

    monkeypatch.setattr(fixed.FixedLayer, "update", late)
    columns, notes = check_fixed(model, Batching.SHARED, 256)
    assert columns == 0
    assert "decoded without CUDA graphs: log-probabilities would be off by" in notes[0]

    def refuses(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("not like this\nat all")

    monkeypatch.setattr(fixed.FixedLayer, "update", refuses)
    assert check_fixed(model, Batching.SHARED, 256) == (0, ["decoded without CUDA graphs: not like this"])


def test_an_engine_decodes_with_fixed_shapes_where_cuda_graphs_says_so(
    tiny_model: Path, small_blocks: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = SamplingParams(max_tokens=8)
    plain = build(tiny_model).generate(PROMPTS, 2, sampling, seeds_from(1))
    assert not small_blocks
    monkeypatch.setattr(fixed, "RECORDED_ON", ("cpu",))
    off = build(tiny_model, cuda_graphs=False)
    assert off.generate(PROMPTS, 2, sampling, seeds_from(1))[0][0].tokens == plain[0][0].tokens
    assert not small_blocks
    on = build(tiny_model, cuda_graphs=True)
    small_blocks.clear()  # Those of the check at load.
    found = on.generate(PROMPTS, 2, sampling, seeds_from(1))
    assert small_blocks
    for some, others in zip(found, plain, strict=True):
        assert_same(some, others)


def test_what_cannot_be_recorded_after_all_is_decoded_the_plain_way_and_said(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = SamplingParams(max_tokens=8)
    plain = build(tiny_model).generate(PROMPTS, 2, sampling, seeds_from(1))
    monkeypatch.setattr(fixed, "RECORDED_ON", ("cpu",))
    engine = build(tiny_model)
    tried: list[None] = []

    def fails(self: Any) -> None:
        tried.append(None)
        raise fixed.CannotRecord("operation not permitted")

    monkeypatch.setattr(fixed.FixedDecoder, "run", fails)
    with pytest.warns(UserWarning, match="decoded without CUDA graphs: operation not permitted"):
        found = engine.generate(PROMPTS, 2, sampling, seeds_from(1))
    for some, others in zip(found, plain, strict=True):
        assert_same(some, others)
    engine.generate(PROMPTS, 2, sampling, seeds_from(1))
    assert len(tried) == 1
