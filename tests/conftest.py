from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from helpers import builtin_tokenizer, chatml_tokenizer
from hypothesis import settings

from rltf.text.renderer import Renderer

# Workers share the cores: several threads of the commands that tests start would only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every machine, and no verdict that depends on how busy it is.
settings.register_profile("rltf", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("rltf")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return builtin_tokenizer()


@pytest.fixture(scope="session")
def renderer(tokenizer: Any) -> Renderer:
    return Renderer(tokenizer, [tokenizer.eos_token_id])


@pytest.fixture(scope="session")
def chatml() -> Any:
    return chatml_tokenizer()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium; the tests of a file share it."""
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as driver:
        yield driver


@pytest.fixture(scope="session")
def tiny_model(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model with random weights: 2 layers, 32 wide, 2,048 tokens of context."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    path = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def terse_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, with many more tokens that end an attempt: its attempts end before they are cut, so that some
    tasks find some of them right."""
    path = shutil.copytree(tiny_model, tmp_path_factory.mktemp("models") / "terse")
    file = path / "generation_config.json"
    generation = json.loads(file.read_text())
    file.write_text(json.dumps(generation | {"eos_token_id": [generation["eos_token_id"], *range(100, 250)]}))
    return path
