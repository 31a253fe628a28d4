"""Models in GGUF files and out of packages: converted once, right, and refused in one line where they cannot be."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf_files import tiny_qwen2, write_gguf
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from rltf.cli.main import app
from rltf.config import TorchEngineConfig, TrainerConfig
from rltf.engines.torch import pretrained
from rltf.engines.torch.engine import torch_engine
from rltf.engines.torch.model import load_model, source_of
from rltf.support import packages
from rltf.support.errors import UserError
from rltf.support.packages import NotFetched, fetch_file
from rltf.types import SamplingParams

TOKENS = torch.tensor([[3, 14, 15, 92, 65, 35]])


@pytest.fixture(autouse=True)
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    if "own_cache" not in request.keywords:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rltf" / "models"


@pytest.fixture(scope="session")
def model(chatml: Any) -> Any:
    return tiny_qwen2(len(chatml))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS).logits
    return found


def test_a_gguf_file_becomes_a_directory_with_the_same_model_tokenizer_and_template(
    model: Any, chatml: Any, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "tiny.gguf", model, chatml)
    source = source_of(str(tmp_path / "tiny.gguf"))
    converted = AutoModelForCausalLM.from_pretrained(source)
    assert converted.dtype == torch.float32
    assert not hasattr(converted.config, "quantization_config")
    torch.testing.assert_close(logits(converted), logits(model), atol=1e-5, rtol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(source)
    assert tokenizer.chat_template == chatml.chat_template
    text = "<|im_start|>user\nthink of 12 things<|im_end|>"
    assert tokenizer(text).input_ids == chatml(text).input_ids
    assert (tokenizer.eos_token_id, len(tokenizer)) == (chatml.eos_token_id, len(chatml))


def test_quantised_weights_are_what_the_formats_own_package_makes_of_them(
    model: Any, chatml: Any, tmp_path: Path
) -> None:
    kind = gguf.GGMLQuantizationType.Q4_1
    write_gguf(tmp_path / "tiny.gguf", model, chatml, quantization=kind)
    converted = AutoModelForCausalLM.from_pretrained(source_of(str(tmp_path / "tiny.gguf")))
    name = "model.layers.1.mlp.up_proj.weight"
    plain = model.state_dict()[name].numpy()
    expected = gguf.quants.dequantize(gguf.quants.quantize(plain, kind), kind)
    np.testing.assert_allclose(converted.state_dict()[name].numpy(), expected, atol=1e-6)
    assert np.abs(expected - plain).max() > 1e-4


def test_a_converted_model_samples_trains_and_exports(model: Any, chatml: Any, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", model, chatml, quantization=gguf.GGMLQuantizationType.Q8_0)
    config = TorchEngineConfig(model=str(tmp_path / "tiny.gguf"), device="cpu")
    engine = torch_engine(config, TrainerConfig(), 1.0)
    ((completion,),) = engine.generate([(3, 4, 5)], 1, SamplingParams(max_tokens=4), [0])
    assert completion.tokens
    engine.export(tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(source_of(config.model))
    torch.testing.assert_close(logits(exported), logits(again))


def test_a_file_is_converted_once_and_again_when_it_changes(
    model: Any, chatml: Any, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, model, chatml)
    first = source_of(str(file))
    assert "once only" in capsys.readouterr().err
    assert source_of(str(file)) == first
    assert "once only" not in capsys.readouterr().err
    write_gguf(file, model, chatml, quantization=gguf.GGMLQuantizationType.Q8_0)
    assert source_of(str(file)) != first
    assert len(list(cache.iterdir())) == 2  # and no half-written directory beside them


def broken(tmp_path: Path, model: Any, chatml: Any, kind: str) -> Path:
    file = tmp_path / ("tiny-00001-of-00002.gguf" if kind == "part" else "tiny.gguf")
    if kind == "text":
        file.write_text("no model at all")
    elif kind == "architecture":
        write_gguf(file, model, chatml, architecture="plamo")
    elif kind == "absent":
        write_gguf(file, model, chatml, leave_out="blk.1.ffn_up.weight")
    elif kind == "unread":
        write_gguf(file, model, chatml, extra={"blk.0.something.weight": np.ones(4, dtype=np.float32)})
    elif kind == "silent":
        file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    elif kind != "none":
        write_gguf(file, model, chatml)
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    return file


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("none", "no such file"),
        ("text", "no GGUF file"),
        ("part", "several parts"),
        ("cut", "cannot be converted.*if its download was cut short"),
        ("silent", "does not state general.architecture"),
        ("architecture", "architecture plamo is not supported"),
        ("absent", "not in the file"),
        ("unread", "does not read this file in full"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_leaves_nothing(
    model: Any, chatml: Any, tmp_path: Path, cache: Path, kind: str, reason: str
) -> None:
    file = broken(tmp_path, model, chatml, kind)
    with pytest.raises(UserError, match=rf"(?s)engine\.model=.*{reason}") as caught:
        source_of(str(file))
    assert "\n" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_disk_that_is_full_is_not_blamed_on_the_file(
    model: Any, chatml: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **named: Any) -> None:
        raise SafetensorError("I/O error: No space left on device")

    file = broken(tmp_path, model, chatml, "whole")
    monkeypatch.setattr(type(model), "save_pretrained", full)
    with pytest.raises(UserError, match=r"the converted model cannot be written below .*No space left") as caught:
        source_of(str(file))
    assert "download" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_get_model_says_where_the_model_lies(model: Any, chatml: Any, tmp_path: Path, cache: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", model, chatml)
    result = CliRunner().invoke(app, ["get-model", str(tmp_path / "tiny.gguf")])
    assert result.exit_code == 0
    assert str(next(cache.iterdir())) in result.output.replace("\n", "")


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that ships SmolLM2 is not installed, whatever this machine has."""
    monkeypatch.setattr(pretrained, "_installed", lambda: None)


