"""What a run will take, from its settings alone: rollouts, tokens, calls to judges, dollars. Nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from rltf.config import JudgeConfig, RunConfig

CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English; other scripts take more tokens."""
JUDGE_PROMPT_TOKENS = 250
"""About the length of our prompts for judges, without question and attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Calls to one judge, without those that are repeated because an answer could not be used."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Upper bounds: every attempt fails, so that every turn is made, and is as long as it may be."""

    rollouts: int
    """Episodes that are trained on."""
    attempts: int
    """Attempts in them."""
    evaluation_attempts: int
    sampled_tokens: int
    """In training and evaluation, with feedback that the policy writes."""
    feedback: int
    """Feedback texts asked for in training, of whatever source."""
    judge: Calls | None
    """None where no judge is asked."""
    second_judge: Calls | None


def estimate(config: RunConfig, *, problems: int | None, question_tokens: int) -> Estimate:
    """The most that a run comes to.

    Args:
        config: the settings.
        problems: how many test (and validation) problems the task has; None where that is not known, which counts 200.
        question_tokens: about how long a question is.
    """
    trainer, rollout, evaluation = config.trainer, config.rollout, config.evaluation
    rollouts = trainer.steps * trainer.groups_per_batch * trainer.group_size
    attempts = rollouts * config.horizon
    asked_turns = config.horizon - 1 + bool(rollout.feedback_on_last)
    feedback = rollouts * asked_turns

    evaluations = 2 + (trainer.steps // evaluation.every if evaluation.every else 0)
    known = 200 if problems is None else problems
    evaluated = evaluations * min(evaluation.problems or known, known) * evaluation.samples
    turns = max(2, config.horizon)
    passes = 2 if evaluation.usefulness else 1
    evaluation_attempts = evaluated * turns * passes
    evaluation_feedback = evaluated * (turns - 1 + bool(rollout.feedback_on_last))

    own = feedback if "self" in config.feedback.asked else round(feedback * config.feedback.self_share)
    sampled = (attempts + evaluation_attempts) * rollout.max_new_tokens + own * config.feedback.self_max_tokens
    calls = 0
    if config.judge_scores:
        # Feedback comes with the score.
        calls = attempts + evaluation_attempts
    elif "llm" in config.feedback.asked:
        calls = round(feedback * (1 - config.feedback.self_share)) + evaluation_feedback
    prompt = JUDGE_PROMPT_TOKENS + question_tokens + rollout.max_new_tokens
    return Estimate(
        rollouts=rollouts,
        attempts=attempts,
        evaluation_attempts=evaluation_attempts,
        sampled_tokens=sampled,
        feedback=feedback,
        judge=_calls(config.judge, calls, prompt) if calls else None,
        second_judge=_calls(evaluation.judge, evaluated, prompt) if evaluation.judge else None,
    )


def _calls(judge: JudgeConfig, calls: int, prompt_tokens: int) -> Calls:
    into, out = calls * prompt_tokens, calls * judge.max_tokens
    dollars = (into * judge.dollars_per_million_in + out * judge.dollars_per_million_out) / 1e6
    return Calls(calls=calls, prompt_tokens=into, completion_tokens=out, dollars=dollars)
