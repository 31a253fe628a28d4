"""Calls to an OpenAI-compatible endpoint: many at once, within limits, each tried again where that may help."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rltf.config.feedback import JudgeConfig
from rltf.feedback.llm.budget import Budget, Limits
from rltf.feedback.llm.connection import Connection
from rltf.feedback.llm.loop import LoopThread
from rltf.feedback.llm.store import Call, CallStore, Request
from rltf.feedback.llm.tries import cause_of, may_pass, pause, was_not_served
from rltf.feedback.llm.wire import Completed, NoAnswer, error_told, read_body
from rltf.support.errors import FeedbackStopped
from rltf.types import FailureCause, FeedbackFailure, Message

Conversation: TypeAlias = tuple[Message, ...]

LONGEST_TEXT = 20_000
"""Characters of an answer that are kept; no feedback is that long."""
_STOPS_THE_RUN = {
    401: "the endpoint does not take the key in {key_env}",
    403: "the endpoint does not let the key in {key_env} do this",
    404: "the endpoint does not know this address or model; check judge.base_url and judge.model",
}


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
        self._under_way: dict[str, asyncio.Event] = {}
        """What says that a request has ended, by its key."""
        self._failed: set[tuple[str, int]] = set()
        """Key and seed of requests that failed here: who asks the same, at once or later, shares the failure."""
        self._limits = Limits(dollars=config.max_dollars, tokens=config.max_total_tokens)
        self._parameters: dict[str, Any] = {config.limit_name: config.max_tokens}
        if config.temperature is not None:
            self._parameters["temperature"] = config.temperature
        if config.format == "json_schema":
            form = {"name": "feedback", "strict": True, "schema": json_schema}
            self._parameters["response_format"] = {"type": "json_schema", "json_schema": form}

    def ask(self, conversations: Sequence[Conversation], seed: int) -> list[Call]:
        """The judge's answer to each conversation, or its failure; equal conversations are asked once.

        Several threads may ask at the same time.
        """
        requests = {conversation: self._request(conversation) for conversation in conversations}
        replaying = self._config.replay == "only"
        calls = {c: self._found(r, seed) for c, r in requests.items()}
        missing = [conversation for conversation, call in calls.items() if call is None]
        if missing and replaying:
            raise FeedbackStopped(
                f"judge.replay=only: {self._store.name} holds no answer to {len(missing)} of {len(calls)} prompts; "
                "replay with the settings of the recorded run, or set judge.replay=off"
            )
        if missing:
            answered = self._loop.run(self._ask_all([(requests[c], c) for c in missing], seed))
            calls |= zip(missing, answered, strict=True)
        return [call for c in conversations if (call := calls[c]) is not None]

    def mark(self, conversation: Conversation, seed: int, unusable: FailureCause | None) -> None:
        """Records whether the answer to a conversation could be used."""
        if self._config.replay == "off":
            self._store.mark(self._request(conversation).key, seed, unusable)

    def _request(self, conversation: Conversation) -> Request:
        messages = json.dumps([{"role": m.role, "content": m.content} for m in conversation], ensure_ascii=False)
        config = self._config
        identity = json.dumps([config.base_url, config.model, self._parameters, messages], sort_keys=True)
        key = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        return Request(key=key, endpoint=config.base_url, model=str(config.model), messages=messages)

    async def _ask_all(self, requests: Sequence[tuple[Request, Conversation]], seed: int) -> list[Call]:
        self._connection.open()
        with self._budget.in_use(self._store.spent):
            tasks = [asyncio.create_task(self._ask_once(request, messages, seed)) for request, messages in requests]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _found(self, request: Request, seed: int) -> Call | None:
        """What the store holds for a request. A run that goes on after a stop asks again where a call failed before."""
        failures = self._config.replay == "only" or (request.key, seed) in self._failed
        return self._store.find(request.key, seed, failures=failures)

    async def _ask_once(self, request: Request, messages: Conversation, seed: int) -> Call:
        """Asks, unless somebody else does so at this moment, or just did: what that gives is the answer here too."""
        while (ended := self._under_way.get(request.key)) is not None:
            await ended.wait()
        call = self._found(request, seed)
        if call is not None:
            return call
        ended = self._under_way[request.key] = asyncio.Event()
        try:
            return await self._ask(request, messages, seed)
        finally:
            del self._under_way[request.key]
            ended.set()

    async def _ask(self, request: Request, messages: Conversation, seed: int) -> Call:
        async with self._connection.slot():
            spent = _Spent(start=time.perf_counter())
            try:
                call = await self._try(request, messages, spent)
            except BaseException:
                # Cancelled, or the run is to stop: what was begun may be charged all the same.
                if spent.tries:
                    self._keep(request, seed, spent.call(cause="other", reason="given up while the call was under way"))
                raise
            self._keep(request, seed, call)
        failed = FeedbackFailure(cause=call.cause, reason=str(call.reason), source="llm") if call.cause else None
        self._connection.breaker.record(failed)
        return call

    def _keep(self, request: Request, seed: int, call: Call) -> None:
        self._store.add(request, seed, call)
        if call.text is None:
            self._failed.add((request.key, seed))

    async def _try(self, request: Request, messages: Conversation, spent: _Spent) -> Call:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        def note(state: Any) -> None:
            spent.faults.append(cause_of(state.outcome.exception()))

        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._config.retries + 1),
            wait=pause,
            retry=retry_if_exception(may_pass),
            before_sleep=note,
            reraise=True,
        )
        try:
            completed: Completed = await attempts(self._once, request, messages, spent)
        except FeedbackStopped:
            raise
        except Exception as error:
            return spent.call(cause=cause_of(error), reason=self._explain(error))
        text = self._connection.without_key(completed.text)[:LONGEST_TEXT]
        if completed.ending == "filtered":
            return spent.call(cause="content_filter", reason="a filter of the endpoint's took the answer away")
        if text.strip():
            return spent.call(text=text, cut=completed.ending == "cut")
        if completed.refusal is not None:
            return spent.call(cause="refused", reason=self._line(f"the judge refused: {completed.refusal}"))
        if completed.ending == "cut":
            limit = f"the token limit, judge.max_tokens={self._config.max_tokens}, was reached before the answer began"
            return spent.call(cause="token_limit", reason=limit)
        if completed.only_thoughts:
            return spent.call(cause="empty", reason="the endpoint sent nothing but thinking in a field of its own")
        return spent.call(text="")

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
                taken = self._taken(completed, guess)
                return completed
            except Exception as error:
                if was_not_served(error):
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
            return read_body(await self._connection.post(body))

    @staticmethod
    def _taken(completed: Completed, guess: tuple[int, int]) -> tuple[int, int]:
        """Tokens of prompt and answer, estimated where the endpoint does not count them."""
        written = guess[1] if completed.ending == "cut" else len(completed.text) // 4
        prompt, completion = completed.prompt_tokens, completed.completion_tokens
        return guess[0] if prompt is None else prompt, written if completion is None else completion

    def _dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        config = self._config
        price = prompt_tokens * config.dollars_per_million_in + completion_tokens * config.dollars_per_million_out
        return price / 1e6

    def _explain(self, error: Exception) -> str:
        """A line on a failure, free of the key; raises `FeedbackStopped` where no request can succeed."""
        import openai

        if isinstance(error, openai.APIStatusError):
            told = self._line(error_told(error.body)[0] or str(error))
            if error.status_code in _STOPS_THE_RUN:
                what = _STOPS_THE_RUN[error.status_code].format(key_env=self._config.key_env or "judge.key_env")
                raise FeedbackStopped(
                    f"the judge at {self._config.base_url} answers HTTP {error.status_code}: {what} (it says: {told})"
                ) from None
            return f"HTTP {error.status_code}: {told}"
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return f"no answer within {self._config.timeout:g} seconds"
        if isinstance(error, openai.APIConnectionError):
            return self._line(f"{self._config.base_url} cannot be reached: {error.__cause__ or error}")
        if isinstance(error, NoAnswer):
            return self._line(f"the endpoint gave no answer: {error}")
        return self._line(f"the endpoint's answer cannot be read ({type(error).__name__}: {error})")

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
    faults: list[FailureCause] = field(default_factory=list)
    """Of the tries that were followed by another."""

    def add(self, tokens: tuple[int, int], dollars: float) -> None:
        self.prompt_tokens += tokens[0]
        self.completion_tokens += tokens[1]
        self.dollars += dollars

    def call(
        self,
        *,
        cause: FailureCause | None = None,
        reason: str | None = None,
        text: str | None = None,
        cut: bool = False,
    ) -> Call:
        return Call(
            text=text,
            cut=cut,
            cause=cause,
            reason=reason,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            dollars=self.dollars,
            seconds=time.perf_counter() - self.start,
            tries=self.tries,
            faults=tuple(self.faults),
        )
