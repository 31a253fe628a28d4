"""Builders of rollouts, scripted stand-ins for a policy and a judge, and tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import TypeAdapter
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rltf.config import ObjectiveConfig, PromptsConfig
from rltf.objectives import Context, Objective
from rltf.rollouts.records import Accuracies, EvaluationRecord, Summary
from rltf.support.templates import without_fields
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import (
    Answer,
    Completion,
    Feedback,
    FeedbackFailure,
    FeedbackRequest,
    Finish,
    FloatArray,
    Message,
    Problem,
    Query,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    SamplingParams,
    Score,
    Split,
    Tokens,
    Turn,
)
from rltf.workshops.schooling.matrix_speaker import MatrixSpeaker
from rltf.workshops.schooling.tokenizer import train_tokenizer

_OBJECTIVE: TypeAdapter[ObjectiveConfig] = TypeAdapter(ObjectiveConfig)
PROBLEM = Problem(task="toy", split="train", index=0, prompt="What?", answer="that")
PROMPTS = Prompts(PromptsConfig())
"""The default texts."""


def floats(values: ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float32)


@dataclass(slots=True, kw_only=True)
class KnownTurn(Turn):
    """A turn that knows what an engine would answer about its attempt."""

    student: FloatArray | None = None
    """log pi(y_h | x_0)."""
    reference: FloatArray | None = None
    """log pi_initial(y_h | x_h)."""


def answers_to(objective: Objective, group: RolloutGroup) -> dict[Query, Answer]:
    """What the turns of the group know, of what the objective asks about them."""
    answers: dict[Query, Answer] = {}
    for query in objective.queries(group):
        known = [
            turn.reference if query.policy == "initial" else turn.student
            for rollout in group.rollouts
            for turn in rollout.turns
            if isinstance(turn, KnownTurn) and turn.completion.tokens == query.completion_tokens
            if query.policy == "current" or turn.prompt_tokens == query.prompt_tokens
        ]
        values = next(logprobs for logprobs in known if logprobs is not None)
        answers[query] = Answer(logprobs_T=values)
    return answers


def make_turn(
    reward: float,
    *,
    prompt: Tokens = (1,),
    tokens: Tokens = (2, 3, 4),
    logprobs: ArrayLike | None = None,
    student: ArrayLike | None = None,
    reference: ArrayLike | None = None,
    well_formed: bool = True,
    feedback: str | Feedback | FeedbackFailure | None = None,
    text: str = "an attempt",
    messages: tuple[Message, ...] = (Message(role="user", content="What?"),),
) -> Turn:
    """A turn whose reward is 1 exactly where it is correct."""
    return KnownTurn(
        messages=messages,
        prompt_tokens=prompt,
        completion=Completion(
            tokens=tokens,
            logprobs=floats([-1.0] * len(tokens) if logprobs is None else logprobs),
            finish=Finish.STOP,
        ),
        text=text,
        score=Score(reward=reward, correct=reward == 1.0, well_formed=well_formed, answer=None, explanation=""),
        feedback=Feedback(text=feedback, source="test") if isinstance(feedback, str) else feedback,
        student=None if student is None else floats(student),
        reference=None if reference is None else floats(reference),
    )


def make_rollout(*turns: Turn, status: RolloutStatus = RolloutStatus.HORIZON) -> Rollout:
    return Rollout(problem=PROBLEM, turns=list(turns), status=status)


def make_group(*rollouts: Rollout) -> RolloutGroup:
    return RolloutGroup(problem=PROBLEM, rollouts=list(rollouts))


def make_context(renderer: Renderer) -> Context:
    return Context(renderer=renderer, prompts=PROMPTS, conversation="continued", max_tokens=512)


def objective_config(name: str, **settings: Any) -> ObjectiveConfig:
    """The settings of a method, checked as a recipe's `[objective]` section is."""
    config: ObjectiveConfig = _OBJECTIVE.validate_python({"name": name, **settings})
    return config


