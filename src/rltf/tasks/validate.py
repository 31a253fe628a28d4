"""Proves a task without a model: gold scores 1, nothing else does, nothing raises, feedback tells no answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import get_args

from rltf.support.errors import Stopped, TaskHung
from rltf.support.seeds import derive_seed
from rltf.tasks.base import FeedbackLevel, KnowsItsGolds, Task, rubric_of, score_all
from rltf.tasks.gym.forms import same_part
from rltf.types import Problem, Split

GARBAGE = (
    "",
    " ",
    "\x00\x1b[31m\ud800",
    "<answer></answer>",
    "<answer>",
    "</answer><answer>",
    "<answer>__import__('os').system('exit 1')</answer>",
    "<answer>[[0]]</answer>",
    "<answer>nan inf -1 1e9</answer>",
    "<answer>" + "9" * 5000 + "</answer>",
    "<answer>" * 2000,
    "<answer>\n" + "0 " * 5000 + "\n</answer>",
    "\u0660 \u0661 \u2460 {answer} {0} %s <|end|>",
    "I do not know.",
)
CONSTANTS = (
    "",
    "0",
    "1",
    "-1",
    "2",
    "10",
    "0.5",
    "1/2",
    "1/0",
    "nan",
    "inf",
    "[]",
    "[[]]",
    "{}",
    "()",
    "True",
    "False",
    "yes",
    "no",
    "None",
    "A",
    "a",
)
"""Answers that a policy may give to every problem alike."""

_SHORT = 3
_GOLDS = 3
"""How many of the gold answers are tried on the other problems."""
_BY_CHANCE = 0.25
"""The share of the problems with other gold answers on which one answer may be right too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One property of a task and how often it held."""

    name: str
    checked: int
    failures: tuple[str, ...]
    may_be_empty: bool = False
    """Whether a task may have nothing to check."""

    @property
    def passed(self) -> bool:
        """Whether it held every time; at least once, where there must be something to check."""
        return not self.failures and (self.checked > 0 or self.may_be_empty)


def validate(task: Task, problems_per_split: int, seed: int = 0) -> list[Check]:
    """Runs every check on the first problems of each split."""
    problems = [
        task.problem(split, index)
        for split in get_args(Split)
        for index in range(min(problems_per_split, task.size(split)))
    ]
    rng = Random(derive_seed(seed, "validate"))
    disjoint = _splits_disjoint(problems)
    # What a judge scores has no gold answer to prove anything with.
    problems = [problem for problem in problems if rubric_of(task, problem) is None]
    if not problems:
        return [disjoint]
    return [
        _check("the gold answer scores 1", (_gold(task, problem) for problem in problems)),
        *_possible_golds(task, problems),
        replace(
            _check(
                "a perturbed answer scores below 1",
                (_below_one(task, problem, text) for problem in problems for text in task.perturbations(problem, rng)),
            ),
            may_be_empty=True,
        ),
        _check(
            "garbage scores 0 with an explanation and does not raise",
            (_garbage(task, problem, text) for problem in problems for text in GARBAGE),
        ),
        _no_constant(task, problems),
        _no_leak(task, problems, rng),
        disjoint,
    ]


def _check(name: str, outcomes: Iterator[str]) -> Check:
    """Collects outcomes; each is empty where the property held, else says where it did not."""
    collected = list(outcomes)
    return Check(name=name, checked=len(collected), failures=tuple(filter(None, collected)))


def _place(problem: Problem) -> str:
    return f"{problem.split} problem {problem.index}"


def _gold(task: Task, problem: Problem) -> str:
    score = task.score(problem, task.write_answer(problem.answer))
    return "" if score.reward == 1.0 and score.correct else f"{_place(problem)}: {score.explanation}"


def _possible_golds(task: Task, problems: list[Problem]) -> list[Check]:
    """That attempts can give the gold answers at all, of a task that reads them from somewhere."""
    if not isinstance(task, KnowsItsGolds):
        return []
    faults = [(problem, task.gold_fault(problem)) for problem in problems]
    told = (f"{_place(problem)}: the gold answer {fault}" if fault else "" for problem, fault in faults)
    return [_check("each gold answer is one that an attempt can give", told)]


def _below_one(task: Task, problem: Problem, text: str) -> str:
    score = task.score(problem, text)
    return "" if score.reward < 1.0 and not score.correct else f"{_place(problem)}: {text!r} scores {score.reward}"


def _garbage(task: Task, problem: Problem, text: str) -> str:
    try:
        score = task.score(problem, text)
    except (TaskHung, Stopped):
        raise
    except (Exception, SystemExit) as error:  # the property is that nothing at all is raised
        return f"{_place(problem)}: {text[:60]!r} raises {error!r}"
    if score.reward == 0.0 and not score.correct and score.explanation:
        return ""
    return f"{_place(problem)}: {text[:60]!r} scores {score.reward} ({score.explanation!r})"


def _no_constant(task: Task, problems: list[Problem]) -> Check:
    """Holds where no answer is right whatever is asked.

    Where few answers are possible, "yes" is right on half of the problems: on those whose gold answer it is, which do
    not count. On the others it may be right by chance, as where a problem has several right answers.
    """
    failures: list[str] = []
    constants = tuple(dict.fromkeys((*CONSTANTS, *(problem.answer for problem in problems[:_GOLDS]))))
    for constant in constants:
        others = [problem for problem in problems if not same_part(constant, problem.answer)]
        try:
            scores = score_all(task, [(problem, task.write_answer(constant)) for problem in others])
        except (TaskHung, Stopped):
            raise
        except (Exception, SystemExit) as error:  # as above
            failures.append(f"{constant!r} raises {error!r}")
            continue
        right = sum(score.reward == 1.0 for score in scores)
        if right > max(1, _BY_CHANCE * len(others)):
            failures.append(f"{constant[:60]!r} scores 1 on {right} of {len(others)} problems with other answers")
    return Check(name="no constant answer is right", checked=len(constants), failures=tuple(failures))


def _no_leak(task: Task, problems: list[Problem], rng: Random) -> Check:
    """Holds where no feedback names the gold answer.

    What is said of problems with other answers too gives none away, though it may hold a short one: "There is no
    answer" holds the answer "no".
    """
    failures: list[str] = []
    said_of: dict[str, set[str]] = {}
    suspects: dict[tuple[str, str], str] = {}
    checked = 0
    for problem in problems:
        for level in get_args(FeedbackLevel):
            for text in (*task.perturbations(problem, rng), *GARBAGE, task.write_answer(problem.answer)):
                checked += 1
                try:
                    feedback = task.feedback(problem, text, task.score(problem, text), level)
                except (TaskHung, Stopped):
                    raise
                except (Exception, SystemExit) as error:  # as above
                    failures.append(f"{_place(problem)}: feedback on {text[:60]!r} raises {error!r}")
                    continue
                if not feedback.strip():
                    failures.append(f"{_place(problem)}: feedback on {text[:60]!r} is empty")
                said_of.setdefault(feedback, set()).add(problem.answer)
                # A short answer, such as "a", stands in many a word: those are for the task itself to find.
                plain = len(problem.answer) > _SHORT and problem.answer in feedback
                if plain or task.reveals_answer(problem, feedback):
                    fault = f"{_place(problem)}: {level} feedback reveals the answer: {feedback!r}"
                    suspects.setdefault((feedback, problem.answer), fault)
    failures += [fault for (feedback, _), fault in suspects.items() if len(said_of[feedback]) == 1]
    return Check(name="no feedback reveals the answer", checked=checked, failures=tuple(failures))


def _splits_disjoint(problems: list[Problem]) -> Check:
    counts = Counter(problem.prompt for problem in problems)
    repeated = [prompt for prompt, count in counts.items() if count > 1]
    return Check(
        name="no problem stands twice, within or across splits",
        checked=len(problems),
        failures=tuple(f"repeated: {prompt[-80:]!r}" for prompt in sorted(repeated)),
    )
