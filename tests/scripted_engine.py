"""An engine without a model: how many of its answers are right is a script of the optimiser steps it has taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from helpers import floats
from transformers import AutoTokenizer

from rltf.builtin import builtin_directory
from rltf.config import RunConfig
from rltf.engines.base import Joined, Weights
from rltf.runs.build import build_task
from rltf.tasks import Task
from rltf.text.renderer import Renderer
from rltf.types import Answer, Completion, Finish, Query, SamplingParams, Split, Tokens, TrainingSample

VERSION = "version.txt"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(kw_only=True)
class ScriptedLearner:
    """Counts its steps, and keeps what it was trained on."""

    renderer: Renderer
    max_tokens: int = 2048
    version: int = 0
    trained: list[TrainingSample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        return [Answer(logprobs_T=floats([-1.0] * len(query.completion_tokens))) for query in queries]

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        self.trained += samples
        return {}

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        self.version += 1
        return {"optim/learning_rate": learning_rate}

    def weights(self) -> Weights:
        return Weights(version=self.version, model=None)

    def save(self, path: Path) -> None:
        path.mkdir(parents=True)
        (path / VERSION).write_text(str(self.version))

    def load(self, path: Path) -> None:
        self.version = int((path / VERSION).read_text())

    def export(self, path: Path) -> None:
        self.save(path)

    def close(self) -> None: ...


@dataclass(kw_only=True)
class ScriptedSampler:
    """Of the prompts of a call, the first `right[version]` get the task's answer and the others no answer at all."""

    renderer: Renderer
    answers: Mapping[str, str]
    right: Sequence[int]
    version: int = 0
    exact: bool = True

    def take(self, weights: Weights) -> None:
        self.version = weights.version

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        right = self.right[self.version]
        return [[self._completion(prompt, place < right)] * n for place, prompt in enumerate(prompts)]

    def _completion(self, prompt: Tokens, right: bool) -> Completion:
        question = self.renderer.text(prompt)
        text = next(answer for asked, answer in self.answers.items() if asked in question) if right else "no answer"
        tokens = self.renderer.completion(text)
        return replace(
            Completion(tokens=tokens, logprobs=floats([-1.0] * len(tokens)), finish=Finish.STOP), version=self.version
        )

    def close(self) -> None: ...


def scripted_engine(task: Task, renderer: Renderer, right: Sequence[int]) -> Joined:
    """Answers first attempts at a task: after step k, the first `right[k]` prompts of each call are answered right."""
    problems = [task.problem(split, index) for split in SPLITS for index in range(task.size(split))]
    answers = {problem.prompt: task.write_answer(problem.answer) for problem in problems}
    return Joined(ScriptedLearner(renderer=renderer), ScriptedSampler(renderer=renderer, answers=answers, right=right))


RIGHT = (0, 3, 1, 2)
"""What the engine of `engine.path` answers right after each step."""


def scripted(config: RunConfig) -> Joined:
    """`engine.path=tests/scripted_engine.py:scripted`; where `engine.model` is an export of it, as it was then."""
    tokenizer = AutoTokenizer.from_pretrained(builtin_directory())
    engine = scripted_engine(build_task(config.task), Renderer(tokenizer, [tokenizer.eos_token_id]), RIGHT)
    exported = Path(config.engine.model) / VERSION
    if exported.is_file():
        engine.learner.load(exported.parent)
    return engine
