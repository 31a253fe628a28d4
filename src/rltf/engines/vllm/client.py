"""What is asked of a vLLM server over HTTP. Every wait has a limit, and every failure is one line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import httpx2 as httpx
import numpy as np

from rltf.support.errors import UserError
from rltf.support.side_by_side import DaemonThreads, wait_for
from rltf.types import Completion, Finish, SamplingParams, Tokens

_SEEDS = 2**62
"""Seeds are signed numbers of 64 bits there, and sample k of a prompt takes the prompt's seed plus k."""
_SHOWN = 200
"""Characters of a server's complaint that are repeated."""


class _NotAsked(Exception):
    """Nothing was asked, as another request had failed."""


class Client:
    """One server."""

    def __init__(
        self, url: str, timeout: float, concurrency: int, state: Callable[[], str | None] | None = None
    ) -> None:
        """`state` says what is known of a server that has ended, or None while nothing is. Without it, the server is
        one of the user's, at `sampler.url`."""
        self.url, self._state = url, state or (lambda: None)
        self._mend = "; start it, or mend sampler.url" if state is None else ""
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout,
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            trust_env=False,  # A proxy of the user's is not meant for a server beside the run.
        )
        self._threads = DaemonThreads(concurrency, "rltf-vllm")
        """For all who ask for completions: one for each prompt under way."""

    def base(self) -> tuple[str, int]:
        """The name of its base model, and the longest sequence, prompt and completion, that it takes.

        Raises `UserError` where it is another kind of server.
        """
        answer = self._ask("GET", _MODELS)
        served = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(served, list) or not served or not all(isinstance(model, dict) for model in served):
            raise self._is_another("no models")
        if "id" not in served[0] or not isinstance(served[0].get("max_model_len"), int):
            raise self._is_another("a model without max_model_len")
        return str(served[0]["id"]), served[0]["max_model_len"]

    def _is_another(self, answer: str) -> UserError:
        return UserError(
            f"what answers at {self.url} is no vLLM server (it answered {_MODELS} with {answer}); start one, or mend "
            "sampler.url"
        )

    def started_with(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The server's own settings by section, and vLLM's variables of its environment. It may take some seconds."""
        answer = self._ask("GET", "/server_info", params={"config_format": "json"})
        found = [answer.get(part) if isinstance(answer, dict) else None for part in ("vllm_config", "vllm_env")]
        config, environment = found
        if not isinstance(config, dict) or not isinstance(environment, dict):
            raise UserError(
                f"the vLLM server at {self.url} does not tell its settings; it is another version than 0.32"
            )
        return config, environment

    def sleep(self) -> None:
        """Has it lay its weights aside, in the machine's memory, and give its GPU memory back."""
        self._ask("POST", "/sleep", params={"level": "1"})

    def wake_up(self) -> None:
        """Has it take its weights up again; where it does not sleep, nothing happens."""
        if self._ask("POST", "/wake_up").get("status") != "awake":
            raise UserError(f"the vLLM server at {self.url} did not wake up")

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get("/health", timeout=5.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def complete(
        self,
        model: str,
        prompts: Sequence[Tokens],
        n: int,
        sampling: SamplingParams,
        seeds: Sequence[int],
        stop_tokens: Sequence[int],
    ) -> list[list[Completion]]:
        """`n` completions of each prompt, several prompts at a time. Any thread may ask."""
        failed = threading.Event()

        def one(prompt: Tokens, seed: int) -> list[Completion]:
            if failed.is_set():  # Another has failed: nothing is asked any more whose answer nobody reads.
                raise _NotAsked
            try:
                answer = self._ask("POST", "/v1/completions", request(model, prompt, n, sampling, seed, stop_tokens))
                return completions(answer, n, sampling, stop_tokens)
            except BaseException:
                failed.set()
                raise

        waiting = [
            self._threads.submit(partial(one, prompt, seed)) for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        try:
            wait_for(waiting)
        except BaseException:  # Nobody reads the answers any more.
            failed.set()
            raise
        errors = [error for future in waiting if (error := future.exception()) is not None]
        if errors:
            raise next(error for error in errors if not isinstance(error, _NotAsked))
        return [future.result() for future in waiting]

    def load_adapter(self, name: str, path: str) -> None:
        """Has it read adapters from a directory."""
        self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path}, "text")

    def unload_adapter(self, name: str) -> None:
        """Has it forget adapters."""
        self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name}, "text")

    def reload(self, path: str) -> None:
        """Has it read all weights anew from a directory, and forget what it kept of the old ones."""
        self._ask("POST", "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": path}})
        self.forget()

    def forget(self) -> None:
        """Has it forget what it kept of prompts that it read with other weights."""
        if not self._ask("POST", "/reset_prefix_cache").get("success", True):
            raise UserError(f"the vLLM server at {self.url} did not forget what it kept of the old weights")

    def world_size(self) -> int:
        """How many processes it has with weights."""
        return int(self._ask("GET", "/get_world_size")["world_size"])

    def init_transfer(self, info: dict[str, Any]) -> None:
        """Opens the way for weights that it was started with."""
        self._ask("POST", "/init_weight_transfer_engine", {"init_info": info})

    def start_update(self) -> None:
        """Has it make ready for all weights."""
        self._ask("POST", "/start_weight_update")

    def update_weights(self, info: dict[str, Any]) -> None:
        """Has it take the weights that are described."""
        self._ask("POST", "/update_weights", {"update_info": info})

    def finish_update(self) -> None:
        """Has it compute with them."""
        self._ask("POST", "/finish_weight_update")

    def close(self) -> None:
        """Closes its connections."""
        self._threads.close()
        self._http.close()

    def _ask(
        self, how: str, route: str, body: Any = None, form: str = "json", params: dict[str, str] | None = None
    ) -> Any:
        where = f"the vLLM server at {self.url}"
        try:
            answer = self._http.request(how, route, json=body, params=params)
        except httpx.TimeoutException as error:
            seconds = self._http.timeout.read
            raise UserError(f"{where} did not answer {route} within {seconds:g} seconds (sampler.timeout)") from error
        except httpx.HTTPError as error:
            state = self._state() or f"cannot be reached ({type(error).__name__}){self._mend}"
            raise UserError(f"{where} {state}") from error
        if answer.status_code == httpx.codes.NOT_FOUND and route in _NEEDS:
            raise UserError(f"{where} has no {route}; start it with {_NEEDS[route]}")
        if route == _MODELS and answer.status_code in _ELSEWHERE:
            raise self._is_another(str(answer.status_code))
        if answer.status_code != httpx.codes.OK:
            ended = self._state()
            raise UserError(f"{where} {ended}" if ended else f"{where} refused {route}: {_complaint(answer)}")
        if form == "text":
            return answer.text
        try:
            return answer.json()
        except ValueError as error:
            if route == _MODELS:
                raise self._is_another("something that is no JSON") from error
            raise UserError(f"{where} answered {route} with something that is no JSON") from error


