"""Which episodes a training step learns from: on the task's problems, or on the entries of a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from rltf.config import RunConfig
from rltf.feedback.logged import LogEntry
from rltf.feedback.logged.loading import LoadedLog, load_log
from rltf.rollouts.collector import RolloutCollector
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks.base import Task
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import (
    Answer,
    Completion,
    Feedback,
    FeedbackFailure,
    Finish,
    Message,
    Problem,
    Query,
    Rollout,
    RolloutGroup,
    Score,
    Turn,
    UnscoredAttempt,
)

Answering: TypeAlias = Callable[[Sequence[Query]], Sequence[Answer]]
"""`Learner.answer`: how likely the policy finds a completion."""


class Episodes(Protocol):
    """A source of rollout groups."""

    def groups(self, step: int) -> list[RolloutGroup]:
        """The groups of step 1, 2, ...; the same for the same step and policy."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """Positions 0, 1, ... in a set of `size` things, in an order drawn anew for each pass over it."""

    size: int
    seed: int
    _passes: dict[int, list[int]] = field(default_factory=dict, init=False)

    def of_step(self, step: int, count: int) -> list[int]:
        """The `count` things of a step."""
        return [self._at(position) for position in range((step - 1) * count, step * count)]

    def _at(self, position: int) -> int:
        number, index = divmod(position, self.size)
        if number not in self._passes:
            self._passes.clear()
            generator = np.random.default_rng(derive_seed(self.seed, "order", number))
            self._passes[number] = generator.permutation(self.size).tolist()
        return self._passes[number][index]


@dataclass(frozen=True, slots=True)
class TaskEpisodes:
    """The policy's own attempts at the task's training problems."""

    config: RunConfig
    collector: RolloutCollector
    order: Order

    def groups(self, step: int) -> list[RolloutGroup]:
        """`groups_per_batch` groups of `group_size` rollouts."""
        trainer = self.config.trainer
        task = self.collector.task
        problems = [task.problem("train", i) for i in self.order.of_step(step, trainer.groups_per_batch)]
        seed = derive_seed(self.config.seed, "rollouts", step)
        return self.collector.collect(problems, trainer.group_size, self.config.rollout.temperature, seed)


@dataclass(frozen=True, slots=True)
class LogEpisodes:
    """Logged responses with their feedback as first attempts; what follows is the policy's.

    All siblings of a group have the same first attempt. It is not the policy's, so it has no policy gradient, and its
    revisions are drawn from what the policy makes of a context that it would not have written itself: an off-policy
    start, on-policy from there on.
    """

    config: RunConfig
    collector: RolloutCollector
    order: Order
    log: LoadedLog
    answer: Answering

    def groups(self, step: int) -> list[RolloutGroup]:
        """`groups_per_batch` groups of `group_size` rollouts."""
        trainer = self.config.trainer
        chosen = self.order.of_step(step, trainer.groups_per_batch)
        seed = derive_seed(self.config.seed, "rollouts", step)
        entries, problems = self.log.entries, self.log.problems
        read = self.collector.prompts.read
        logged = [(problems[i], read(entries[i].response)[1]) for i in chosen]
        scores = self.collector.scorer.scores(logged, derive_seed(seed, "score", 0))
        groups = [
            self._group(entries[i], problems[i], score, trainer.group_size)
            for i, score in zip(chosen, scores, strict=True)
        ]
        if self.config.log.learns_logged_revisions:
            self._add_logged_revisions(groups, [entries[i] for i in chosen])
        else:
            self.collector.revise(groups, self.config.rollout.temperature, seed)
        return groups

    def _group(self, entry: LogEntry, problem: Problem, score: Score | FeedbackFailure, size: int) -> RolloutGroup:
        if isinstance(score, FeedbackFailure):
            tokens = len(self.collector.renderer.completion(entry.response, thinking=True))
            unscored = UnscoredAttempt(sibling=0, turn=0, text=entry.response, tokens=tokens, failure=score)
            return RolloutGroup(problem=problem, rollouts=[], unscored=[unscored])
        feedback = Feedback(text=entry.feedback, source="log")
        messages = self.collector.prompts.opened(entry.messages)
        turns = [self._logged(messages, entry.response, score, feedback) for _ in range(size)]
        return RolloutGroup(problem=problem, rollouts=[Rollout(problem=problem, turns=[turn]) for turn in turns])

    def _add_logged_revisions(self, groups: Sequence[RolloutGroup], entries: Sequence[LogEntry]) -> None:
        """The reward is 1, or the geometric mean of the revision's token probabilities after the feedback."""
        form = self.config.rollout.conversation
        for group, entry in zip(groups, entries, strict=True):
            assert entry.revision is not None
            first = group.rollouts[0].turns[0]
            messages = self.collector.prompts.next_turn(group.problem, first.messages, first.text, entry.feedback, form)
            score = _unverified(1.0, "Learned as it stands in the log.")
            group.rollouts[0].turns.append(self._logged(messages, entry.revision, score, None))
        if self.config.log.score == "all":
            return
        revisions = [group.rollouts[0].turns[1] for group in groups]
        queries = [
            Query(prompt_tokens=turn.prompt_tokens, completion_tokens=turn.completion.tokens) for turn in revisions
        ]
        for turn, answer in zip(revisions, self.answer(queries), strict=True):
            likelihood = float(np.exp(answer.logprobs_T.mean()))
            turn.score = _unverified(likelihood, "As likely as the policy finds it, per token.")

    def _logged(self, messages: tuple[Message, ...], text: str, score: Score, feedback: Feedback | None) -> Turn:
        renderer = self.collector.renderer
        thinking, text_read = self.collector.prompts.read(text)
        tokens = renderer.completion(text, thinking=True)
        return Turn(
            messages=messages,
            prompt_tokens=renderer.prompt(messages),
            completion=Completion(tokens=tokens, logprobs=np.zeros(len(tokens), np.float32), finish=Finish.STOP),
            text=text_read,
            thinking=thinking,
            score=score,
            feedback=feedback,
            sampled=False,
        )


