"""A vLLM server as the sampler: weights reach it, a wrong one is found, and what goes wrong is one line.

The server here is a stand-in that speaks vLLM's routes; `python -m tests.real_vllm` does the same with a real one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import rltf
from vllm_server import StandIn, make_model, vllm_server

from rltf import Run
from rltf.config.load import configure
from rltf.engines.base import Engine
from rltf.engines.torch.learner import TorchLearner
from rltf.engines.vllm.client import completions
from rltf.runs.build import build_engine
from rltf.runs.trainer import Interrupted
from rltf.support.errors import UserError
from rltf.types import Query, SamplingParams, Tokens, TrainingSample

PROMPTS: list[Tokens] = [(20, 21, 22), (50, 51), (60, 61, 62, 63)]
SAMPLING = SamplingParams(max_tokens=5)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def server(model: Path) -> Iterator[StandIn]:
    with vllm_server(model) as found:
        yield found


def settings(model: Path, **changes: Any) -> dict[str, Any]:
    return {"engine.model": str(model), "engine.device": "cpu", "engine.sampler": "vllm", **changes}


def engine_at(server: StandIn, model: Path, **changes: Any) -> Engine:
    return build_engine(configure(changes=settings(model, **{"sampler.url": server.url, **changes})))


def gap(engine: Engine) -> float:
    groups = engine.generate(PROMPTS, 2, SAMPLING, [1, 2, 3])
    pairs = [(prompt, c) for prompt, group in zip(PROMPTS, groups, strict=True) for c in group]
    answers = engine.answer([Query(prompt_tokens=prompt, completion_tokens=c.tokens) for prompt, c in pairs])
    return max(float(np.abs(c.logprobs - a.logprobs_T).max()) for (_, c), a in zip(pairs, answers, strict=True))


def step(engine: Engine) -> None:
    (group,) = engine.generate(PROMPTS[:1], 2, SAMPLING, [7])
    samples = [
        TrainingSample(
            prompt_tokens=PROMPTS[0],
            completion_tokens=completion.tokens,
            weights=np.full(len(completion.tokens), weight, dtype=np.float32),
            loss="importance_sampling",
            old_logprobs=completion.logprobs,
            component="policy",
            rollout=0,
            turn=0,
        )
        for completion, weight in zip(group, (1.0, -1.0), strict=True)
    ]
    engine.forward_backward(samples, 1.0)
    engine.optim_step(0.3)


@pytest.mark.parametrize("lora", [False, True])
def test_weights_reach_the_server_at_each_step(server: StandIn, model: Path, lora: bool) -> None:
    changes = {"engine.lora.rank": 4} if lora else {}
    engine = engine_at(server, model, **changes)
    try:
        assert not engine.exact and any("vLLM" in note for note in engine.notes)
        for version in range(3):
            assert gap(engine) < 1e-4
            (group,) = engine.generate(PROMPTS[:1], 1, SAMPLING, [5])
            assert group[0].version == version
            step(engine)
        assert engine.max_tokens == 256, "the server takes fewer tokens than the model"
    finally:
        engine.close()
    assert set(server.models) == {"base"}, "adapters are left behind at the server"
    assert not any(Path(path).exists() for path in server.paths), "files are left behind"


def test_each_prompt_has_a_seed_of_its_own(server: StandIn, model: Path) -> None:
    engine = engine_at(server, model)
    first = engine.generate(PROMPTS, 2, SAMPLING, [1, 2, 3])
    turned = engine.generate(PROMPTS[::-1], 2, SAMPLING, [3, 2, 1])[::-1]
    assert [[c.tokens for c in g] for g in first] == [[c.tokens for c in g] for g in turned]
    assert engine.generate([], 2, SAMPLING, []) == []
    engine.close()


@pytest.mark.parametrize("lora", [False, True])
def test_a_server_with_other_weights_stops_the_run(server: StandIn, model: Path, lora: bool) -> None:
    changes = {"engine.lora.rank": 4} if lora else {}
    engine = engine_at(server, model, **changes)
    step(engine)
    server.stale = True
    with pytest.raises(UserError, match=r"differ from the learner's by .* after it was given the weights of step 1"):
        engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])
    engine.close()


def test_tolerance_says_how_far_a_server_may_be_off(server: StandIn, model: Path) -> None:
    engine = engine_at(server, model, **{"sampler.tolerance": 100.0})
    step(engine)
    server.stale = True
    assert len(engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])) == 3
    engine.close()


def test_the_server_samples_in_a_whole_run_and_after_a_resume(server: StandIn, model: Path, tmp_path: Path) -> None:
    config = configure(
        changes=settings(model)
        | {
            "engine.sampler": "vllm",
            "sampler.url": server.url,
            "trainer.steps": 2,
            "trainer.groups_per_batch": 2,
            "trainer.group_size": 2,
            "trainer.save_every": 1,
            "rollout.max_new_tokens": 4,
            "evaluation.problems": 2,
            "evaluation.samples": 1,
        }
    )
    with Run.begin(config, tmp_path / "run") as run, pytest.raises(Interrupted):
        run.train(stop=lambda: bool(run.metrics()))
    asked = len(server.requests)
    assert asked
    with Run.resume(tmp_path / "run") as again:
        again.train()
    assert len(server.requests) > asked
    assert (tmp_path / "run" / "summary.json").is_file()


@pytest.mark.parametrize("lora", [False, True])
def test_a_server_sleeps_while_the_learner_computes(
    server: StandIn, model: Path, lora: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the comparison after each change of the weights, which is short, and needs both."""
    asleep: list[bool] = []
    for name in ("answer", "forward_backward", "optim_step"):
        monkeypatch.setattr(
            TorchLearner, name, noting(getattr(TorchLearner, name), lambda: asleep.append(server.asleep))
        )
    server.asleep = True  # An earlier run has left it so.
    engine = engine_at(server, model, **{"sampler.sleep": True} | ({"engine.lora.rank": 4} if lora else {}))
    for _ in range(2):
        asleep.clear()
        step(engine)
        assert asleep == [False, True, True]
        assert server.asleep
    assert gap(engine) < 1e-4
    assert server.asleep
    routes = [route.partition("?")[0] for route in server.routes if "sleep" in route or "wake" in route]
    assert routes == ["/wake_up", "/sleep"] * (len(routes) // 2), "it is woken, or laid to sleep, twice"
    engine.close()
    assert not server.asleep, "a server of the user's is left as it was found"
    step(engine_at(server, model))
    assert not server.asleep


def test_a_server_that_falls_asleep_without_an_answer_is_woken_at_the_end(server: StandIn, model: Path) -> None:
    engine = engine_at(server, model, **{"sampler.sleep": True, "sampler.timeout": 1.0})
    engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])
    server.answers_sleep_after = 2.0
    with pytest.raises(UserError, match=r"did not answer /sleep within 1 seconds"):
        step(engine)
    assert server.asleep
    engine.close()
    assert not server.asleep