def test_another_file_than_the_one_known_is_not_used(
    no_package: None, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def fetch(package: str, version: str, member: str, scratch: Path) -> Path:
        (scratch / "file").write_bytes(b"GGUF, but another")
        return scratch / "file"

    monkeypatch.setattr(pretrained, "fetch_file", fetch)
    with pytest.raises(UserError, match=r"engine\.model=smollm2: the file fetched has the SHA-256 .* not used"):
        source_of("smollm2")
    assert not cache.exists()


def test_an_index_that_cannot_be_reached_is_one_line(no_package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*args: object) -> Path:
        raise NotFetched("ERROR: No matching distribution found")

    monkeypatch.setattr(pretrained, "fetch_file", fetch)
    with pytest.raises(UserError, match=r"engine\.model=smollm2: .*No matching distribution.*FILE\.gguf"):
        source_of("smollm2")


def test_a_package_is_fetched_alone_with_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> None:
        commands.append(command)
        with zipfile.ZipFile(tmp_path / "some-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr("some/file.gguf", "the file")

    monkeypatch.setattr(packages, "_run", run)
    assert fetch_file("some", "1.0", "some/file.gguf", tmp_path).read_text() == "the file"
    ((*command, wanted),) = commands
    assert command[:2] == [sys.executable, "-P"]
    assert "--no-deps" in command and wanted == "some==1.0"


def test_without_pip_a_package_is_fetched_with_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: "/somewhere/uv")
    monkeypatch.setattr(packages, "_run", commands.append)
    assert fetch_file("some", "1.0", "some/file.gguf", tmp_path) == tmp_path / "some/file.gguf"
    ((uv, *command, wanted),) = commands
    assert (uv, wanted) == ("/somewhere/uv", "some==1.0") and "--no-deps" in command
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(NotFetched, match="neither pip nor uv"):
        fetch_file("some", "1.0", "some/file.gguf", tmp_path)


def test_what_an_installer_says_last_is_the_reason() -> None:
    with pytest.raises(NotFetched, match=r"^the end$"):
        packages._run([sys.executable, "-c", "import sys; sys.exit('first\\nthe end\\n')"])


@pytest.mark.own_cache
def test_smollm2_is_had_from_its_package_and_knows_a_capital() -> None:
    try:
        source = source_of("smollm2")
    except UserError as error:
        pytest.skip(f"SmolLM2 cannot be had here: {error}")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        written = model.generate(**prompt, max_new_tokens=8, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)


OWN_CODE = """
from pathlib import Path
Path({ran!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_model_with_code_of_its_own_needs_a_setting(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    model, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny_model, model)
    config = json.loads((model / "config.json").read_text())
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (model / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": own}))
    (model / "own.py").write_text(OWN_CODE.replace("{ran!r}", repr(str(ran))))
    settings = TorchEngineConfig(model=str(model), device="cpu")
    with pytest.raises(UserError, match=r"code of its own.*engine\.trust_remote_code=true"):
        load_model(settings)
    assert not ran.exists()
    trusting = settings.model_copy(update={"trust_remote_code": True})
    assert type(load_model(trusting).model).__name__ == "OwnModel"
    assert ran.exists()
