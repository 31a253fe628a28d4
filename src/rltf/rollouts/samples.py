"""Training samples token by token, for the record: what was pushed, how much, and how likely it was.

A run has far more tokens than anybody reads, so each step keeps those of a few groups, drawn from the run's seed.
Nothing here changes the training: the policy is asked once more before the step changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from rltf.rollouts.records import GroupSamples, SampleRecord
from rltf.support.seeds import derive_seed
from rltf.text.renderer import Renderer
from rltf.types import Answer, FloatArray, Query, RolloutGroup, Tokens, TrainingSample, Turn

_PIECES_KEPT = 100_000
"""Most pieces of text that are remembered."""
_LONGEST_PIECE = 8
"""Tokens after which bytes that make no character are said to be none."""


@dataclass(slots=True)
class SampleRecorder:
    """Chooses, asks and writes down."""

    seed: int
    tokens: int
    """About how many tokens of a step are recorded (`records.tokens`)."""
    renderer: Renderer
    answer: Callable[[Sequence[Query]], list[Answer]]
    """The engine's, under the policy that made the step's rollouts."""
    max_tokens: int
    """Longest sequence that the engine takes."""
    _pieces: dict[Tokens, str] = field(default_factory=dict, init=False)

    def records(
        self,
        step: int,
        groups: Sequence[RolloutGroup],
        samples: Sequence[Sequence[TrainingSample]],
        answers: Mapping[Query, Answer],
    ) -> list[GroupSamples]:
        """The records of a step, to be made before the policy changes.

        Args:
            step: its number.
            groups: its rollouts.
            samples: the training samples of each group.
            answers: what the engine has been asked already.
        """
        chosen = self._chosen(step, samples)
        if not chosen:
            return []
        known = {query: answer.logprobs_T for query, answer in answers.items()}
        for number, sample in chosen:
            known |= _told(groups[number].rollouts[sample.rollout].turns[sample.turn], sample)
        wanted = dict.fromkeys(q for number, sample in chosen for q in _queries(groups[number], sample).values() if q)
        asked = [query for query in wanted if query not in known and self._fits(query)]
        if asked:
            known |= {query: answer.logprobs_T for query, answer in zip(asked, self.answer(asked), strict=True)}
        found: dict[int, list[SampleRecord]] = {}
        for number, sample in chosen:
            found.setdefault(number, []).append(self._record(groups[number], sample, known))
        return [
            GroupSamples(
                step=step,
                group=number,
                task=groups[number].problem.task,
                problem=groups[number].problem.index,
                samples=records,
            )
            for number, records in sorted(found.items())
        ]

    def _chosen(self, step: int, samples: Sequence[Sequence[TrainingSample]]) -> list[tuple[int, TrainingSample]]:
        """Group and sample, rollout by rollout, until there are enough tokens."""
        order = list(range(len(samples)))
        Random(derive_seed(self.seed, "recorded samples", step)).shuffle(order)
        chosen: list[tuple[int, TrainingSample]] = []
        tokens = 0
        for number in order:
            for rollout in sorted({sample.rollout for sample in samples[number]}):
                if tokens >= self.tokens:
                    return chosen
                mine = [sample for sample in samples[number] if sample.rollout == rollout]
                chosen += [(number, sample) for sample in mine]
                tokens += sum(len(sample.completion_tokens) for sample in mine)
        return chosen

    def _fits(self, query: Query) -> bool:
        return len(query.prompt_tokens) + len(query.completion_tokens) <= self.max_tokens

    def _record(self, group: RolloutGroup, sample: TrainingSample, known: Mapping[Query, FloatArray]) -> SampleRecord:
        logprobs = {name: known.get(query) if query else None for name, query in _queries(group, sample).items()}
        if logprobs["feedback"] is None:
            logprobs["feedback"] = sample.teacher_logprobs
        return SampleRecord(
            component=sample.component,
            loss=sample.loss,
            rollout=sample.rollout,
            turn=sample.turn,
            value=None if sample.value is None else _rounded(sample.value),
            baseline=None if sample.baseline is None else _rounded(sample.baseline),
            tokens=self.pieces(sample.completion_tokens),
            weights=[_rounded(weight) or 0.0 for weight in sample.weights.tolist()],
            **{name: _nats(values) for name, values in logprobs.items()},
        )

    def pieces(self, tokens: Tokens) -> list[str]:
        """The text that each token adds; empty where a character is made of several, but for the last of them."""
        found: list[str] = []
        start = 0
        for end in range(1, len(tokens) + 1):
            text = self._said(tokens[start:end])
            if text.endswith("\ufffd") and end < len(tokens) and end - start <= _LONGEST_PIECE:
                found.append("")
                continue
            before = self._said(tokens[start : end - 1 - _trailing_empty(found)]) if start < end - 1 else ""
            # A tokenizer that joins two tokens in another way than it spells each says the last of them alone.
            found.append(text.removeprefix(before) if text.startswith(before) else self._said(tokens[end - 1 : end]))
            start = end - 1
        return found

    def _said(self, tokens: Tokens) -> str:
        if tokens not in self._pieces:
            if len(self._pieces) >= _PIECES_KEPT:
                self._pieces.clear()
            self._pieces[tokens] = self.renderer.with_controls(tokens)
        return self._pieces[tokens]


def _trailing_empty(pieces: Sequence[str]) -> int:
    """How many of the last pieces wait for the character that they are part of."""
    return next((i for i, piece in enumerate(reversed(pieces)) if piece), len(pieces))


def _queries(group: RolloutGroup, sample: TrainingSample) -> dict[str, Query | None]:
    """What is to be known of a sample's completion: its log-probabilities after the question alone, after the feedback,
    and, where the sample's prompt is neither, after that."""
    turns = group.rollouts[sample.rollout].turns
    turn = turns[sample.turn]

    def query(prompt: Tokens) -> Query:
        return Query(prompt_tokens=prompt, completion_tokens=sample.completion_tokens)

    if sample.completion_tokens != turn.completion.tokens:  # It is feedback that is learned.
        return {"plain": None, "feedback": None, "own": query(sample.prompt_tokens)}
    plain = turns[0].prompt_tokens
    if sample.turn:
        feedback: Tokens | None = turn.prompt_tokens
    else:
        feedback = turns[1].prompt_tokens if len(turns) > 1 else None
    own = None if sample.prompt_tokens in (plain, feedback) else query(sample.prompt_tokens)
    return {"plain": query(plain), "feedback": None if feedback is None else query(feedback), "own": own}


def _told(turn: Turn, sample: TrainingSample) -> dict[Query, FloatArray]:
    """What sampling itself has told of a completion."""
    told: dict[Query, FloatArray] = {}
    if turn.sampled:
        query = Query(prompt_tokens=turn.prompt_tokens, completion_tokens=turn.completion.tokens)
        told[query] = turn.completion.logprobs
    if sample.sampling_logprobs is not None:
        query = Query(prompt_tokens=sample.prompt_tokens, completion_tokens=sample.completion_tokens)
        told[query] = sample.sampling_logprobs
    return told


def _nats(logprobs_T: FloatArray | None) -> list[float | None] | None:
    """Log-probabilities to a thousandth, None for one that is no number."""
    if logprobs_T is None:
        return None
    return [round(value, 3) if np.isfinite(value) else None for value in logprobs_T.tolist()]


def _rounded(value: float) -> float | None:
    """Four digits, as people read them; None for what is no number."""
    return float(f"{value:.4g}") if np.isfinite(value) else None
