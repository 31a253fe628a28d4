"""The way to one endpoint: open connections, the rates that it is asked at, and the key, which nobody else sees."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from rltf.config.feedback import JudgeConfig
from rltf.feedback.failures import Breaker
from rltf.support.errors import UserError
from rltf.support.texts import sound

_POOL = 16
_SHORTEST_SECRET = 6
"""Characters. What is shorter is a word like `EMPTY`, for an endpoint without keys, and may stand in a text."""


def key_of(config: JudgeConfig) -> str | None:
    """The endpoint's key from the environment, None where none is needed; raises `UserError` where it is missing."""
    if config.replay == "only" or config.key_env is None:
        return None
    key = os.environ.get(config.key_env, "").strip()
    if not key:
        raise UserError(
            f"judge.key_env={config.key_env}: this environment variable is not set; put the key there, or set "
            "judge.key_env=none for an endpoint without keys"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"judge.key_env={config.key_env}: this variable holds no key: it has spaces or line breaks")
    return key


class Connection:
    """One address with one key. All who ask there share its connections, its limits and its breaker."""

    def __init__(self, base_url: str, key: str | None, breaker: Breaker) -> None:
        self.breaker = breaker
        self._base_url, self._key = base_url, key
        self._secret = _as_it_may_be_written(key) if key is not None and len(key) >= _SHORTEST_SECRET else None
        self._limits: dict[str, int | None] = {}
        self._opened_with: dict[str, int | None] = {}
        self._clients: list[Any] = []
        self._next_client: Iterator[Any] = iter(())
        self._slots = asyncio.Semaphore()
        self._rates: list[_Rate] = []

    def admit(self, config: JudgeConfig) -> None:
        """Keeps to the limits of one more who asks here; of several, the strictest counts."""
        for name in ("concurrency", "requests_per_minute", "tokens_per_minute"):
            limits = [limit for limit in (self._limits.get(name), getattr(config, name)) if limit is not None]
            self._limits[name] = min(limits, default=None)

    def open(self) -> None:
        """Makes the connections; to be called in the event loop, while no call is under way."""
        from openai import AsyncOpenAI

        if self._opened_with == self._limits:
            return
        self._opened_with = dict(self._limits)
        concurrency = self._limits["concurrency"] or 1
        self._slots = asyncio.Semaphore(concurrency)
        per_minute = (self._limits["requests_per_minute"], False), (self._limits["tokens_per_minute"], True)
        self._rates = [_Rate(rate, counts_tokens) for rate, counts_tokens in per_minute if rate is not None]
        # A pool of connections looks through all of them at each call: several small ones take half the time.
        for _ in range(len(self._clients), -(-concurrency // _POOL)):
            # How long a whole call may take, each who asks says; the client's own timeout starts anew with each byte.
            client = AsyncOpenAI(base_url=self._base_url, api_key=self._key or "none", timeout=None, max_retries=0)
            self._clients.append(client)
        self._next_client = itertools.cycle(self._clients)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the calls that may be under way at the same time."""
        async with self._slots:
            yield

    async def wait(self, tokens: int) -> None:
        """Waits until the rates admit a call worth so many tokens."""
        for rate in self._rates:
            await rate.take(float(tokens) if rate.counts_tokens else 1.0)

    async def post(self, body: dict[str, Any]) -> str:
        """The body of the endpoint's answer, whatever content type it claims."""
        # `chat.completions.create` sends the same, but takes a fifth of the time of a call to go through the body.
        answer = await next(self._next_client).post("/chat/completions", body=body, cast_to=str)
        return str(answer)

    @property
    def is_open(self) -> bool:
        """Whether there are connections to end."""
        return bool(self._clients)

    async def close(self) -> None:
        """Ends the connections; `open` makes others."""
        for client in self._clients:
            await client.close()
        self._clients, self._opened_with = [], {}

    def without_key(self, text: str) -> str:
        """A text of the endpoint's that may be kept: sound, and with the key cut out wherever it is repeated."""
        return sound(text if self._secret is None else self._secret.sub("[key]", text))


def _as_it_may_be_written(key: str) -> re.Pattern[str]:
    """Finds the key in either case, also where JSON or a page spells its characters as numbers."""
    characters = (
        rf"(?:{re.escape(c)}|\\u{ord(c):04x}|\\{re.escape(c)}|&#0*{ord(c)};|&#x0*{ord(c):x};|%{ord(c):02x})"
        for c in key
    )
    return re.compile("".join(characters), re.IGNORECASE)


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
