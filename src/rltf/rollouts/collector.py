"""Collects rollouts: attempt, score, feedback, next attempt, in batches over all groups, or each group by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rltf.config import RolloutConfig
from rltf.feedback.base import FeedbackSource
from rltf.feedback.scoring import Scorer
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.support.side_by_side import side_by_side
from rltf.tasks.base import TRUNCATED_FEEDBACK, Task
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import (
    Completion,
    Feedback,
    FeedbackFailure,
    FeedbackRequest,
    Finish,
    Generate,
    Message,
    Problem,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    SamplingParams,
    Score,
    Tokens,
    Turn,
    UnscoredAttempt,
)


@dataclass(frozen=True, slots=True)
class _Collected:
    """A group among those that are collected together. What is drawn for it depends on nothing else of them."""

    group: RolloutGroup
    place: int
    """Its index."""
    repeat: int
    """How many before it are about the same problem."""


@dataclass(frozen=True, slots=True)
class _Episode:
    """A rollout under way, with its place."""

    rollout: Rollout
    collected: _Collected
    sibling: int

    @property
    def newest(self) -> Turn:
        return self.rollout.turns[-1]

    def add(self, attempt: _Attempt, thinking: str, text: str, score: Score | FeedbackFailure) -> bool:
        """Adds a scored attempt as the next turn. One without a score ends the rollout and stands in no turn."""
        if isinstance(score, FeedbackFailure):
            self.rollout.status = RolloutStatus.SCORE_FAILED
            unscored = UnscoredAttempt(
                sibling=self.sibling,
                turn=len(self.rollout.turns),
                text=thinking + text,
                tokens=len(attempt.completion.tokens),
                failure=score,
            )
            self.collected.group.unscored.append(unscored)
            return False
        turn = Turn(
            messages=attempt.messages,
            prompt_tokens=attempt.prompt,
            completion=attempt.completion,
            text=text,
            score=score,
            thinking=thinking,
            judged_after=attempt.judged_after,
        )
        self.rollout.turns.append(turn)
        return True

    def request(self) -> FeedbackRequest:
        """What a source of feedback sees of the newest attempt."""
        newest = self.newest
        return FeedbackRequest(
            problem=self.rollout.problem,
            attempt=newest.text,
            score=newest.score,
            truncated=newest.completion.finish is Finish.LENGTH,
            history=tuple(self.rollout.turns[:-1]),
            messages=newest.feedback_messages,
            sibling=self.sibling,
            repeat=self.collected.repeat,
        )


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What the policy wrote in answer to a prompt, before anybody has scored it."""

    episode: _Episode
    messages: tuple[Message, ...]
    prompt: Tokens
    completion: Completion
    judged_after: tuple[Message, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCollector:
    """Runs episodes of one task with one source of feedback. It knows of the policy only how to generate."""

    task: Task
    scorer: Scorer
    source: FeedbackSource
    renderer: Renderer
    prompts: Prompts
    generate: Generate
    max_tokens: int
    """Longest sequence that the model takes."""
    config: RolloutConfig
    horizon: int
    each_by_itself: bool = False
    """Each group goes on as soon as it is ready, while others are still sampled or judged. `generate` and the source
    take that; the rollouts are the same."""

    def collect(
        self,
        problems: Sequence[Problem],
        group_size: int,
        temperature: float,
        seed: int,
        feedback_seed: int | None = None,
    ) -> list[RolloutGroup]:
        """One group of `group_size` rollouts per problem. Sources of feedback draw from `seed`, or one of their own."""
        feedback_seed = seed if feedback_seed is None else feedback_seed
        sampling = SamplingParams(max_tokens=self.config.max_new_tokens, temperature=temperature)
        first_prompts = [self.prompts.first_turn(problem) for problem in problems]
        tokens = [self.renderer.prompt(messages) for messages in first_prompts]
        check_first_prompts(problems, tokens, self.config.max_new_tokens, self.max_tokens)
        groups = [RolloutGroup(problem=problem, rollouts=[]) for problem in problems]

        def roll_out(some: Sequence[_Collected]) -> None:
            seeds = [derive_seed(seed, "turn", 0, one.place) for one in some]
            completions = self.generate([tokens[one.place] for one in some], group_size, sampling, seeds)
            attempts = [
                _Attempt(
                    _Episode(Rollout(problem=one.group.problem, turns=[]), one, sibling),
                    first_prompts[one.place],
                    tokens[one.place],
                    completion,
                )
                for one, siblings in zip(some, completions, strict=True)
                for sibling, completion in enumerate(siblings)
            ]
            going_on = self._score(attempts, derive_seed(feedback_seed, "score", 0))
            for episode in going_on:
                episode.collected.group.rollouts.append(episode.rollout)
            going_on = self._ask_for_feedback(going_on, 0, derive_seed(feedback_seed, "feedback", 0))
            self._go_on(going_on, temperature, seed, feedback_seed)

        self._all(groups, roll_out)
        return groups

    def revise(self, groups: Sequence[RolloutGroup], temperature: float, seed: int) -> None:
        """Goes on with groups whose rollouts have a first attempt with feedback on it."""

        def go_on(some: Sequence[_Collected]) -> None:
            episodes = [
                _Episode(rollout, one, sibling) for one in some for sibling, rollout in enumerate(one.group.rollouts)
            ]
            self._go_on(self._those_that_go_on(episodes, 0), temperature, seed, seed)

        self._all(groups, go_on)

    def _all(self, groups: Sequence[RolloutGroup], work: Callable[[Sequence[_Collected]], None]) -> None:
        """Does work on all groups together, or on each by itself."""
        met: Counter[tuple[str, str, int]] = Counter()
        collected = []
        for place, group in enumerate(groups):
            problem = (group.problem.task, group.problem.split, group.problem.index)
            collected.append(_Collected(group, place, met[problem]))
            met[problem] += 1
        if self.each_by_itself:
            side_by_side([partial(work, [one]) for one in collected])
        else:
            work(collected)

    def _go_on(self, going_on: Sequence[_Episode], temperature: float, seed: int, feedback_seed: int) -> None:
        """Every turn after the first."""
        sampling = SamplingParams(max_tokens=self.config.max_new_tokens, temperature=temperature)
        for turn in range(1, self.horizon):
            attempts = self._take_turn(going_on, sampling, derive_seed(seed, "turn", turn))
            scored = self._score(attempts, derive_seed(feedback_seed, "score", turn))
            going_on = self._ask_for_feedback(scored, turn, derive_seed(feedback_seed, "feedback", turn))

    def _take_turn(self, episodes: Sequence[_Episode], sampling: SamplingParams, seed: int) -> list[_Attempt]:
        """The next attempt of each episode whose prompt the model's context holds."""
        asked: list[tuple[_Episode, tuple[Message, ...], Tokens]] = []
        for episode in episodes:
            rollout = episode.rollout
            previous = rollout.turns[-1]
            assert isinstance(previous.feedback, Feedback)
            messages = self.prompts.next_turn(
                rollout.problem,
                previous.feedback_messages,
                previous.text,
                previous.feedback.text,
                self.config.conversation,
            )
            prompt = self.renderer.prompt(messages)
            if len(prompt) + sampling.max_tokens > self.max_tokens:
                rollout.status = RolloutStatus.PROMPT_TOO_LONG
            else:
                asked.append((episode, messages, prompt))
        if not asked:
            return []
        # By place and sibling: which of the others go on does not change what an episode draws.
        seeds = [derive_seed(seed, episode.collected.place, episode.sibling) for episode, *_ in asked]
        completions = self.generate([prompt for *_, prompt in asked], 1, sampling, seeds)
        forgets = self.config.conversation == "newest"
        return [
            _Attempt(episode, messages, prompt, completion, episode.rollout.turns[0].messages if forgets else None)
            for (episode, messages, prompt), (completion,) in zip(asked, completions, strict=True)
        ]

    def _score(self, attempts: Sequence[_Attempt], seed: int) -> list[_Episode]:
        """Adds each attempt with its score to its rollout; returns the episodes whose attempt has one.

        An attempt that the token limit cut is no answer, whatever stands in it. Otherwise nothing would keep a policy
        ending its answers: training that lowers the end-of-turn token would go unpunished, and every later prompt would
        be built on an attempt that never ended. `cut_attempts=criticised` has what there is scored for feedback alone.
        """
        texts = [self.prompts.read(self.renderer.text(attempt.completion.tokens)) for attempt in attempts]
        cut = [attempt.completion.finish is Finish.LENGTH for attempt in attempts]
        read = [i for i in range(len(attempts)) if self.config.cut_attempts == "criticised" or not cut[i]]
        verdicts = self.scorer.scores([(attempts[i].episode.rollout.problem, texts[i][1]) for i in read], seed)
        scores: dict[int, Score | FeedbackFailure] = dict(zip(read, verdicts, strict=True))
        return [
            attempt.episode
            for i, attempt in enumerate(attempts)
            if attempt.episode.add(attempt, *texts[i], self._of_cut(scores.get(i)) if cut[i] else scores[i])
        ]

    def _of_cut(self, verdict: Score | FeedbackFailure | None) -> Score:
        """The score of a cut attempt; `verdict` is that of what there is, if anybody was asked for one."""
        fragment = verdict if isinstance(verdict, Score) else None
        explanation = (
            f"The attempt was cut at {self.config.max_new_tokens} tokens (rollout.max_new_tokens) before it ended."
        )
        criticism = None
        if fragment is not None and not fragment.correct:
            explanation = f"{explanation} What there is of it: {fragment.explanation}"
            criticism = fragment.criticism and f"{TRUNCATED_FEEDBACK}\n{fragment.criticism}"
        return Score(
            reward=0.0,
            correct=False,
            well_formed=False,
            answer=None,
            explanation=explanation,
            criticism=criticism,
            of_fragment=fragment,
        )

    def _ask_for_feedback(self, episodes: Sequence[_Episode], turn: int, seed: int) -> list[_Episode]:
        """Stores feedback on the newest attempts; returns the episodes that go on, each with feedback."""
        last = turn == self.horizon - 1
        asked = [
            episode
            for episode in episodes
            if (self.config.feedback_on_correct or not episode.newest.score.correct)
            and (self.config.feedback_on_last or not last)
        ]
        answers = self.source.feedback([episode.request() for episode in asked], seed) if asked else []
        for episode, feedback in zip(asked, answers, strict=True):
            episode.newest.feedback = feedback
        return self._those_that_go_on(episodes, turn)

    def _those_that_go_on(self, episodes: Sequence[_Episode], turn: int) -> list[_Episode]:
        """Gives the others their final status."""
        last = turn == self.horizon - 1
        going_on: list[_Episode] = []
        for episode in episodes:
            rollout, newest = episode.rollout, episode.newest
            if newest.score.correct and (self.config.early_termination or last):
                rollout.status = RolloutStatus.SOLVED
            elif last:
                rollout.status = RolloutStatus.HORIZON
            elif isinstance(newest.feedback, Feedback):
                going_on.append(episode)
            else:
                rollout.status = RolloutStatus.FEEDBACK_FAILED
        return going_on


def check_first_prompts(
    problems: Sequence[Problem], prompts: Sequence[Tokens], max_new_tokens: int, max_tokens: int
) -> None:
    """Refuses problems whose prompts leave no room for an attempt."""
    for problem, prompt in zip(problems, prompts, strict=True):
        if len(prompt) + max_new_tokens > max_tokens:
            raise UserError(
                f"{problem.split} problem {problem.index} has {len(prompt)} prompt tokens, which with "
                f"rollout.max_new_tokens={max_new_tokens} exceeds the model's {max_tokens}; "
                "lower rollout.max_new_tokens or make the task's problems smaller"
            )