def _unverified(reward: float, explanation: str) -> Score:
    return Score(reward=reward, correct=False, well_formed=True, answer=None, explanation=explanation)


def load_fitting_log(config: RunConfig, task: Task, renderer: Renderer, max_tokens: int) -> LoadedLog:
    """The run's log with the entries that the chat template takes and the model's context of `max_tokens` holds.

    Raises `UserError` where the others are more than the settings allow.
    """
    log = config.log
    # The policy writes an attempt of its own in answer to an entry, unless the log's revisions are all that is learned.
    sampled = log.score != "none" and (not log.learns_logged_revisions or log.evaluate_on == "log")
    check = fits(renderer, Prompts(config.prompts), max_tokens, config.rollout.max_new_tokens if sampled else 0)
    return load_log(log, task, config.seed, check)


def fits(renderer: Renderer, prompts: Prompts, max_tokens: int, attempt: int = 0) -> Callable[[LogEntry], None]:
    """Raises `UserError` on an entry that the chat template refuses, or that needs more than `max_tokens`.

    `attempt`: tokens that the policy may write in answer to the entry's question.
    """

    def check(entry: LogEntry) -> None:
        messages = prompts.opened(entry.messages)
        try:
            question = renderer.prompt(messages)
            request = renderer.prompt(prompts.feedback_request(messages, prompts.read(entry.response)[1]))
        except Exception as error:  # whatever the template raises
            raise UserError(f"the model's chat template refuses it: {error}") from error
        revision = renderer.completion(entry.revision or "", thinking=True)
        longest = max(len(renderer.completion(entry.feedback)), len(revision))
        needed = max(len(request) + longest, len(question) + attempt)
        if needed > max_tokens:
            raise UserError(f"it needs {needed:,} tokens with its feedback, more than the model's {max_tokens:,}")

    return check
