"""An LLM judge as a source of feedback."""

from __future__ import annotations

from collections.abc import Sequence

from rltf.config.feedback import JudgeConfig
from rltf.feedback.llm.asker import Asker
from rltf.feedback.llm.endpoints import Endpoints
from rltf.feedback.llm.prompts import JudgePrompt
from rltf.feedback.llm.store import Call
from rltf.feedback.llm.verdict import Unusable, check, json_schema, parse
from rltf.tasks.base import TRUNCATED_FEEDBACK, Task, rubric_of
from rltf.tasks.mixture import parts_of
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest


class LLMSource:
    """Asks a language model what is wrong with each attempt, all attempts of a turn at the same time.

    Where the task has a verifier, the reward is the verifier's and never the judge's. Where a judge has scored the
    attempt, what it said then is the feedback, and nobody is asked again. An answer that cannot be used (not in the
    form asked for, too long, in another script, giving the gold answer away) is asked for once more with the reason,
    and then is a failure.
    """

    def __init__(self, config: JudgeConfig, task: Task, endpoints: Endpoints) -> None:
        """Raises `UserError` where the prompt file or the key is missing."""
        self._config, self._task = config, task
        # The parts of a mixture may be of several kinds.
        self._prompts = {label: JudgePrompt(config, part.family) for label, part in parts_of(task).items()}
        self._asker = Asker(config, endpoints, json_schema(None))

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """Feedback or a failure for each request; raises `FeedbackStopped` where the run is to stop."""
        asked = [r for r in requests if rubric_of(self._task, r.problem) is None]
        answers = iter(
            self._asker.ask(
                [self._prompts[request.problem.task].messages(request) for request in asked],
                lambda i, call: self._read(asked[i], call),
                seed,
            )
            if asked
            else []
        )
        return [
            next(answers) if rubric_of(self._task, request.problem) is None else self._said(request)
            for request in requests
        ]

    def _read(self, request: FeedbackRequest, call: Call) -> Feedback | Unusable:
        read = parse(call.text or "", self._config.format, cut=call.cut)
        if isinstance(read, Unusable):
            return read
        checked = check(read.feedback, request.problem, self._task, self._config.max_words, self._config.leak)
        return checked if isinstance(checked, Unusable) else Feedback(text=checked, source=self._asker.source)

    def _said(self, request: FeedbackRequest) -> Feedback | FeedbackFailure:
        """What the judge said when it scored; of an attempt that was cut, which nobody scored, that it was."""
        text = request.score.criticism or (TRUNCATED_FEEDBACK if request.truncated else None)
        if text is None:
            return FeedbackFailure(cause="empty", reason="no judge has scored the attempt", source=self._asker.source)
        return Feedback(text=text, source=self._asker.source)
