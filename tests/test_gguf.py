"""GGUF files of each architecture become the model that they were made of, or are refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf_files import ORIGINAL_CONTEXT, kinds, tiny, tiny_qwen2, write_gguf
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, LlamaConfig, Phi3Config, Qwen3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from rltf.engines.torch.gguf_rope import UnknownScaling, llama3_scaling
from rltf.engines.torch.model import source_of
from rltf.support.errors import UserError

LENGTH = 3 * ORIGINAL_CONTEXT


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def logits(model: Any) -> torch.Tensor:
    """Of a sequence beyond every window and original context."""
    tokens = torch.randint(0, 200, (1, LENGTH), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: torch.Tensor = model(tokens).logits[0]
    return found


def converted(model: Any, tokenizer: Any, file: Path, **changes: Any) -> Any:
    write_gguf(file, model, tokenizer, **changes)
    return AutoModelForCausalLM.from_pretrained(source_of(str(file))).eval()


@pytest.mark.parametrize("kind", list(kinds()))
def test_a_file_becomes_the_model_that_it_was_made_of(kind: str, chatml: Any, tmp_path: Path) -> None:
    config_class, settings = kinds()[kind]
    model = tiny(config_class, len(chatml), **settings)
    found = converted(model, chatml, tmp_path / "tiny.gguf")
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind, (_, settings) in kinds().items() if "rope_parameters" in settings])
def test_what_is_stated_of_positions_matters_at_this_length(kind: str, chatml: Any) -> None:
    """Else the test above would pass whatever the conversion did with it."""
    config_class, settings = kinds()[kind]
    model = tiny(config_class, len(chatml), **settings)
    plain = tiny(config_class, len(chatml), **{**settings, "rope_parameters": None})
    plain.load_state_dict(model.state_dict())
    assert (logits(plain) - logits(model)).abs().max() > 0.01


def test_windows_matter_at_this_length(chatml: Any) -> None:
    for kind in ("gemma2, window", "gemma3, window", "phi3, window and part of the heads rotated"):
        config_class, settings = kinds()[kind]
        model = tiny(config_class, len(chatml), **settings)
        wide = tiny(config_class, len(chatml), **{**settings, "sliding_window": 4096})
        assert (logits(wide) - logits(model)).abs().max() > 0.01


@pytest.mark.parametrize(("config_class", "layers"), [(Gemma2Config, 46), (Gemma3TextConfig, 62)])
def test_the_largest_gemmas_divide_their_scores_by_another_width(
    config_class: Any, layers: int, chatml: Any, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": layers, "head_dim": 16}
    model = tiny(config_class, len(chatml), **sizes, query_pre_attn_scalar=8, tie_word_embeddings=True)
    found = converted(model, chatml, tmp_path / "tiny.gguf")
    assert found.config.query_pre_attn_scalar == 8


@pytest.mark.parametrize("pattern", [2, [1, 1, 0, 1, 1, 1, 0]])
def test_a_stated_pattern_of_windows_is_taken(pattern: Any, chatml: Any, tmp_path: Path) -> None:
    _, settings = kinds()["gemma3, window"]
    slides = [(layer + 1) % 2 != 0 for layer in range(7)] if pattern == 2 else pattern
    types = ["sliding_attention" if slide else "full_attention" for slide in slides]
    model = tiny(Gemma3TextConfig, len(chatml), **settings, layer_types=types)
    stated = {"attention.sliding_window_pattern": pattern}
    found = converted(model, chatml, tmp_path / "tiny.gguf", statements=stated)
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)


def test_a_gemma_whose_file_states_no_window_has_none(chatml: Any, tmp_path: Path) -> None:
    _, settings = kinds()["gemma3, window"]
    model = tiny(Gemma3TextConfig, len(chatml), **settings, layer_types=["full_attention"] * 7)
    found = converted(model, chatml, tmp_path / "tiny.gguf", statements={"attention.sliding_window": 0})
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)


REFUSED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str]] = {
    "a key that nobody knows": (LlamaConfig, {}, {"logit_scale": 0.5}, r"llama\.logit_scale = 0\.5, whose effect"),
    "attention to what comes later": (LlamaConfig, {}, {"attention.causal": 0}, r"llama\.attention\.causal = 0"),
    "a window of some layers": (Qwen3Config, {}, {"attention.sliding_window": 8}, "in which layers"),
    "layers that differ": (LlamaConfig, {}, {"attention.head_count_kv": [2, 4]}, "a number for each layer"),
    "part of the heads rotated": (LlamaConfig, {}, {"rope.dimension_count": 8}, "but heads are 16 wide"),
    "values of another width": (LlamaConfig, {}, {"attention.value_length": 8}, "but keys are 16 wide"),
    "a softcap": (LlamaConfig, {}, {"final_logit_softcapping": 30.0}, "has no place"),
    "wide heads": (Phi3Config, {}, {"attention.key_length": 32}, "has no place"),
    "another kind of scaling": (LlamaConfig, {}, {"rope.scaling.type": "ntk"}, r"rope\.scaling\.type = ntk"),
    "another factor": (LlamaConfig, {}, {"rope.scaling.attn_factor": 1.2}, r"attn_factor = 1\.2.*, not known here"),
    "a factor on attention": (LlamaConfig, {}, {"rope.scaling.yarn_attn_factor": 0.5}, "whose effect"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_what_a_configuration_cannot_say_is_refused(kind: str, chatml: Any, tmp_path: Path) -> None:
    config_class, settings, statements, reason = REFUSED[kind]
    write_gguf(tmp_path / "tiny.gguf", tiny(config_class, len(chatml), **settings), chatml, statements=statements)
    with pytest.raises(UserError, match=rf"engine\.model=.*{reason}.*Hugging Face directory") as caught:
        source_of(str(tmp_path / "tiny.gguf"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "values"),
    [
        ("rope_freqs.weight", np.linspace(1, 3, 8)),
        ("rope_freqs.weight", np.ones(4)),
        ("rope_factors_long.weight", [1.0]),
    ],
)
def test_factors_that_are_no_known_scaling_are_refused(tensor: str, values: Any, chatml: Any, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_qwen2(len(chatml)), chatml, extra={tensor: np.array(values)})
    with pytest.raises(UserError, match=rf"engine\.model=.*its tensor {tensor} .*Hugging Face directory"):
        source_of(str(tmp_path / "tiny.gguf"))


def test_answers_end_where_the_file_says_not_where_the_class_does(chatml: Any, tmp_path: Path) -> None:
    """And all of them, as a turn may end otherwise than a text. Phi-3's class has token 32000 for the end."""
    model = tiny(Phi3Config, len(chatml))
    found = converted(model, chatml, tmp_path / "tiny.gguf")
    assert (found.config.bos_token_id, found.config.pad_token_id) == (None, chatml.pad_token_id)
    assert found.config.eos_token_id == found.generation_config.eos_token_id == chatml.eos_token_id
    two = converted(model, chatml, tmp_path / "two.gguf", tokens={"eot": 7, "eom": 9, "bos": 5})
    assert two.generation_config.eos_token_id == [chatml.eos_token_id, 7, 9]
    assert two.config.bos_token_id == 5