def test_a_server_that_cannot_sleep_is_refused_before_anything_is_trained(
    server: StandIn, model: Path, tmp_path: Path
) -> None:
    server.settings = {"model_config": {"enable_sleep_mode": False}}
    with pytest.raises(UserError, match=r"sampler\.sleep=true: .* was started without --enable-sleep-mode"):
        engine_at(server, model, **{"sampler.sleep": True})
    done = rltf(*dry(model, f"sampler.url={server.url}", "sampler.sleep=true"), cwd=tmp_path, status=1)
    assert "was started without --enable-sleep-mode" in done.stdout


def noting(method: Any, note: Any) -> Any:
    def noted(*arguments: Any) -> Any:
        note()
        return method(*arguments)

    return noted


def test_concurrency_limits_what_is_asked_at_once(server: StandIn, model: Path) -> None:
    server.delay = 0.05
    engine = engine_at(server, model, **{"sampler.concurrency": 2})
    engine.generate(PROMPTS * 4, 1, SAMPLING, list(range(12)))
    assert server.most_at_once == 2
    engine.close()


def test_the_directory_is_where_weights_are_written(server: StandIn, model: Path, tmp_path: Path) -> None:
    engine = engine_at(server, model, **{"sampler.directory": str(tmp_path)})
    engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])
    assert Path(server.paths[0]).is_relative_to(tmp_path)
    engine.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"sampler\.directory=.*cannot be written to"):
        engine_at(server, model, **{"sampler.directory": str(tmp_path / "missing")})


