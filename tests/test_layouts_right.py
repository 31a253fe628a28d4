"""Faults that gave wrong log-probabilities, or none, in silence: each as it was, and as it is."""

from __future__ import annotations

import copy
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.check import Pair, distance, load, logprobs, sample, scores, write_tiny
from transformers import AutoModelForCausalLM

from rltf.config import LoraConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.torch import caches, self_check
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.caches import GrowingLayer
from rltf.engines.torch.engine import torch_engine
from rltf.engines.torch.self_check import check_batching
from rltf.support.errors import UserError
from rltf.types import FloatArray, SamplingParams

WINDOWED = ("mistral", "gemma2", "gpt_oss", "llama4_text", "gpt_neo")
STEM = tuple(range(20, 39))
PAIRS: list[Pair] = [((*STEM, 5, 6), (7, 8, 9)), ((*STEM, 40, 41, 42, 43, 44, 45), (46, 47)), ((60, 61, 62), (63, 64))]


def build(path: Path, **settings: Any) -> Any:
    config = TorchEngineConfig(model=str(path), device="cpu", **settings)
    return torch_engine(config, TrainerConfig(learning_rate=1e-2, max_grad_norm=None), 1.0)


def with_columns_between(model: Any) -> list[FloatArray]:
    """The first two pairs as batches were laid out: prefix padded on the right, suffixes on the left of each other."""
    stem = torch.tensor([[*STEM, 0, 0, 0], [*STEM, 0, 0, 0]])
    mask = torch.tensor([[1] * len(STEM) + [0] * 3] * 2)
    rows = [[*prompt[len(STEM) :], *completion] for prompt, completion in PAIRS[:2]]
    width = max(map(len, rows))
    suffix = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    own = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    with torch.no_grad():
        past = model(input_ids=stem, attention_mask=mask, use_cache=True).past_key_values
        logits = model(
            input_ids=suffix,
            attention_mask=torch.cat([mask, own], dim=1),
            position_ids=(own.cumsum(1) - 1).clamp(min=0) + len(STEM),
            past_key_values=past,
        ).logits
    found = []
    for row, (_, completion) in enumerate(PAIRS[:2]):
        last = torch.log_softmax(logits[row, -len(completion) - 1 : -1], -1)
        found.append(last.gather(1, torch.tensor(completion)[:, None])[:, 0].numpy())
    return found


@pytest.mark.parametrize("kind", WINDOWED)
def test_columns_between_prefix_and_suffix_were_wrong_where_layers_count_columns(
    kind: str, tokenizer: Any, tmp_path: Path
) -> None:
    from families.table import CHANGES

    write_tiny(kind, tokenizer, tmp_path / "tiny", **CHANGES.get(kind, {}))
    model = load(tmp_path / "tiny")
    plain = [logprobs(model, pair) for pair in PAIRS]
    assert distance(with_columns_between(model), plain[:2]) > 0.1
    engine = build(tmp_path / "tiny")
    assert engine.learner.batching is Batching.SHARED
    assert distance(scores(engine, PAIRS), plain) < 1e-4


def test_a_model_with_states_ended_in_a_traceback_and_now_trains_without_sharing(
    tokenizer: Any, tmp_path: Path
) -> None:
    write_tiny("qwen3_next", tokenizer, tmp_path / "tiny")
    model = load(tmp_path / "tiny")
    with torch.no_grad():
        past = model(input_ids=torch.tensor([STEM]), use_cache=True).past_key_values
    with pytest.raises(AttributeError):
        past.batch_repeat_interleave(2)
    engine = build(tmp_path / "tiny")
    assert engine.learner.batching is Batching.PADDED
    assert any("prefixes are not shared" in note for note in engine.learner.notes)
    assert distance(scores(engine, PAIRS), [logprobs(model, pair) for pair in PAIRS]) < 1e-4


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_adapters_on_tied_weights_were_merged_into_both_of_them(target: str, tokenizer: Any, tmp_path: Path) -> None:
    write_tiny("llama", tokenizer, tmp_path / "tiny", tie_word_embeddings=True)
    engine = build(tmp_path / "tiny", lora=LoraConfig(rank=4, alpha=16, target_modules=[target]))
    for _ in range(3):
        engine.forward_backward([sample(pair, np.ones(len(pair[1]), dtype=np.float32)) for pair in PAIRS], 1.0)
        engine.optim_step(1e-2)
    trained = scores(engine, PAIRS)
    as_it_was = copy.deepcopy(engine.learner._model).merge_and_unload()
    assert distance([logprobs(as_it_was, pair) for pair in PAIRS], trained) > 0.1
    engine.export(tmp_path / "out")
    exported = load(tmp_path / "out")
    assert distance([logprobs(exported, pair) for pair in PAIRS], trained) < 1e-4


