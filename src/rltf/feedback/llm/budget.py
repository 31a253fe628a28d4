"""Money and tokens that all calls of a store may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rltf.support.errors import FeedbackStopped


@dataclass(slots=True, kw_only=True)
class Budget:
    """What may be spent, what is spent, and what the calls under way may come to."""

    max_dollars: float | None
    max_tokens: int | None
    dollars: float
    tokens: int
    _under_way_dollars: float = field(default=0.0, init=False)
    _under_way_tokens: int = field(default=0, init=False)
    _settled: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)

    @asynccontextmanager
    async def reserve(self, dollars: float, tokens: int) -> AsyncIterator[None]:
        """Holds what a call may come to at most while it is under way.

        Waits for other calls to settle where all together might pass the budget, and raises `FeedbackStopped`
        where this call alone might.
        """
        async with self._settled:
            while not self._fits(dollars + self._under_way_dollars, tokens + self._under_way_tokens):
                if not self._under_way_tokens:
                    raise FeedbackStopped(self._passed())
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

    def _fits(self, dollars: float, tokens: int) -> bool:
        # A billionth of slack: sums of prices are not exact.
        in_dollars = self.max_dollars is None or self.dollars + dollars <= self.max_dollars + 1e-9
        return in_dollars and (self.max_tokens is None or self.tokens + tokens <= self.max_tokens)

    def _passed(self) -> str:
        limits = [f"judge.max_dollars={self.max_dollars:g}"] if self.max_dollars is not None else []
        limits += [f"judge.max_total_tokens={self.max_tokens}"] if self.max_tokens is not None else []
        return (
            f"{' or '.join(limits)} could be passed by the next call to the judge: {self.dollars:.4f} dollars and "
            f"{self.tokens:,} tokens are spent; raise it to go on"
        )
