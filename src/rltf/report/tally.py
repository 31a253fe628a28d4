"""What is counted over all rollouts of a run, one group at a time, in memory that does not grow with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rltf.report.groups import Group
from rltf.rollouts.evaluate import mean_and_interval
from rltf.rollouts.records import RolloutRecord

MOST_BINS = 40
"""Stretches of a run over which its rollouts are counted together; a run of fewer steps has one for each."""
THIRDS = 3
_MOST_WORDINGS, _WORDINGS_SHOWN = 2_000, 12
_LONGEST_WORDING = 160
_MOST_OF_THEM = 0.9
_MOST_ANSWERS = 12
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

Outcome: TypeAlias = Literal["right", "fixed", "wrong", "spoiled", "alone", "unscored"]
OUTCOMES: tuple[Outcome, ...] = ("right", "fixed", "wrong", "spoiled", "alone", "unscored")
"""How a rollout went: right at once; wrong, and right after feedback; wrong, and wrong after feedback; right, and
wrong after feedback; wrong, and not tried again; without a score."""


def outcome(record: RolloutRecord) -> Outcome:
    """How a rollout went, from its first attempt to its last."""
    if not record.turns:
        return "unscored"
    first, last = record.turns[0].score.correct, record.turns[-1].score.correct
    if len(record.turns) == 1:
        return "right" if first else "alone"
    if first:
        return "right" if last else "spoiled"
    return "fixed" if last else "wrong"


@dataclass(slots=True)
class Shares:
    """Right attempts among those made, problem by problem, for a mean with an interval."""

    sums: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def add(self, correct: Sequence[bool]) -> None:
        """The attempts at one problem."""
        if correct:
            self.sums.append(float(sum(correct)))
            self.counts.append(len(correct))

    def figures(self) -> list[float | None]:
        """Mean and half its 95 % interval."""
        mean, half = mean_and_interval(self.sums, self.counts)
        return [_round(mean), _round(half)]


@dataclass(slots=True)
class Kind:
    """Attempts at one kind of problem, in each third of the run."""

    made: list[int] = field(default_factory=lambda: [0] * THIRDS)
    right: list[int] = field(default_factory=lambda: [0] * THIRDS)
    revised: list[int] = field(default_factory=lambda: [0] * THIRDS)
    fixed: list[int] = field(default_factory=lambda: [0] * THIRDS)

    def add(self, third: int, record: RolloutRecord, *, counts_first: bool) -> None:
        """One rollout; `counts_first`: the first attempt is the policy's."""
        if counts_first:
            self.made[third] += 1
            self.right[third] += record.turns[0].score.correct
        if len(record.turns) > 1 and not record.turns[0].score.correct:
            self.revised[third] += 1
            self.fixed[third] += record.turns[-1].score.correct

    def __iadd__(self, other: Kind) -> Kind:
        """Both together."""
        for mine, theirs in (
            (self.made, other.made),
            (self.right, other.right),
            (self.revised, other.revised),
            (self.fixed, other.fixed),
        ):
            for third, count in enumerate(theirs):
                mine[third] += count
        return self

    def figures(self) -> dict[str, list[int]]:
        """Plain values."""
        return {"made": self.made, "right": self.right, "revised": self.revised, "fixed": self.fixed}


@dataclass(slots=True)
class Wording:
    """Pieces of feedback that read alike, numbers aside."""

    example: str
    given: int = 0
    revised: int = 0
    fixed: int = 0

    def figures(self) -> dict[str, Any]:
        """Plain values."""
        return {"example": self.example, "given": self.given, "revised": self.revised, "fixed": self.fixed}