def test_a_layer_that_takes_no_adapter_is_refused_by_name(tokenizer: Any, tmp_path: Path) -> None:
    write_tiny("llama4_text", tokenizer, tmp_path / "tiny")
    with pytest.raises(UserError, match=r"engine\.lora\.target_modules: .*router takes no adapter"):
        build(tmp_path / "tiny", lora=LoraConfig(target_modules=["router", "q_proj"]))


def test_a_row_of_padding_made_the_gradient_infinite_where_a_model_takes_a_root_of_it(
    tokenizer: Any, tmp_path: Path
) -> None:
    from families.table import CHANGES

    write_tiny("gemma3n_text", tokenizer, tmp_path / "tiny", **CHANGES["gemma3n_text"])
    model = load(tmp_path / "tiny")
    padding = model.config.get_text_config().pad_token_id
    mask = torch.tensor([[0, 0, 1, 1, 1]])
    logits = model(input_ids=torch.tensor([[padding, padding, 20, 21, 22]]), attention_mask=mask).logits
    logits[0, -1].log_softmax(-1)[5].backward()
    assert not all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    engine = build(tmp_path / "tiny")
    engine.forward_backward([sample(pair, np.ones(len(pair[1]), dtype=np.float32)) for pair in PAIRS], 1.0)
    assert np.isfinite(engine.optim_step(1e-3)["optim/grad_norm"])


def test_the_check_finds_a_layout_that_a_model_does_not_follow(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that keeps no more than the window's columns is one that rows which end earlier cannot be read from."""
    write_tiny("mistral", tokenizer, tmp_path / "tiny")
    model = load(tmp_path / "tiny")
    assert check_batching(model, "it", True, 256).batching is Batching.SHARED

    def shifted(cache: Any, reads: Any) -> None:
        for layer in cache.layers:
            layer.keys, layer.values = reads.of(layer.keys).roll(1, -2), reads.of(layer.values).roll(1, -2)

    monkeypatch.setattr("rltf.engines.torch.forward.spread_prefixes", shifted)
    checked = check_batching(model, "it", True, 256)
    assert checked.batching is Batching.PADDED
    assert "log-probabilities would be off by" in checked.notes[0]


def test_the_check_goes_beyond_the_window_where_that_is_affordable(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny("mistral", tokenizer, tmp_path / "tiny", sliding_window=40)
    model = load(tmp_path / "tiny")
    longest = max(map(len, self_check._prompts(model, 256)[0]))
    assert longest > 40
    monkeypatch.setitem(self_check._MOST_WORK, "cpu", 1.0)
    prompts, notes = self_check._prompts(model, 256)
    assert max(map(len, prompts)) < 40
    assert "did not go beyond the model's window of 40" in notes[0]


def test_a_model_of_which_every_layout_is_wrong_is_refused(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny("llama", tokenizer, tmp_path / "tiny")
    monkeypatch.setattr(self_check, "_gap", lambda *args: 0.3)
    with pytest.raises(UserError, match=r"engine\.model=it: models of the kind llama .* off by 0\.3 nats"):
        check_batching(AutoModelForCausalLM.from_pretrained(tmp_path / "tiny"), "it", True, 256)


def test_a_growing_layer_has_room_for_few_tokens_and_makes_more_when_it_needs_it(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny("llama", tokenizer, tmp_path / "tiny")
    prompts, sampling = [pair[0] for pair in PAIRS], SamplingParams(max_tokens=20)

    def sampled() -> list[list[tuple[int, ...]]]:
        return [[c.tokens for c in g] for g in build(tmp_path / "tiny").generate(prompts, 2, sampling, [1, 2, 3])]

    wide, widths = sampled(), set()
    plain = GrowingLayer.update

    def measured(layer: Any, *args: Any, **kwargs: Any) -> Any:
        found = plain(layer, *args, **kwargs)
        widths.add(layer._keys.shape[-2])
        return found

    monkeypatch.setattr("rltf.engines.torch.caches._ROOM", 3)
    monkeypatch.setattr(GrowingLayer, "update", measured)
    assert sampled() == wide
    assert len(widths) > 4


def test_a_cache_that_gets_room_is_never_there_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else sampling takes twice the memory that long prompts take."""
    cache = caches.prefix_cache()
    for place in range(3):
        cache.update(torch.ones(1, 1, 4, 2), torch.ones(1, 1, 4, 2), place)
    layers = [weakref.ref(layer) for layer in cache.layers]
    left: list[int] = []
    plain = caches._with_room

    def noting(states: torch.Tensor, room: int) -> torch.Tensor:
        left.append(sum(layer() is not None for layer in layers))
        return plain(states, room)

    monkeypatch.setattr(caches, "_with_room", noting)
    caches.reserve(cache, 8)
    assert left == [3, 3, 2, 2, 1, 1]
    assert all(torch.equal(layer.keys, torch.ones(1, 1, 4, 2)) for layer in cache.layers)
