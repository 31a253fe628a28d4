"""One family of every mechanism; `python -m tests.families` tries all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from families.check import MOST_OFF, compare, write_tiny
from families.table import CHANGES, REFUSED, SUBSET
from transformers import AutoConfig, AutoModelForCausalLM

from rltf.config import LoraConfig, TorchEngineConfig
from rltf.engines.torch.architecture import try_architecture
from rltf.support.errors import UserError


@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in SUBSET if kind not in REFUSED])
def test_the_engine_computes_what_plain_transformers_does(
    kind: str, adapters: bool, tokenizer: Any, tmp_path: Path
) -> None:
    write_tiny(kind, tokenizer, tmp_path / "tiny", **CHANGES.get(kind, {}))
    found = compare(tmp_path / "tiny", adapters)
    assert found.worst < MOST_OFF, found.off
    assert bool(found.notes) == (found.batching != "shared")


@pytest.mark.parametrize("kind", [kind for kind in SUBSET if kind in REFUSED])
def test_a_family_that_cannot_be_used_is_refused_in_one_line_by_a_dry_run_too(
    kind: str, tokenizer: Any, tmp_path: Path
) -> None:
    write_tiny(kind, tokenizer, tmp_path / "tiny")
    reason = rf"engine\.model=.*{kind} cannot be sampled and trained here: .*{REFUSED[kind]}"
    with pytest.raises(UserError, match=reason) as caught:
        compare(tmp_path / "tiny", False)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=reason):
        try_architecture(TorchEngineConfig(model=str(tmp_path / "tiny")))


def described(kind: str, path: Path, **changes: Any) -> TorchEngineConfig:
    """A directory with nothing but a config of full size."""
    AutoConfig.for_model(kind).save_pretrained(path)
    return TorchEngineConfig(model=str(path), **changes)


@pytest.mark.parametrize("kind", ["gemma3_text", "qwen3_moe", "gpt_oss", "qwen2"])
def test_an_architecture_is_tried_out_without_its_weights(kind: str, tmp_path: Path) -> None:
    assert try_architecture(described(kind, tmp_path, lora=LoraConfig())) == ()


def test_a_dry_run_says_that_a_hybrid_model_does_not_share_prefixes(tmp_path: Path) -> None:
    (note,) = try_architecture(described("qwen3_next", tmp_path))
    assert "prefixes are not shared" in note and "qwen3_next" in note


def test_a_dry_run_refuses_adapters_that_fit_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"engine\.lora\.target_modules"):
        try_architecture(described("llama", tmp_path, lora=LoraConfig(target_modules=["no_such_layer"])))


def test_an_architecture_of_which_no_tiny_model_can_be_made_is_said_to_be_untried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("sizes that do not fit")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", fail)
    (note,) = try_architecture(described("llama", tmp_path))
    assert "was not tried" in note and "sizes that do not fit" in note