_MODELS = "/v1/models"
_ELSEWHERE = (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED)
"""What a web server answers that has no such route."""
_NEEDS = {
    "/v1/load_lora_adapter": "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora",
    **dict.fromkeys(
        (
            "/collective_rpc",
            "/reset_prefix_cache",
            "/server_info",
            "/sleep",
            "/wake_up",
            "/init_weight_transfer_engine",
        ),
        "VLLM_SERVER_DEV_MODE=1",
    ),
}
"""What a server has to be started with to have a route."""


def request(
    model: str, prompt: Tokens, n: int, sampling: SamplingParams, seed: int, stop_tokens: Sequence[int]
) -> dict[str, Any]:
    """What is sent for one prompt. All that a server could take from a model's generation settings is said."""
    return {
        "model": model,
        "prompt": list(prompt),
        "n": n,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": seed % _SEEDS,
        "stop_token_ids": list(stop_tokens),
        "logprobs": 0,
        "return_token_ids": True,
        "skip_special_tokens": False,
    }


def completions(answer: Any, n: int, sampling: SamplingParams, stop_tokens: Sequence[int]) -> list[Completion]:
    """The completions of one prompt from a server's answer. Raises `UserError` where it is not what was asked for."""
    try:
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        found = [_completion(choice) for choice in choices]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"the vLLM server's answer holds no tokens with log-probabilities ({type(error).__name__}: {error}); is it "
            "vLLM from 0.11 on?"
        ) from error
    if len(found) != n:
        raise UserError(f"the vLLM server gave {len(found)} completions in place of {n}")
    for completion in found:
        if len(completion.tokens) > sampling.max_tokens or len(completion.tokens) != len(completion.logprobs):
            raise UserError("the vLLM server gave more tokens than asked for, or not one log-probability for each")
        ends = completion.tokens[-1:]
        if (completion.finish is Finish.STOP) != (bool(ends) and ends[0] in stop_tokens):
            raise UserError("the vLLM server stopped elsewhere than at the end of a turn; start it without stop words")
    return found


def _completion(choice: Any) -> Completion:
    logprobs = np.array(choice["logprobs"]["token_logprobs"], dtype=np.float32)
    if not np.isfinite(logprobs).all():
        raise ValueError("log-probabilities that are no numbers")
    return Completion(
        tokens=tuple(int(token) for token in choice["token_ids"]),
        logprobs=logprobs,
        finish={"stop": Finish.STOP, "length": Finish.LENGTH}[choice["finish_reason"]],
    )


def _complaint(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        text = str(found.get("error", found)["message"] if isinstance(found.get("error", found), dict) else found)
    except (ValueError, KeyError, AttributeError):
        # A page says nothing that fits into a line.
        text = "" if "html" in answer.headers.get("content-type", "") else answer.text
    return f"{answer.status_code} {' '.join(text.split())[:_SHOWN]}".strip()
