"""Calls to an OpenAI-compatible endpoint: many at once, within limits, each tried again where that may help."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeAlias

from rltf.config.feedback import JudgeConfig
from rltf.feedback.llm.budget import Budget, Limits
from rltf.feedback.llm.connection import Connection
from rltf.feedback.llm.loop import LoopThread
from rltf.feedback.llm.store import Call, CallStore, Request
from rltf.support.errors import FeedbackStopped, UserError
from rltf.support.texts import sound
from rltf.types import FailureCause, FeedbackFailure, Message

Conversation: TypeAlias = tuple[Message, ...]

LONGEST_TEXT = 20_000
"""Characters of an answer that are kept; no feedback is that long."""
_LONGEST_PAUSE = 120.0
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
    """Asks one judge for answers of one form, or the store for what it said before."""

    def __init__(
        self,
        config: JudgeConfig,
        json_schema: dict[str, Any],
        connection: Connection,
        store: CallStore,
        budget: Budget,
        loop: LoopThread,
    ) -> None:
        """
        Args:
            config: the settings of the judge.
            json_schema: the form of an answer, for `format="json_schema"`.
            connection: the way to the endpoint.
            store: where calls are recorded.
            budget: what the store's calls have come to.
            loop: where calls run.
        """
        self._config, self._connection, self._store, self._loop = config, connection, store, loop
        self._budget = budget
        self._limits = Limits(dollars=config.max_dollars, tokens=config.max_total_tokens)
        self._parameters: dict[str, Any] = {config.limit_name: config.max_tokens}
        if config.temperature is not None:
            self._parameters["temperature"] = config.temperature
        if config.format == "json_schema":
            form = {"name": "feedback", "strict": True, "schema": json_schema}
            self._parameters["response_format"] = {"type": "json_schema", "json_schema": form}

    def ask(self, conversations: Sequence[Conversation], seed: int) -> list[Call]:
        """The judge's answer to each conversation, or its failure; equal conversations are asked once."""
        requests = {conversation: self._request(conversation) for conversation in conversations}
        replaying = self._config.replay == "only"
        calls = {c: self._store.find(r.key, seed, failures=replaying) for c, r in requests.items()}
        missing = [conversation for conversation, call in calls.items() if call is None]
        if missing and replaying:
            raise FeedbackStopped(
                f"judge.replay=only: {self._store.name} holds no answer to {len(missing)} of {len(calls)} prompts; "
                "replay with the settings of the recorded run, or set judge.replay=off"
            )
        if missing:
            # Anew for each turn: another process may have paid from the same store.
            self._budget.dollars, self._budget.tokens = self._store.spent()
            answered = self._loop.run(self._ask_all([(requests[c], c) for c in missing], seed))
            calls |= zip(missing, answered, strict=True)
        return [call for c in conversations if (call := calls[c]) is not None]

    def _request(self, conversation: Conversation) -> Request:
        messages = json.dumps([{"role": m.role, "content": m.content} for m in conversation], ensure_ascii=False)
        config = self._config
        identity = json.dumps([config.base_url, config.model, self._parameters, messages], sort_keys=True)
        key = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        return Request(key=key, endpoint=config.base_url, model=str(config.model), messages=messages)

    async def _ask_all(self, requests: Sequence[tuple[Request, Conversation]], seed: int) -> list[Call]:
        self._connection.open()
        tasks = [asyncio.create_task(self._ask(request, messages, seed)) for request, messages in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, request: Request, messages: Conversation, seed: int) -> Call:
        async with self._connection.slot():
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
        self._connection.breaker.record(failed)
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
        # A token has at least one byte, so this is the most that the prompt can come to.
        most = len(request.messages.encode("utf-8", "surrogatepass"))
        guess = (most // 4, self._config.max_tokens)
        await self._connection.wait(sum(guess))
        dearest = self._dollars(most, self._config.max_tokens)
        async with self._budget.reserve(dearest, most + self._config.max_tokens, self._limits):
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
            return _completed(json.loads((await self._connection.post(body)).lstrip("\ufeff")))

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
            return cause, self._line(f"HTTP {status}: {error}")
        if isinstance(error, openai.APIConnectionError):
            return "connection", self._line(f"{self._config.base_url} cannot be reached: {error.__cause__ or error}")
        return "server_error", self._line(f"the body is no answer ({type(error).__name__}: {error})")

    def _line(self, text: str) -> str:
        """A text of the endpoint's as one line that may be shown."""
        return " ".join(self._connection.without_key(text).split())[:200]


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
