"""What is exported of adapters: merged in float32, as PEFT has them, and checked; and bases in 4 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_engine import PROMPTS, build, inner, score
from test_optimizer import train

from rltf.config import LoraConfig
from rltf.config.engines import on_this_machine
from rltf.config.load import configure
from rltf.engines.torch import adapters, quantized
from rltf.engines.torch.adapters import ADAPTER, merged
from rltf.runs.look import settings_for
from rltf.support.errors import UserError
from rltf.types import FloatArray

LORA = LoraConfig(rank=2, alpha=4)
COMPLETION = (12, 13, 14)


def plain_logprobs(model: Any) -> FloatArray:
    with torch.no_grad():
        logits = model(torch.tensor([[*PROMPTS[0], *COMPLETION]])).logits[0, len(PROMPTS[0]) - 1 : -1].float()
    found: FloatArray = torch.log_softmax(logits, -1).gather(-1, torch.tensor(COMPLETION)[:, None])[:, 0].numpy()
    return found


def trained(path: Path, **settings: Any) -> Any:
    engine = build(path, lora=LORA, **settings)
    train(engine, 3, rate=1e-2)
    return engine


def test_exported_adapters_load_in_peft_and_give_the_trained_policy(tiny_model: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    engine = trained(tiny_model)
    before = score(engine, [(PROMPTS[0], COMPLETION)])[0]
    engine.export(tmp_path / "model")
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    untrained = plain_logprobs(base)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "model" / ADAPTER)
    np.testing.assert_allclose(plain_logprobs(loaded), before, atol=1e-5)
    np.testing.assert_allclose(
        plain_logprobs(AutoModelForCausalLM.from_pretrained(tmp_path / "model")), before, atol=1e-5
    )
    assert np.abs(untrained - before).max() > 1e-2
    # To export changes nothing.
    np.testing.assert_array_equal(score(engine, [(PROMPTS[0], COMPLETION)])[0], before)


def test_small_steps_survive_the_merge_of_a_bfloat16_base_which_lost_them(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    engine = build(tiny_model, lora=LORA, dtype="bfloat16")
    train(engine, 3, rate=1e-5)
    learner = inner(engine)
    base = {n: p.detach().clone() for n, p in learner._model.named_parameters() if "base_layer" in n}
    # As it was: merged in the base's own format.
    model = learner._model
    model.merge_adapter()
    merged_there = {n: p.detach().clone() for n, p in model.named_parameters() if "base_layer" in n}
    model.unmerge_adapter()
    moved_there = np.mean([_share(base[n], merged_there[n]) for n in base])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in base:
                parameter.copy_(base[name])
    engine.export(tmp_path / "model")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert exported.dtype == torch.float32
    now = dict(exported.named_parameters())
    shares = [
        _share(base[name].float(), now[name.removeprefix("base_model.model.").replace(".base_layer", "")])
        for name in base
    ]
    assert moved_there < 0.4
    assert np.mean(shares) > 0.95


def _share(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one != other).float().mean().item()


def test_a_run_with_adapters_is_evaluated_in_the_format_that_keeps_them(tmp_path: Path) -> None:
    from rltf.config.load import config_to_json

    config = configure(changes={"engine.lora.rank": 2, "engine.dtype": "bfloat16"})
    (tmp_path / "model").mkdir()
    (tmp_path / "config.json").write_text(config_to_json(config))
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "run.json").write_text('{"format": 1}')
    found = settings_for(str(tmp_path), None, {}, accept_changed_files=True)
    assert (on_this_machine(found.engine).dtype, found.engine.lora) == ("float32", None)


def test_a_merge_that_gives_another_model_is_not_written(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peft

    engine = trained(tiny_model)
    sound = peft.LoraModel.merge_and_unload

    def faulty(self: Any, *args: Any, **kwargs: Any) -> Any:
        model = sound(self, *args, **kwargs)
        model.get_input_embeddings().weight.data.mul_(1.5)
        return model

    monkeypatch.setattr(peft.LoraModel, "merge_and_unload", faulty)
    with pytest.raises(UserError, match="log-probabilities differ by"):
        engine.export(tmp_path / "model")
    assert not (tmp_path / "model" / "config.json").exists()


def test_the_merge_leaves_the_model_alone_and_lies_on_the_cpu(tiny_model: Path) -> None:
    engine = trained(tiny_model, dtype="bfloat16")
    before = {n: p.detach().clone() for n, p in inner(engine)._model.named_parameters()}
    single = merged(inner(engine)._model, lambda: None)
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in single.parameters())
    assert all(torch.equal(before[n], p) for n, p in inner(engine)._model.named_parameters())


def test_four_bits_are_refused_in_one_line_where_they_cannot_be_had(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="engine: quantize=nf4 holds weights that are not trained"):
        configure(changes={"engine.quantize": "nf4"})
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="quantize=nf4 needs the bitsandbytes package"):
        build(tiny_model, lora=LORA, quantize="nf4")
    monkeypatch.setattr(quantized, "find_spec", lambda name: object())
    engine = inner(build(tiny_model))._config.model_copy(update={"lora": LORA, "quantize": "nf4"})
    with pytest.raises(UserError, match="does not know mps"):
        quantized.check_quantization(engine, torch.device("mps"))


def test_a_base_in_four_bits_trains_adapters_and_is_exported_as_what_it_computes(
    tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM

    engine = build(tiny_model, lora=LORA, quantize="nf4")
    names = {n for n, m in inner(engine)._model.named_modules() if quantized.is_quantized(m)}
    assert len(names) == 14  # seven in each of two layers
    untrained = score(engine, [(PROMPTS[0], COMPLETION)])[0]
    train(engine, 3, rate=1e-2)
    before = score(engine, [(PROMPTS[0], COMPLETION)])[0]
    assert np.abs(untrained - before).max() > 1e-2
    engine.export(tmp_path / "model")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert not hasattr(exported.config, "quantization_config")
    np.testing.assert_allclose(plain_logprobs(exported), before, atol=1e-4)
    engine.save(tmp_path / "state")
    restored = build(tiny_model, lora=LORA, quantize="nf4")
    restored.load(tmp_path / "state")
    np.testing.assert_array_equal(score(restored, [(PROMPTS[0], COMPLETION)])[0], before)


def test_gradients_through_a_base_in_four_bits_are_those_of_what_it_computes(tiny_model: Path) -> None:
    pytest.importorskip("bitsandbytes")
    engine = build(tiny_model, lora=LORA, quantize="nf4")
    train(engine, 1, rate=1e-2)
    learner = inner(engine)
    plain = adapters._on_plain_base(learner._model, learner._plain_base())
    tokens = torch.tensor([[*PROMPTS[0], *COMPLETION]])
    gradients = []
    for model in (learner._model, plain):
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        found = [p.requires_grad_() for n, p in model.named_parameters() if "lora_" in n]
        loss = model(input_ids=tokens).logits.float().logsumexp(-1).sum()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, found)]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
