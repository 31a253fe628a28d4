"""A run whose LLM judge is a real language model behind a real server: `transformers serve` on loopback."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, jsonl, rltf

from rltf.config import BinaryMatrixConfig, JudgeConfig
from rltf.feedback.llm import Endpoints, LLMSource
from rltf.feedback.llm.prompts import JudgePrompt
from rltf.runs.build import build_task
from rltf.types import FeedbackFailure, FeedbackRequest

for package in ("fastapi", "uvicorn"):
    pytest.importorskip(package, reason=f"transformers serve needs {package}: pip install '.[dev]'")

SAYS = "Look at row 1 again."
TASK = build_task(BinaryMatrixConfig(train_size=200, validation_size=1, test_size=1))


@pytest.fixture(scope="module")
def judge_model(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two layers that has learned one thing to say, whatever it is asked."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    answer = [*tokenizer.encode(f"<feedback>{SAYS}</feedback>"), tokenizer.eos_token_id]
    optimizer = torch.optim.AdamW(model.parameters())
    rng = random.Random(0)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, 2 * (1 - step / 300))
        # Whatever was asked, and however much of it is there.
        asked = _asked(tokenizer, rng)[-rng.randrange(20, 600) :]
        tokens = torch.tensor([[*asked, *answer]])
        labels = tokens.clone()
        labels[:, : len(asked)] = -100
        model(input_ids=tokens, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    path = tmp_path_factory.mktemp("judge") / "model"
    model.generation_config.do_sample = False
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _asked(tokenizer: Any, rng: random.Random) -> list[int]:
    """The tokens of what a judge is asked about some attempt."""
    problem = TASK.problem("train", rng.randrange(TASK.size("train")))
    attempt = tokenizer.decode([rng.randrange(len(tokenizer) - 10) for _ in range(rng.randrange(13))])
    request = FeedbackRequest(problem=problem, attempt=attempt, score=TASK.score(problem, attempt))
    messages = JudgePrompt(JudgeConfig(), "puzzle").messages(request)
    chat = [{"role": message.role, "content": message.content} for message in messages]
    encoded = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
    return list(encoded["input_ids"])


@pytest.fixture(scope="module")
def served(judge_model: Path) -> Iterator[str]:
    """The address of `transformers serve` with that model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "serve", str(judge_model), "--port", str(port), "--host", "127.0.0.1",
         "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"nobody answers at {url}")


def test_a_model_behind_transformers_serve_judges_a_run(
    served: str, judge_model: Path, tiny_model: Path, tmp_path: Path
) -> None:
    judged = (
        "feedback.source=llm", f"judge.base_url={served}", f"judge.model={judge_model}", "judge.key_env=none",
        "judge.max_tokens=64", "judge.concurrency=2", "judge.max_total_tokens=1000000",
    )  # fmt: skip
    rltf("train", *SMALL, *judged, f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    turns = [turn for record in jsonl(tmp_path / "run" / "rollouts.jsonl") for turn in record["turns"]]
    said = [turn["feedback"] for turn in turns if turn["feedback"]]
    assert said
    assert {feedback.get("text") for feedback in said} == {SAYS}
    assert {feedback["source"] for feedback in said} == {f"llm:{judge_model}"}
    # The server counts tokens: a question of some hundred, an answer of some ten.
    shown = rltf("judge", "stats", "run", cwd=tmp_path).stdout
    assert "answered" in shown
    assert "100.0 %" in shown
    # The record repeats the run without the server.
    store = f"judge.store={tmp_path / 'run' / 'judge.sqlite'}"
    again = (*judged, store, "judge.replay=only", f"engine.model={tiny_model}")
    rltf("train", *SMALL, *again, "--run-dir", "again", cwd=tmp_path)
    assert (tmp_path / "again" / "rollouts.jsonl").read_bytes() == (tmp_path / "run" / "rollouts.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("settings", "cause", "tells"),
    [
        # Version 5 of transformers takes no notice of `response_format`: tags are the way to ask a model behind it.
        ({"format": "json_schema"}, "unparseable", "it was no JSON"),
        ({"max_tokens": 5}, "token_limit", "judge.max_tokens"),
    ],
)
def test_what_the_server_cannot_do_is_a_failure_that_says_so(
    served: str, judge_model: Path, settings: dict[str, Any], cause: str, tells: str
) -> None:
    problem = TASK.problem("train", 0)
    request = FeedbackRequest(problem=problem, attempt="?", score=TASK.score(problem, "?"))
    config = JudgeConfig(base_url=served, model=str(judge_model), key_env=None, retries=0, **settings)
    with Endpoints() as endpoints:
        (answer,) = LLMSource(config, TASK, endpoints).feedback([request], 0)
    assert isinstance(answer, FeedbackFailure)
    assert answer.cause == cause
    assert tells in answer.reason