def test_every_wait_ends(server: StandIn, model: Path) -> None:
    engine = engine_at(server, model, **{"sampler.timeout": 0.5})
    engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])
    server.delay = 2.0
    with pytest.raises(UserError, match=r"did not answer /v1/completions within 0\.5 seconds \(sampler\.timeout\)"):
        engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])
    engine.close()


def test_a_server_that_is_gone_is_told_in_a_line(model: Path) -> None:
    with vllm_server(model) as server:
        engine = engine_at(server, model)
        engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])
    with pytest.raises(UserError, match=r"the vLLM server at http://127\.0\.0\.1:\d+ cannot be reached"):
        engine.generate(PROMPTS, 1, SAMPLING, [1, 2, 3])
    engine.close()
    with pytest.raises(UserError, match=r"cannot be reached .*; start it, or mend sampler\.url"):
        engine_at(server, model)


def choice(**changes: Any) -> dict[str, Any]:
    plain = {"index": 0, "token_ids": [5, 6], "finish_reason": "length", "logprobs": {"token_logprobs": [-1.0, -2.0]}}
    return plain | changes


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({}, "no tokens with log-probabilities"),
        ({"choices": [choice(), choice(index=1)]}, "2 completions in place of 1"),
        ({"choices": [choice(token_ids=[5])]}, "not one log-probability for each"),
        ({"choices": [choice(token_ids=[5] * 9, logprobs={"token_logprobs": [-1.0] * 9})]}, "more tokens than asked"),
        ({"choices": [choice(logprobs=None)]}, "no tokens with log-probabilities"),
        ({"choices": [choice(logprobs={"token_logprobs": [None, -1.0]})]}, "no tokens with log-probabilities"),
        ({"choices": [choice(finish_reason="stop")]}, "elsewhere than at the end of a turn"),
        ({"choices": [choice(finish_reason="abort")]}, "no tokens with log-probabilities"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        completions(answer, 1, SAMPLING, [9])


def test_a_completion_ends_with_its_end_of_turn() -> None:
    (found,) = completions({"choices": [choice(token_ids=[5, 9], finish_reason="stop")]}, 1, SAMPLING, [9])
    assert found.tokens == (5, 9) and found.finish == "stop" and found.logprobs.tolist() == [-1.0, -2.0]


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_that_a_run_starts_and_that_ends_at_once(model: Path, tmp_path: Path) -> None:
    python = script(tmp_path / "python", 'echo "$@"; echo "ERROR: no memory left"; exit 3')
    changes: dict[str, Any] = {"sampler.python": python, "sampler.log": str(tmp_path / "log"), "sampler.sleep": True}
    changes["sampler.arguments"] = ["--swap", "7"]
    with pytest.raises(UserError, match=r"the vLLM server ended with status 3 \(see .*log\): ERROR: no memory left"):
        build_engine(configure(changes=settings(model, **changes)))
    written = (tmp_path / "log").read_text()
    assert (
        "--swap 7" in written
        and "--enable-sleep-mode" in written
        and "--dtype float32" in written
        and "processed_logprobs" in written
    )


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("ValueError: no memory", "ValueError: no memory"),
        (
            "a.b_c.ValidationError: 1 fault\n  Value error, no sleep. [type=x]\n    For more see",
            "Value error, no sleep.",
        ),
        ("usage: s [-h]\ns.py: error: unrecognized arguments: --swap", "s.py: error: unrecognized arguments: --swap"),
    ],
)
def test_a_servers_last_complaint_is_told(model: Path, tmp_path: Path, log: str, told: str) -> None:
    (tmp_path / "said").write_text(log)
    python = script(tmp_path / "python", f"cat {tmp_path / 'said'}; exit 1")
    changes = {"sampler.python": python, "sampler.log": str(tmp_path / "log")}
    with pytest.raises(UserError, match=rf"ended with status 1 \(see .*log\): {re.escape(told)}"):
        build_engine(configure(changes=settings(model, **changes)))


