"""Money and tokens that all calls of a store may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from rltf.support.errors import FeedbackStopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all calls of a store may come to, as one judge's settings have it; None: as much as they like."""

    dollars: float | None
    tokens: int | None


@dataclass(slots=True, kw_only=True)
class Budget:
    """What is spent, and what the calls under way may come to."""

    dollars: float = 0.0
    tokens: int = 0
    _under_way_dollars: float = field(default=0.0, init=False)
    _under_way_tokens: int = field(default=0, init=False)
    _users: int = field(default=0, init=False)
    _settled: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)

    @contextmanager
    def in_use(self, recorded: Callable[[], tuple[float, int]]) -> Iterator[None]:
        """While somebody asks. What is spent is taken from the record first: another process may have paid too.

        Not while others ask, as what their calls have come to so far is not in the record yet.
        """
        if not self._users:
            self.dollars, self.tokens = recorded()
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    @asynccontextmanager
    async def reserve(self, dollars: float, tokens: int, limits: Limits) -> AsyncIterator[None]:
        """Holds what a call may come to at most while it is under way.

        Waits for other calls to settle where all together might pass the limits, and raises `FeedbackStopped`
        where this call alone might.
        """
        async with self._settled:
            while not self._fits(dollars + self._under_way_dollars, tokens + self._under_way_tokens, limits):
                if not self._under_way_tokens:
                    raise FeedbackStopped(self._passed(limits))
                await self._settled.wait()
            self._under_way_dollars += dollars
            self._under_way_tokens += tokens
        try:
            yield
        finally:
            async with self._settled:
                self._under_way_dollars -= dollars
                self._under_way_tokens -= tokens
                self._settled.notify_all()

    def spend(self, dollars: float, tokens: int) -> None:
        """Counts what a call did come to."""
        self.dollars += dollars
        self.tokens += tokens

    def _fits(self, dollars: float, tokens: int, limits: Limits) -> bool:
        # A billionth of slack: sums of prices are not exact.
        in_dollars = limits.dollars is None or self.dollars + dollars <= limits.dollars + 1e-9
        return in_dollars and (limits.tokens is None or self.tokens + tokens <= limits.tokens)

    def _passed(self, limits: Limits) -> str:
        named = [f"judge.max_dollars={limits.dollars:g}"] if limits.dollars is not None else []
        named += [f"judge.max_total_tokens={limits.tokens}"] if limits.tokens is not None else []
        return (
            f"{' or '.join(named)} could be passed by the next call to the judge: {self.dollars:.4f} dollars and "
            f"{self.tokens:,} tokens are spent; raise it to go on"
        )