@pytest.mark.parametrize("kind", ["llama, scaled as Llama 3", "gemma2, window", "lfm2", "qwen3.5"])
def test_quantised_files_become_about_the_same_model(kind: str, chatml: Any, tmp_path: Path) -> None:
    config_class, settings = kinds()[kind]
    model = tiny(config_class, len(chatml), **settings)
    found = converted(model, chatml, tmp_path / "tiny.gguf", quantization=gguf.GGMLQuantizationType.Q8_0)
    assert {type(module).__name__ for module in found.modules()} == {
        type(module).__name__ for module in model.modules()
    }
    assert (logits(found) - logits(model)).std() < 0.1 * logits(model).std()


def test_a_block_that_guesses_further_tokens_is_no_part_of_the_model(chatml: Any, tmp_path: Path) -> None:
    config_class, settings = kinds()["qwen3.5"]
    model = tiny(config_class, len(chatml), **settings)
    stated = {"block_count": model.config.num_hidden_layers + 1, "nextn_predict_layers": 1}
    block = {"blk.4.nextn.eh_proj.weight": np.ones((64, 128)), "blk.4.attn_norm.weight": np.ones(64)}
    found = converted(model, chatml, tmp_path / "tiny.gguf", statements=stated, extra=block)
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="does not read this file in full"):
        converted(model, chatml, tmp_path / "other.gguf", extra=block)


def test_factors_of_one_scale_nothing(chatml: Any, tmp_path: Path) -> None:
    model = tiny(LlamaConfig, len(chatml))
    found = converted(model, chatml, tmp_path / "tiny.gguf", extra={"rope_freqs.weight": np.ones(8)})
    assert found.config.rope_parameters["rope_type"] == "default"
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("width", "theta"), [(64, 500_000.0), (128, 500_000.0), (32, 10_000.0)])
@pytest.mark.parametrize(
    ("factor", "low", "high", "context"),
    [
        (8.0, 1.0, 4.0, 8192),
        (32.0, 1.0, 4.0, 8192),
        (16.0, 1.0, 4.0, 2048),
        (4.0, 1.0, 7.5, 3000),
        (8.0, 2.0, 8.0, 16384),
    ],
)
def test_the_parameters_found_give_the_frequencies(
    width: int, theta: float, factor: float, low: float, high: float, context: int
) -> None:
    """Of the published models and of others; `low_freq_factor` is known only up to a scale of all three."""

    def frequencies(**parameters: Any) -> torch.Tensor:
        rope = {"rope_type": "llama3", "rope_theta": theta, **parameters}
        config = LlamaConfig(head_dim=width, max_position_embeddings=131_072, rope_parameters=rope)
        found: torch.Tensor = ROPE_INIT_FUNCTIONS["llama3"](config)[0]
        return found

    true = frequencies(
        factor=factor, low_freq_factor=low, high_freq_factor=high, original_max_position_embeddings=context
    )
    plain = 1.0 / (theta ** (torch.arange(0, width, 2).float() / width))
    found = llama3_scaling((plain / true).double().numpy(), theta, width)
    assert found["rope_type"] == "llama3"
    torch.testing.assert_close(frequencies(**found), true, rtol=2e-5, atol=0)


def test_factors_that_no_parameters_give_are_unknown() -> None:
    for factors in (np.linspace(1, 8, 16), np.array([1.0] * 8 + [2.0] * 8) * 1.01, np.full(16, np.nan), np.zeros(16)):
        with pytest.raises(UnknownScaling):
            llama3_scaling(factors, 10_000.0, 32)
