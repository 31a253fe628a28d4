"""Asks a language model and reads its answers; what cannot be used is asked for once more, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rltf.config.feedback import JudgeConfig
from rltf.feedback.llm.client import Conversation
from rltf.feedback.llm.endpoints import Endpoints
from rltf.feedback.llm.prompts import second_chance
from rltf.feedback.llm.store import Call
from rltf.feedback.llm.verdict import Unusable
from rltf.types import FeedbackFailure

_T = TypeVar("_T")


class Asker:
    """One judge's endpoint, for answers of one form."""

    def __init__(self, config: JudgeConfig, endpoints: Endpoints, json_schema: dict[str, Any]) -> None:
        """Raises `UserError` where a library or the key is missing."""
        self._client = endpoints.client(config, json_schema)
        self.source = f"llm:{config.model}"

    def ask(
        self, conversations: Sequence[Conversation], read: Callable[[int, Call], _T | Unusable], seed: int
    ) -> list[_T | FeedbackFailure]:
        """What `read(index of the conversation, answer)` makes of each answer, or why there is nothing to read."""
        answers = self._read(conversations, range(len(conversations)), read, seed)
        unusable = {i: answer.reason for i, answer in enumerate(answers) if isinstance(answer, Unusable)}
        if unusable:
            again = [second_chance(conversations[i], reason) for i, reason in unusable.items()]
            mended = self._read(again, list(unusable), read, seed)
            for i, answer in zip(unusable, mended, strict=True):
                answers[i] = answer
        return [self._finished(answer) for answer in answers]

    def _read(
        self,
        conversations: Sequence[Conversation],
        indices: Sequence[int],
        read: Callable[[int, Call], _T | Unusable],
        seed: int,
    ) -> list[_T | FeedbackFailure | Unusable]:
        answers: list[_T | FeedbackFailure | Unusable] = []
        for conversation, i, call in zip(conversations, indices, self._client.ask(conversations, seed), strict=True):
            if call.text is None:
                answers.append(self._failure(call))
                continue
            answer = read(i, call)
            answers.append(answer)
            self._client.mark(conversation, seed, answer.cause if isinstance(answer, Unusable) else None)
        return answers

    def _failure(self, call: Call) -> FeedbackFailure:
        return FeedbackFailure(cause=call.cause or "other", reason=str(call.reason), source=self.source)

    def _finished(self, answer: _T | FeedbackFailure | Unusable) -> _T | FeedbackFailure:
        if isinstance(answer, Unusable):
            reason = f"the judge's answer could not be used, twice: {answer.reason}"
            return FeedbackFailure(cause=answer.cause, reason=reason, source=self.source)
        return answer