@dataclass(slots=True)
class Tally:
    """The counts of a run."""

    steps: int
    """Of the whole run, done or not: so the stretches stay where they are while it goes on."""
    logged: bool = False
    """First attempts come from a log and are not the policy's."""
    rollouts: int = 0
    first: list[Shares] = field(init=False)
    """Of each stretch, as the two below."""
    later: list[Shares] = field(init=False)
    outcomes: list[Counter[Outcome]] = field(init=False)
    tasks: dict[str, Kind] = field(default_factory=dict)
    lengths: dict[int, Kind] = field(default_factory=dict)
    """By tokens of the question."""
    answers: dict[str, Kind] | None = field(default_factory=dict)
    """By right answer, while there are few."""
    mistakes: dict[str, Kind] = field(default_factory=dict)
    """By what the score says of a wrong first attempt."""
    sources: dict[str, Wording] = field(default_factory=dict)
    wordings: dict[str, Wording] = field(default_factory=dict)
    causes: Counter[str] = field(default_factory=Counter)
    """Of failed feedback."""
    unscored: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    """An example of each cause, as it was told."""
    given: int = 0
    told_answer: int = 0
    """Feedback that has the right answer in it."""
    repeated: int = 0
    """Revisions that say again what the attempt had said."""
    revised: int = 0
    compared: int = 0
    """Wrong first attempts that were revised and have siblings."""
    compared_fixed: int = 0
    siblings_right: float = 0.0
    """Sum over these of the share of right first attempts among their siblings: what trying again without feedback
    would have given."""

    def __post_init__(self) -> None:
        self.first = [Shares() for _ in range(self.bins)]
        self.later = [Shares() for _ in range(self.bins)]
        self.outcomes = [Counter() for _ in range(self.bins)]

    @property
    def bins(self) -> int:
        """How many stretches there are."""
        return min(MOST_BINS, max(1, self.steps))

    def bin(self, step: int) -> int:
        """The stretch that a step is of."""
        return min(self.bins - 1, (step - 1) * self.bins // max(1, self.steps))

    def ends(self) -> list[int]:
        """The last step of each stretch."""
        return [-(-self.steps * (number + 1) // self.bins) for number in range(self.bins)]

    def add(self, group: Group) -> None:
        """Counts one group."""
        place = self.bin(group.step)
        third = min(THIRDS - 1, (group.step - 1) * THIRDS // max(1, self.steps))
        scored = [record for record in group.rollouts if record.turns]
        self.rollouts += len(scored)
        self._siblings(scored)
        if not self.logged:
            self.first[place].add([record.turns[0].score.correct for record in scored])
        self.later[place].add([turn.score.correct for record in scored for turn in record.turns[1:]])
        for record in group.rollouts:
            self.outcomes[place][outcome(record)] += 1
            if record.turns:
                self._kinds(record, third)
                self._feedback(record)
            elif record.failure is not None:
                cause = record.failure.cause or "other"
                self.unscored[cause] += 1
                self.failures.setdefault(cause, (record.failure.failure or "")[:_LONGEST_WORDING])

    def _siblings(self, scored: Sequence[RolloutRecord]) -> None:
        right = sum(record.turns[0].score.correct for record in scored)
        for record in scored if len(scored) > 1 and not self.logged else ():
            if len(record.turns) > 1 and not record.turns[0].score.correct:
                self.compared += 1
                self.compared_fixed += record.turns[-1].score.correct
                self.siblings_right += right / (len(scored) - 1)

    def _kinds(self, record: RolloutRecord, third: int) -> None:
        kinds = [
            self.tasks.setdefault(record.task, Kind()),
            self.lengths.setdefault(record.turns[0].prompt_tokens, Kind()),
        ]
        answer = record.answer
        if self.answers is not None and answer is not None:
            if len(answer) <= _LONGEST_WORDING and (answer in self.answers or len(self.answers) < _MOST_ANSWERS):
                kinds.append(self.answers.setdefault(answer, Kind()))
            else:
                self.answers = None
        first = record.turns[0].score
        if not first.correct and first.explanation:
            words = first.explanation.partition("\n")[0][:_LONGEST_WORDING]
            if words in self.mistakes or len(self.mistakes) < _MOST_WORDINGS:
                kinds.append(self.mistakes.setdefault(words, Kind()))
        for kind in kinds:
            kind.add(third, record, counts_first=not self.logged)

    def _feedback(self, record: RolloutRecord) -> None:
        for number, turn in enumerate(record.turns):
            feedback = turn.feedback
            if feedback is None:
                continue
            if feedback.cause is not None:
                self.causes[feedback.cause] += 1
                self.failures.setdefault(feedback.cause, (feedback.failure or "")[:_LONGEST_WORDING])
            if feedback.text is None:
                continue
            self.given += 1
            answer = (record.answer or "").strip()
            # A single sign is found in any text.
            self.told_answer += len(answer) > 1 and answer in feedback.text
            words = _NUMBER.sub("#", feedback.text.strip().partition("\n")[0])[:_LONGEST_WORDING]
            entries = [self.sources.setdefault(feedback.source, Wording(""))]
            if words in self.wordings or len(self.wordings) < _MOST_WORDINGS:
                entries.append(self.wordings.setdefault(words, Wording(feedback.text[:_LONGEST_WORDING])))
            following = record.turns[number + 1] if number + 1 < len(record.turns) else None
            for entry in entries:
                entry.given += 1
                if following is not None:
                    entry.revised += 1
                    entry.fixed += following.score.correct
            if following is not None:
                self.revised += 1
                self.repeated += following.text == turn.text

    def figures(self) -> dict[str, Any]:
        """All of it as plain values for the page."""
        return {
            "rollouts": self.rollouts,
            "first": [shares.figures() for shares in self.first],
            "later": [shares.figures() for shares in self.later],
            "outcomes": {name: [counts[name] for counts in self.outcomes] for name in OUTCOMES},
            "kinds": self._kind_rows(),
            "mistakes": self._mistake_rows(),
            "feedback": {
                "given": self.given,
                "told_answer": self.told_answer,
                "repeated": self.repeated,
                "revised": self.revised,
                "siblings_right": _round(self.siblings_right / self.compared) if self.compared else None,
                "causes": dict(self.causes.most_common()),
                "unscored": dict(self.unscored.most_common()),
                "failures": self.failures,
                "sources": {name: entry.figures() for name, entry in sorted(self.sources.items())},
                "wordings": self._wordings(),
            },
        }

    def _wordings(self) -> list[dict[str, Any]]:
        """The most frequent ones, where feedback reads alike at all."""
        often = sorted(self.wordings.items(), key=lambda item: (-item[1].given, item[0]))[:_WORDINGS_SHOWN]
        return [{"words": words, **entry.figures()} for words, entry in often if entry.given > 1]

    def _kind_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        if len(self.tasks) > 1:
            rows += [{"by": "task", "name": name, **kind.figures()} for name, kind in sorted(self.tasks.items())]
        rows += [{"by": "tokens of the question", "name": name, **kind.figures()} for name, kind in self._quarters()]
        if self.answers and len(self.answers) > 1:
            rows += [{"by": "right answer", "name": n, **kind.figures()} for n, kind in sorted(self.answers.items())]
        return rows

    def _mistake_rows(self) -> list[dict[str, Any]]:
        """What was most often wrong with first attempts; without its numbers, where there would be too many kinds."""
        kinds = self.mistakes
        often = sorted((sum(kind.made) for kind in kinds.values()), reverse=True)
        if sum(often[:_WORDINGS_SHOWN]) < _MOST_OF_THEM * sum(often):
            kinds = {}
            for words, kind in self.mistakes.items():
                together = kinds.setdefault(_NUMBER.sub("#", words), Kind())
                together += kind
        rows = sorted(kinds.items(), key=lambda item: (-sum(item[1].made), item[0]))[:_WORDINGS_SHOWN]
        return [{"name": words, **kind.figures()} for words, kind in rows]

    def _quarters(self) -> list[tuple[str, Kind]]:
        """Lengths put together so that each of up to four holds about as many attempts; none where all are alike."""
        if len(self.lengths) < 2:
            return []
        whole = sum(sum(kind.made) + sum(kind.revised) for kind in self.lengths.values())
        rows: list[tuple[str, Kind]] = []
        start, together, seen = None, Kind(), 0
        for length, kind in sorted(self.lengths.items()):
            start = length if start is None else start
            together += kind
            seen += sum(kind.made) + sum(kind.revised)
            if seen * 4 >= whole * (len(rows) + 1) or length == max(self.lengths):
                rows.append((f"{start}" if start == length else f"{start} to {length}", together))
                start, together = None, Kind()
        return rows


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
