"""A stand-in for a vLLM server: its routes over HTTP, and the weights that it reads from the files it is told of."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel

from rltf.builtin import builtin_directory


def make_model(path: Path) -> Path:
    """The directory of a model with random weights, whose context is longer than the server's."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1157, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=300, eos_token_id=1153, pad_token_id=1154, bos_token_id=None,
        initializer_range=0.5,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(builtin_directory()).save_pretrained(path)
    return path


class StandIn(ThreadingHTTPServer):
    """What it was asked, and how it is to behave."""

    def __init__(self, model: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.base = model
        self.models = {"base": _load(model)}
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.stale = False
        """Says that it has read new weights, and has not."""
        self.delay = 0.0
        """Seconds before it samples."""
        self.slow: Any = None
        """From a request for completions to further seconds."""
        self.change: Any = None
        """What is done to an answer before it is sent."""
        self.settings: dict[str, Any] = {"model_config": {"enable_sleep_mode": True}, "weight_transfer_config": None}
        self.variables: dict[str, Any] = {}
        """What it says that it was started with."""
        self.opened: dict[str, Any] = {}
        """How the way for weights was opened."""
        self.joins: Any = None
        """What it does when that is asked of it."""
        self.receives: Any = None
        """From what it is told of all weights to their tensors."""
        self._update: dict[str, torch.Tensor] | None = None
        self.asleep = False
        self.answers_sleep_after = 0.0
        """Seconds after which it says that it has fallen asleep."""
        self.routes: list[str] = []
        """What it was asked for, in order."""
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()

    def answer(self, route: str, body: Any) -> Any:
        """The answer to a request, or None for a route that is not there."""
        self.routes.append(route)
        route, _, query = route.partition("?")
        if self.asleep and route not in ("/health", "/wake_up", "/v1/models", "/server_info"):
            raise AssertionError(f"{route} while it sleeps")
        match route:
            case "/server_info":
                assert query == "config_format=json"
                return {"vllm_config": self.settings, "vllm_env": self.variables}
            case "/sleep":
                assert query == "level=1" and not self._now
                self.asleep = True
                time.sleep(self.answers_sleep_after)
                return {"status": "sleeping", "level": 1}
            case "/wake_up":
                self.asleep = False
                return {"status": "awake", "tags": None}
            case "/health":
                return {}
            case "/v1/models":
                return {"data": [{"id": name, "max_model_len": 256} for name in self.models]}
            case "/collective_rpc":
                self._read("base", body["kwargs"]["weights_path"], adapters=False)
                return {"results": [None]}
            case "/reset_prefix_cache":
                return {"success": True}
            case "/get_world_size":
                return {"world_size": 2}
            case "/init_weight_transfer_engine":
                self.opened = body["init_info"]
                if self.joins is not None:
                    self.joins()
                return {"message": "Weight transfer initialized"}
            case "/start_weight_update":
                assert self._update is None
                self._update = {}
                return {"message": "Weight update started"}
            case "/update_weights":
                assert self._update is not None
                info = body["update_info"]
                tensors = self.receives(info)
                found = [[str(tensor.dtype).split(".")[-1], list(tensor.shape)] for tensor in tensors]
                assert found == [list(pair) for pair in zip(info["dtype_names"], info["shapes"], strict=True)]
                self._update |= {n: tensor.clone() for n, tensor in zip(info["names"], tensors, strict=True)}
                return {"message": "Weights updated"}
            case "/finish_weight_update":
                assert self._update is not None
                if not self.stale:
                    left = self.models["base"].load_state_dict(self._update, strict=False)
                    assert not left.unexpected_keys and set(left.missing_keys) <= {"lm_head.weight"}
                self._update = None
                return {"message": "Weight update finished"}
            case "/v1/load_lora_adapter":
                self._read(body["lora_name"], body["lora_path"], adapters=True)
                return {}
            case "/v1/unload_lora_adapter":
                del self.models[body["lora_name"]]
                return {}
            case "/v1/completions":
                assert self._update is None
                with self._counted():
                    return self._complete(body)
        return None

    def _read(self, name: str, path: str, *, adapters: bool) -> None:
        self.paths.append(path)
        if self.stale:
            self.models[name] = self.models["base"]
        elif adapters:
            self.models[name] = PeftModel.from_pretrained(_load(self.base), path).eval()
        else:
            self.models[name] = _load(Path(path))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        time.sleep(self.delay)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    @torch.no_grad()
    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(body)
        if self.slow is not None:
            time.sleep(self.slow(body))
        model, choices = self.models[body["model"]], []
        for index in range(body["n"]):
            generator = torch.Generator().manual_seed(body["seed"] + index)
            tokens, logprobs, reason = list(body["prompt"]), [], "length"
            for _ in range(body["max_tokens"]):
                logits = model(input_ids=torch.tensor([tokens])).logits[0, -1].float() / body["temperature"]
                likely = torch.log_softmax(logits, -1)
                token = int(torch.multinomial(likely.exp(), 1, generator=generator))
                tokens.append(token)
                logprobs.append(float(likely[token]))
                if token in body["stop_token_ids"]:
                    reason = "stop"
                    break
            written = tokens[len(body["prompt"]) :]
            choice = {"index": index, "token_ids": written, "finish_reason": reason}
            choices.append(choice | {"logprobs": {"token_logprobs": logprobs}})
        # A server may finish them in any order.
        answer: dict[str, Any] = {"choices": choices[::-1]}
        return answer if self.change is None else self.change(answer)


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        self._send(self.server.answer(self.path, None))

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._send(self.server.answer(self.path, json.loads(text) if text else None))

    def _send(self, answer: Any) -> None:
        text = json.dumps(answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _load(path: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(path).eval()


@contextmanager
def vllm_server(model: Path) -> Iterator[StandIn]:
    """A server on loopback with a model's directory."""
    with StandIn(model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
