"""Train, validation and test problems that are disjoint by seed and by content."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.types import Problem, Split

_ORDER: tuple[Split, ...] = ("test", "validation", "train")
_PATIENCE = 2000
"""Draws in a row without a new problem after which a generator counts as exhausted."""
_FEW = 1000
"""So many problems over all splits are drawn even to look at a task."""


class DisjointSplits:
    """Distinct problems drawn on demand from one stream of a generator per split.

    The test split is drawn first, validation next, train last, and each leaves out every prompt that an
    earlier one holds. So the test problems depend on nothing but the generator and `data_seed`.
    """

    def __init__(
        self,
        draw: Callable[[Split, int, int, int], Problem | None],
        sizes: Mapping[Split, int],
        data_seed: int,
        section: str = "task",
    ) -> None:
        """`draw(split, index, seed, position)` gives the stream's problem at `position`, None if not admitted.

        `section` is where the sizes are set, for error messages.
        """
        self._draw = draw
        self._sizes = dict(sizes)
        self._section = section
        self._seeds = {split: derive_seed(data_seed, "problems", split) >> 8 for split in _ORDER}
        self._problems: dict[Split, list[Problem]] = {split: [] for split in _ORDER}
        self._positions = dict.fromkeys(_ORDER, 0)
        self._seen: set[str] = set()

    def size(self, split: Split) -> int:
        """The configured number of problems."""
        return self._sizes[split]

    def problem(self, split: Split, index: int) -> Problem:
        """The problem at `index`; raises IndexError outside the split, UserError if the generator runs dry."""
        if not 0 <= index < self._sizes[split]:
            raise IndexError(f"{split} problem {index} of {self._sizes[split]}")
        for earlier in _ORDER[: _ORDER.index(split)]:
            self._fill(earlier, self._sizes[earlier])
        self._fill(split, index + 1)
        return self._problems[split][index]

    def glance(self, split: Split) -> list[Problem]:
        """Distinct problems from the beginning of a split's stream, drawn without the splits before it.

        Of n draws among D equally likely problems n^2 / 2D repeat another, so that a few hundred draws tell whether D
        is far below the number that is wanted. Where it may be, the whole split is drawn.

        Raises:
            UserError: the generator runs dry.
        """
        total = sum(self._sizes.values())
        # Three repeats are to be expected where there are just as many problems as are wanted.
        draws = math.ceil(math.sqrt(6 * total))
        if total > _FEW:
            some: list[Problem] = []
            for position in range(_PATIENCE):
                if len(some) == draws:
                    break
                problem = self._draw(split, len(some), self._seeds[split], position)
                some += [] if problem is None else [problem]
            found = {problem.prompt: problem for problem in some}
            if len(some) == draws and len(found) >= draws - 1:
                return list(found.values())
        return [self.problem(split, index) for index in range(self._sizes[split])]

    def _fill(self, split: Split, count: int) -> None:
        problems = self._problems[split]
        misses = 0
        while len(problems) < count:
            problem = self._draw(split, len(problems), self._seeds[split], self._positions[split])
            self._positions[split] += 1
            if problem is None or problem.prompt in self._seen:
                misses += 1
                if misses >= _PATIENCE and not self._seen:
                    raise UserError(f"{self._section}: no problem can be made with these settings; widen them")
                if misses >= _PATIENCE:
                    raise UserError(
                        f"{self._section}.{split}_size={self._sizes[split]}: these task settings give only "
                        f"{len(self._seen)} distinct problems over all splits, {len(problems)} of them for "
                        f"{split}; lower {self._section}.{split}_size or widen the task's settings"
                    )
                continue
            misses = 0
            self._seen.add(problem.prompt)
            problems.append(problem)