@dataclass(kw_only=True)
class ScriptedPolicy:
    """A `Generate`: call k answers prompt p with the texts `script[k][p]`. A text that ends in … is cut off."""

    renderer: Renderer
    script: Sequence[Sequence[Sequence[str]]]
    calls: list[tuple[list[Tokens], int, SamplingParams, list[int]]] = field(default_factory=list)

    def __call__(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        if not prompts:
            return []
        answers = self.script[len(self.calls)]
        self.calls.append((list(prompts), n, sampling, list(seeds)))
        assert len(seeds) == len(prompts)
        assert [len(texts) for texts in answers] == [n] * len(prompts), "the script does not fit the call"
        return [[self._completion(text) for text in texts] for texts in answers]

    def _completion(self, text: str) -> Completion:
        tokens = self.renderer.completion(text)
        if text.endswith("…"):
            tokens = tokens[:-1]
        finish = Finish.LENGTH if text.endswith("…") else Finish.STOP
        return Completion(tokens=tokens, logprobs=floats([-1.0] * len(tokens)), finish=finish)


@dataclass(kw_only=True)
class ScriptedJudge:
    """A `FeedbackSource` that gives the next feedback of its script; None is a failure."""

    script: Sequence[str | None]
    requests: list[FeedbackRequest] = field(default_factory=list)
    calls: int = 0

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        if requests:
            self.calls += 1
        start = len(self.requests)
        self.requests += requests
        return [
            FeedbackFailure(cause="other", reason="no reply", source="script")
            if text is None
            else Feedback(text=text, source="script")
            for text in self.script[start : start + len(requests)]
        ]


def builtin_tokenizer() -> Any:
    """The built-in model's kind of tokenizer, without the built-in model."""
    texts = list(MatrixSpeaker().vocabulary())
    for template in (PROMPTS.texts.revision, PROMPTS.texts.single_message, PROMPTS.texts.feedback_request):
        texts += without_fields(template)
    return train_tokenizer(texts)


CHATML = (
    "{%- for message in messages %}"
    "{%- set content = message['content'] %}"
    "{%- if message['role'] == 'assistant' and '</think>' in content %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}"
    "{%- endif %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
)


def chatml_tokenizer() -> Any:
    """Like Qwen's: ChatML, special turn marks, thinking tags that are added but not special, a template that
    removes an assistant's thoughts and writes empty ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("i", "m"), ("im", "_"), ("t", "h"), ("th", "i"), ("thi", "n"), ("thin", "k"), ("<", "|"), ("|", ">")]
    vocabulary = {piece: i for i, piece in enumerate([*alphabet, *(a + b for a, b in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    fast.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")])
    fast.chat_template = CHATML
    return fast


FIGURES: dict[str, Any] = {
    "first_turn": 0.0,
    "first_turn_interval": None,
    "second_turn": None,
    "second_turn_interval": None,
    "reward": 0.0,
    "reward_interval": None,
    "second_reward": None,
    "other_reward": None,
    "reward_by_length": None,
    "tokens": 10.0,
    "solved": 0.0,
    "pass_at_k": 0.0,
}


def make_accuracies(first: float, second: float | None = None) -> Accuracies:
    return Accuracies(**{**FIGURES, "first_turn": first, "second_turn": second})


def make_evaluation(step: int, split: Split, first: float, second: float | None = None) -> EvaluationRecord:
    return EvaluationRecord(
        **{**FIGURES, "first_turn": first, "second_turn": second},
        step=step,
        split=split,
        problems=200,
        samples=4,
        temperature=1.0,
        by_turn=(first, second),
        by_turn_interval=(None, None),
        reached=(1.0, 1.0),
        malformed=0.0,
        truncated=0.0,
        feedback_failed=0.0,
    )


def make_summary(before: Accuracies, after: Accuracies) -> Summary:
    return Summary(
        task="toy",
        method="grpo",
        seed=0,
        steps=2,
        rollouts=256,
        tokens=1000,
        feedback_calls=10,
        seconds=2.0,
        test_problems=200,
        before=before,
        after=after,
    )
