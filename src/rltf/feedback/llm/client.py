"""Calls to an OpenAI-compatible endpoint: many at once, within limits, each tried again where that may help."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import itertools
import json
import os
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar

from rltf.config.feedback import JudgeConfig
from rltf.feedback.failures import Breaker
from rltf.feedback.llm.budget import Budget
from rltf.feedback.llm.store import Call, CallStore, Request
from rltf.support.errors import FeedbackStopped, UserError
from rltf.support.texts import sound
from rltf.types import FailureCause, FeedbackFailure, Message

_T = TypeVar("_T")
Conversation: TypeAlias = tuple[Message, ...]

LONGEST_TEXT = 20_000
"""Characters of an answer that are kept; no feedback is that long."""
_LONGEST_PAUSE = 120.0
_POOL = 16
_MOST_TOKENS = 10**9
_STOPS_THE_RUN = {
    401: "the endpoint does not take the key in {key_env}",
    403: "the endpoint does not let the key in {key_env} do this",
    404: "the endpoint does not know this address or model; check judge.base_url and judge.model",
}


class Completed(NamedTuple):
    """What matters of a chat completion."""

    text: str
    usage: tuple[int, int] | None
    """Tokens of prompt and answer, where the endpoint counts them."""


class ChatClient:
    """Asks the judge's endpoint, or the store of what it said before."""

    def __init__(self, config: JudgeConfig, store: CallStore, breaker: Breaker, json_schema: dict[str, Any]) -> None:
        """Raises `UserError` where the library or the key is missing.

        Args:
            config: the settings of the judge.
            store: where calls are recorded.
            breaker: stops the run when calls keep failing.
            json_schema: the form of an answer, for `format="json_schema"`.
        """
        try:
            import aiolimiter  # noqa: F401
            import openai  # noqa: F401
            import tenacity  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"feedback.source=llm needs {error.name}: pip install -c constraints.txt '.[judge]'"
            ) from error
        self._config, self._store, self._breaker = config, store, breaker
        self._key = _key(config)
        self._parameters: dict[str, Any] = {config.limit_name: config.max_tokens}
        if config.temperature is not None:
            self._parameters["temperature"] = config.temperature
        if config.format == "json_schema":
            form = {"name": "feedback", "strict": True, "schema": json_schema}
            self._parameters["response_format"] = {"type": "json_schema", "json_schema": form}
        self._runner: asyncio.Runner | None = None
        self._clients: list[Any] = []
        self._next_client: Iterator[Any] = iter(())
        self._budget: Budget | None = None
        self._limits: list[_Rate] = []

    def ask(self, conversations: Sequence[Conversation], seed: int) -> list[Call]:
        """The judge's answer to each conversation, or its failure; equal conversations are asked once."""
        requests = {conversation: self._request(conversation) for conversation in conversations}
        replaying = self._config.replay == "only"
        calls = {c: self._store.find(r.key, seed, failures=replaying) for c, r in requests.items()}
        missing = [conversation for conversation, call in calls.items() if call is None]
        if missing and replaying:
            raise FeedbackStopped(
                f"judge.replay=only: {self._store.path} holds no answer to {len(missing)} of {len(calls)} prompts; "
                "replay with the settings of the recorded run, or set judge.replay=off"
            )
        if missing:
            answered = self._run(self._ask_all([(requests[c], c) for c in missing], seed))
            calls |= zip(missing, answered, strict=True)
        return [call for c in conversations if (call := calls[c]) is not None]

    def close(self) -> None:
        """Ends connections and closes the store."""
        if self._runner is not None:
            for client in self._clients:
                self._runner.run(client.close())
            self._runner.close()
            self._runner = self._budget = None
            self._clients, self._limits = [], []
        self._store.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        # One event loop for the life of the judge, so that connections stay open from step to step.
        if self._runner is None:
            self._runner = asyncio.Runner()
            atexit.register(self.close)
        return self._runner.run(work)

    def _request(self, conversation: Conversation) -> Request:
        messages = json.dumps([{"role": m.role, "content": m.content} for m in conversation], ensure_ascii=False)
        config = self._config
        identity = json.dumps([config.base_url, config.model, self._parameters, messages], sort_keys=True)
        key = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        return Request(key=key, endpoint=config.base_url, model=str(config.model), messages=messages)

    async def _ask_all(self, requests: Sequence[tuple[Request, Conversation]], seed: int) -> list[Call]:
        self._open()
        slots = asyncio.Semaphore(self._config.concurrency)
        tasks = [asyncio.create_task(self._ask(request, messages, seed, slots)) for request, messages in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, request: Request, messages: Conversation, seed: int, slots: asyncio.Semaphore) -> Call:
        async with slots:
            spent = _Spent(start=time.perf_counter())
            try:
                call = await self._try(request, messages, spent)
            except BaseException:
                # Cancelled, or the run is to stop: what was begun may be charged all the same.
                if spent.tries:
                    self._store.add(request, seed, spent.call("other", "given up while the call was under way"))
                raise
            self._store.add(request, seed, call)
        failed = FeedbackFailure(cause=call.cause, reason=str(call.reason), source="llm") if call.cause else None
        self._breaker.record(failed)
        return call

    async def _try(self, request: Request, messages: Conversation, spent: _Spent) -> Call:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._config.retries + 1),
            wait=_pause,
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            completed: Completed = await attempts(self._once, request, messages, spent)
        except FeedbackStopped:
            raise
        except Exception as error:
            return spent.call(*self._explain(error))
        return spent.call(text=completed.text[:LONGEST_TEXT])

    async def _once(self, request: Request, messages: Conversation, spent: _Spent) -> Completed:
        """One try, within rates and budget; what it came to is added to `spent`."""
        assert self._budget is not None
        # A token has at least one byte, so this is the most that the prompt can come to.
        most = len(request.messages.encode("utf-8", "surrogatepass"))
        guess = (most // 4, self._config.max_tokens)
        for rate in self._limits:
            await rate.take(sum(guess) if rate.counts_tokens else 1.0)
        dearest = self._dollars(most, self._config.max_tokens)
        async with self._budget.reserve(dearest, most + self._config.max_tokens):
            spent.tries += 1
            # Until the endpoint says what a try came to, or that it did nothing, it counts as what it may have come to.
            taken = guess
            try:
                completed = await self._post(messages)
                taken = completed.usage or (guess[0], len(completed.text) // 4)
                return completed
            except Exception as error:
                if _was_not_served(error):
                    taken = (0, 0)
                raise
            finally:
                dollars = self._dollars(*taken)
                spent.add(taken, dollars)
                self._budget.spend(dollars, sum(taken))

    async def _post(self, messages: Conversation) -> Completed:
        body = {
            "model": self._config.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            **self._parameters,
        }
        # The client's own timeout starts anew with each byte that arrives.
        async with asyncio.timeout(self._config.timeout):
            # `chat.completions.create` sends the same, but takes a fifth of the time of a call to go through the body.
            answer = await next(self._next_client).post("/chat/completions", body=body, cast_to=object)
        return _completed(answer)

    def _open(self) -> None:
        # Anew for each turn: another judge of the run, or another run, may have paid from the same store.
        dollars, tokens = self._store.spent()
        config = self._config
        self._budget = Budget(
            max_dollars=config.max_dollars, max_tokens=config.max_total_tokens, dollars=dollars, tokens=tokens
        )
        if not self._clients:
            from openai import AsyncOpenAI

            # A pool of connections looks through all of them at each call: several small ones take half the time.
            pools = -(-self._config.concurrency // _POOL)
            self._clients = [
                AsyncOpenAI(base_url=config.base_url, api_key=self._key, timeout=config.timeout, max_retries=0)
                for _ in range(pools)
            ]
            self._next_client = itertools.cycle(self._clients)
            rates = ((self._config.requests_per_minute, False), (self._config.tokens_per_minute, True))
            self._limits = [_Rate(rate, counts_tokens) for rate, counts_tokens in rates if rate is not None]

    def _dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        config = self._config
        price = prompt_tokens * config.dollars_per_million_in + completion_tokens * config.dollars_per_million_out
        return price / 1e6

    def _explain(self, error: Exception) -> tuple[FailureCause, str]:
        """The kind of failure and a line on it, free of the key; raises where no request can succeed."""
        import openai

        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        if status in _STOPS_THE_RUN:
            what = _STOPS_THE_RUN[status].format(key_env=self._config.key_env or "judge.key_env")
            raise FeedbackStopped(f"the judge at {self._config.base_url} answers HTTP {status}: {what}") from None
        if isinstance(error, (openai.APITimeoutError, TimeoutError)):
            return "timeout", f"no answer within {self._config.timeout:g} seconds"
        if status is not None:
            cause: FailureCause = "rate_limited" if status == 429 else "server_error" if status >= 500 else "refused"
            return cause, self._without_key(f"HTTP {status}: {error}")
        if isinstance(error, openai.APIConnectionError):
            return "connection", self._without_key(
                f"{self._config.base_url} cannot be reached: {error.__cause__ or error}"
            )
        return "server_error", self._without_key(f"the body is no answer ({type(error).__name__}: {error})")

    def _without_key(self, text: str) -> str:
        shown = text if self._config.key_env is None else text.replace(self._key, "[key]")
        return sound(" ".join(shown.split())[:200])


def _key(config: JudgeConfig) -> str:
    if config.replay == "only" or config.key_env is None:
        return "none"
    key = os.environ.get(config.key_env, "").strip()
    if not key:
        raise UserError(
            f"judge.key_env={config.key_env}: this environment variable is not set; put the key there, or set "
            "judge.key_env=none for an endpoint without keys"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"judge.key_env={config.key_env}: this variable holds no key: it has spaces or line breaks")
    return key


class _Rate:
    """So many calls, or tokens, per minute: a second's worth at once, or one call where that is more."""

    def __init__(self, per_minute: int, counts_tokens: bool) -> None:
        from aiolimiter import AsyncLimiter

        self.counts_tokens = counts_tokens
        self._limit = AsyncLimiter(max(1.0, per_minute / 60), max(1.0, 60 / per_minute))
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> None:
        """Waits until the rate admits an amount, however large; those who wait are served one after the other."""
        async with self._turn:
            while amount > 0:
                part = min(amount, self._limit.max_rate)
                await self._limit.acquire(part)
                amount -= part


@dataclass(slots=True, kw_only=True)
class _Spent:
    """What the tries of one call have come to so far."""

    start: float
    tries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0

    def add(self, tokens: tuple[int, int], dollars: float) -> None:
        self.prompt_tokens += tokens[0]
        self.completion_tokens += tokens[1]
        self.dollars += dollars

    def call(self, cause: FailureCause | None = None, reason: str | None = None, text: str | None = None) -> Call:
        return Call(
            text=text,
            cause=cause,
            reason=reason,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            dollars=self.dollars,
            seconds=time.perf_counter() - self.start,
            tries=self.tries,
        )


def _completed(answer: Any) -> Completed:
    """Reads an endpoint's answer; raises `ValueError` where it is no chat completion."""
    try:
        content = answer["choices"][0]["message"]["content"]
        usage = answer.get("usage")
        counts = (usage["prompt_tokens"], usage["completion_tokens"]) if usage else None
        tokens = (_count(counts[0]), _count(counts[1])) if counts else None
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("it is no chat completion") from error
    if not isinstance(content, str | None):
        raise ValueError("its content is no text")
    return Completed(sound(content or ""), tokens)


def _count(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return min(max(0, value), _MOST_TOKENS)


def _was_not_served(error: Exception) -> bool:
    """Whether a try cannot have cost anything: refused, turned away, or never arrived."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return False
    return isinstance(error, openai.APIStatusError | openai.APIConnectionError)


def _may_pass(error: BaseException) -> bool:
    """Whether another try may help: not after a refusal, nor where the run is to stop."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return isinstance(error, Exception) and not isinstance(error, UserError)


def _pause(state: Any) -> float:
    """Seconds until the next try: what `Retry-After` says, else growing with each try, by chance."""
    from tenacity import wait_random_exponential

    response = getattr(state.outcome.exception(), "response", None)
    asked = _retry_after(response.headers.get("retry-after", "")) if response is not None else None
    return min(asked, _LONGEST_PAUSE) if asked is not None else wait_random_exponential(multiplier=0.5, max=30)(state)


def _retry_after(header: str) -> float | None:
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