def test_what_an_earlier_server_wrote_is_not_the_last_word_of_this_one(model: Path, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("ERROR: of an earlier run\n")
    changes = {"sampler.python": script(tmp_path / "python", "exit 3"), "sampler.log": str(tmp_path / "log")}
    with pytest.raises(UserError, match=r"ended with status 3 \(see .*log\)$"):
        build_engine(configure(changes=settings(model, **changes)))
    assert "of an earlier run" in (tmp_path / "log").read_text()


def test_an_environment_without_vllm_is_named_with_the_mend(model: Path, tmp_path: Path) -> None:
    python = script(tmp_path / "python", "echo \"ModuleNotFoundError: No module named 'vllm'\"; exit 1")
    mend = rf"has no vLLM; install it there: {re.escape(python)} -m pip install vllm"
    with pytest.raises(UserError, match=mend):
        build_engine(configure(changes=settings(model, **{"sampler.python": python, "sampler.log": f"{tmp_path}/log"})))
    done = rltf(*dry(model, f"sampler.python={python}"), cwd=tmp_path, status=1)
    assert re.search(f"sampler: .*{mend}", done.stdout)


def test_a_log_that_cannot_be_written_is_not_the_interpreters_fault(model: Path, tmp_path: Path) -> None:
    changes = {"sampler.python": script(tmp_path / "python", "exit 3"), "sampler.log": str(tmp_path / "no" / "log")}
    with pytest.raises(UserError, match=r"sampler\.log=.*cannot be written to"):
        build_engine(configure(changes=settings(model, **changes)))


@pytest.mark.parametrize(
    ("status", "kind", "body", "told"),
    [
        (404, "text/html", b"<h1>Not found</h1>", "is no vLLM server .*404"),
        (200, "text/html", b"<h1>Welcome</h1>", "is no vLLM server .*no JSON"),
        (200, "application/json", b"[1]", "is no vLLM server .*no models"),
        (200, "application/json", b'{"data": [{"id": "m"}]}', "is no vLLM server .*without max_model_len"),
        (502, "text/html", b"<h1>Bad gateway</h1>", "refused /v1/models: 502$"),
    ],
)
def test_another_server_at_the_address_is_named_and_not_quoted(
    model: Path, status: int, kind: str, body: bytes, told: str
) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{found.server_port}"
        with pytest.raises(UserError, match=f"at {url} {told}") as caught:
            build_engine(configure(changes=settings(model, **{"sampler.url": url})))
        found.shutdown()
    assert "<h1>" not in str(caught.value)


def dry(model: Path, *changes: str) -> list[str]:
    return ["train", *(f"{name}={value}" for name, value in settings(model).items()), *changes, "--dry-run"]


def test_the_dry_run_asks_the_server_whether_it_is_there(server: StandIn, model: Path, tmp_path: Path) -> None:
    assert "sampler: good" in rltf(*dry(model, f"sampler.url={server.url}"), cwd=tmp_path).stdout
    done = rltf(*dry(model, "sampler.url=http://127.0.0.1:9"), cwd=tmp_path, status=1)
    assert "sampler: nobody listens at http://127.0.0.1:9 (Connection refused): start the server" in done.stdout


def test_a_server_that_is_never_ready(model: Path, tmp_path: Path) -> None:
    python = script(tmp_path / "python", f"echo $$ > {tmp_path / 'pid'}; exec sleep 60")
    changes = {"sampler.python": python, "sampler.log": str(tmp_path / "log"), "sampler.start_timeout": 1}
    with pytest.raises(UserError, match=r"not ready after 1 seconds \(sampler.start_timeout\)"):
        build_engine(configure(changes=settings(model, **changes)))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"engine.sampler": "vllm"}, "engine.sampler=vllm needs a server"),
        ({"sampler.url": "http://localhost:1"}, "set engine.sampler=vllm"),
        ({"engine.sampler": "vllm", "sampler.url": "localhost:1"}, "begins with http"),
        ({"engine.sampler": "vllm", "sampler.url": "http://a:b@h"}, "no keys"),
        ({"engine.sampler": "vllm", "sampler.url": "http://h", "sampler.python": "p"}, "remove one of the two"),
        ({"engine.sampler": "vllm", "sampler.url": "http://h", "sampler.arguments": ["-x"]}, "set sampler.python"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        configure(changes=changes)


@pytest.mark.skipif("RLTF_VLLM" not in os.environ, reason="RLTF_VLLM names no interpreter with vLLM: 3 GB, 5 minutes")
def test_a_real_server() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.real_vllm", os.environ["RLTF_VLLM"]], cwd=ROOT, check=False)
    assert done.returncode == 0
