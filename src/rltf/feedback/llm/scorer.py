"""An LLM judge as the scorer of a task that no program can verify."""

from __future__ import annotations

from collections.abc import Sequence

from rltf.config.feedback import JudgeConfig
from rltf.feedback.llm.asker import Asker
from rltf.feedback.llm.endpoints import Endpoints
from rltf.feedback.llm.prompts import JudgePrompt
from rltf.feedback.llm.store import Call
from rltf.feedback.llm.verdict import Unusable, check, json_schema, parse
from rltf.tasks.base import Rubric, ScoredByJudge, Task, rubric_of
from rltf.tasks.mixture import parts_of
from rltf.types import FeedbackFailure, Problem, Score


class LLMScorer:
    """Asks a language model for scores by a problem's rubric, and for the criticism that goes with them, in one call.

    A verdict that does not parse is asked for once more and then is a failure: never a zero.
    """

    def __init__(self, config: JudgeConfig, task: Task, endpoints: Endpoints) -> None:
        """Raises `UserError` where the prompt file or the key is missing."""
        self._config, self._task = config, task
        judged = {label: part for label, part in parts_of(task).items() if isinstance(part, ScoredByJudge)}
        self._prompts = {label: JudgePrompt(config, part.family, scores=True) for label, part in judged.items()}
        self._asker = Asker(config, endpoints, json_schema(Rubric(passing=1)))

    def scores(self, attempts: Sequence[tuple[Problem, str]], seed: int) -> list[Score | FeedbackFailure]:
        """A score or a failure for each attempt; raises `FeedbackStopped` where the run is to stop."""
        rubrics = [self._rubric(problem) for problem, _ in attempts]
        conversations = [
            self._prompts[problem.task].for_scores(problem, text, rubric)
            for (problem, text), rubric in zip(attempts, rubrics, strict=True)
        ]
        return self._asker.ask(conversations, lambda i, call: self._read(attempts[i][0], rubrics[i], call), seed)

    def _rubric(self, problem: Problem) -> Rubric:
        rubric = rubric_of(self._task, problem)
        assert rubric is not None
        return rubric

    def _read(self, problem: Problem, rubric: Rubric, call: Call) -> Score | Unusable:
        read = parse(call.text or "", self._config.format, rubric, cut=call.cut)
        if isinstance(read, Unusable):
            return read
        criticism = check(read.feedback, problem, self._task, self._config.max_words, self._config.leak)
        if isinstance(criticism, Unusable):
            return criticism
        assert read.mean is not None
        return Score(
            reward=rubric.reward(read.mean),
            correct=read.mean >= rubric.passing,
            well_formed=True,
            answer=None,
            explanation=f"{self._asker.source} gives {read.mean:g} of {rubric.highest}.",
            criticism=criticism,
        )
