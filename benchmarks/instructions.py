"""Which constraints a model meets at the first attempt, after located feedback, and after a mere "incorrect".

    OMP_NUM_THREADS=1 python benchmarks/instructions.py --out results/instructions/base

Problems of the validation split with one constraint each, so many of every kind; by form of the second prompt and by
temperature. Writes base.json and base.md there. A wrong first attempt gets one second attempt for each way of asking.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rltf.config.load import configure
from rltf.engines.base import Engine
from rltf.runs.build import build_engine
from rltf.support.seeds import derive_seed
from rltf.tasks.base import INCORRECT_FEEDBACK, TRUNCATED_FEEDBACK
from rltf.tasks.instructions import Instructions
from rltf.tasks.instructions.problems import drawable
from rltf.text.prompts import ConversationForm, Prompts
from rltf.types import Completion, Finish, Message, Problem, SamplingParams

ALONE = "{question}\n\n{feedback}"
"""The second prompt without the attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of asking for a second attempt."""

    name: str
    form: ConversationForm
    message: str | None
    """The text of a single message; None: the default."""
    located: bool

    def messages(self, problem: Problem, first: tuple[Message, ...], attempt: str, fault: str) -> tuple[Message, ...]:
        """The second prompt."""
        changes = {} if self.message is None else {"prompts.single_message": self.message}
        prompts = Prompts(configure(changes={"rollout.conversation": "single_message", **changes}).prompts)
        feedback = fault if self.located else INCORRECT_FEEDBACK
        return prompts.next_turn(problem, first, attempt, feedback, self.form)


WAYS = (
    Way(name="located, alone", form="single_message", message=ALONE, located=True),
    Way(name="located, with the attempt", form="single_message", message=None, located=True),
    Way(name="located, continued", form="continued", message=None, located=True),
    Way(name="denied, alone", form="single_message", message=ALONE, located=False),
    Way(name="denied, continued", form="continued", message=None, located=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--difficulty", default="medium")
    parser.add_argument("--problems", type=int, default=6, help="of each kind")
    parser.add_argument("--samples", type=int, default=2, help="first attempts at each problem")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.8, 0.5, 1.0])
    parser.add_argument("--max-new-tokens", type=int, default=48)
    parser.add_argument("--out", type=Path, required=True, help="a directory")
    arguments = parser.parse_args()
    start = time.perf_counter()
    problems = problems_by_kind(arguments.difficulty, arguments.problems)
    config = configure(changes={"engine.model": arguments.model, "engine.dtype": "bfloat16", "engine.decode_batch": 64})
    engine = build_engine(config)
    found: dict[str, dict[str, dict[str, list[list[bool]]]]] = {}
    for i, temperature in enumerate(arguments.temperatures):
        # All ways at the first temperature, the others with the shortest prompt alone.
        ways = WAYS if i == 0 else WAYS[:1]
        sampling = SamplingParams(max_tokens=arguments.max_new_tokens, temperature=temperature)
        found[str(temperature)] = measured(engine, problems, ways, arguments.samples, sampling)
        print(f"temperature {temperature}: {time.perf_counter() - start:.0f} s", flush=True)
        # After each temperature, as it takes a while.
        arguments.out.mkdir(parents=True, exist_ok=True)
        record = {"settings": {k: str(v) for k, v in vars(arguments).items()}, "right": found}
        (arguments.out / "base.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
        (arguments.out / "base.md").write_text(tables(found), encoding="utf-8")
    print(tables(found))


def problems_by_kind(difficulty: str, number: int) -> dict[str, list[tuple[Instructions, Problem]]]:
    """For each kind that can be asked for by itself, problems of the validation split."""
    level = {"easy": 1, "medium": 2, "hard": 3}[difficulty]
    found: dict[str, list[tuple[Instructions, Problem]]] = {}
    for name in drawable(level):
        problems: list[tuple[Instructions, Problem]] = []
        task = one_of(name, difficulty)
        for index in range(number * 20):
            problem = task.problem("validation", index)
            if name in {kind.name for kind in problem.metadata["said"]} and len(problems) < number:
                problems.append((task, problem))
        found[name] = problems
    return {name: problems for name, problems in found.items() if problems}


def one_of(name: str, difficulty: str) -> Instructions:
    """A task of one constraint of the kind; beside an anchored one where it cannot be asked for alone."""
    from rltf.runs.build import build_task
    from rltf.tasks.instructions.kinds import KINDS

    kind = KINDS[name]
    beside: list[str] = []
    if kind.lays_out is None and "prose" not in kind.forms:
        beside.append("one_word_of" if "name" in kind.forms else "bullet_list")
    if not any(KINDS[other].anchored for other in (name, *beside)):
        beside.append("use_words")
    kinds, number = [name, *beside], 1 + len(beside)
    changes: dict[str, Any] = {
        "name": "instructions",
        "difficulty": difficulty,
        "kinds": kinds,
        "validation_size": 200,
        "test_size": 1,
    }
    changes |= {"min_constraints": number, "max_constraints": number}
    built = build_task(configure(changes={f"task.{key}": value for key, value in changes.items()}).task)
    assert isinstance(built, Instructions)
    return built


def measured(
    engine: Engine,
    problems: dict[str, list[tuple[Instructions, Problem]]],
    ways: tuple[Way, ...],
    samples: int,
    sampling: SamplingParams,
) -> dict[str, dict[str, list[list[bool]]]]:
    """For each kind, at the first attempt and for each way: by problem, which attempts met the constraint asked about.

    Where the kind stands beside another one, it alone counts.
    """
    prompts = Prompts(configure().prompts)
    flat = [(name, task, problem) for name, pairs in problems.items() for task, problem in pairs]
    first_messages = [prompts.first_turn(problem) for _, _, problem in flat]
    asked = [engine.renderer.prompt(messages) for messages in first_messages]
    seeds = [derive_seed(0, "base", i) for i in range(len(flat))]
    attempts = engine.generate(asked, samples, sampling, seeds)
    right: dict[str, dict[str, list[list[bool]]]] = {name: {"first": []} for name in problems}
    again: list[tuple[int, str, str]] = []
    for i, (name, task, problem) in enumerate(flat):
        met = [meets(name, problem, engine, completion) for completion in attempts[i]]
        right[name]["first"].append(met)
        for completion, well in zip(attempts[i], met, strict=True):
            if not well:
                text = engine.renderer.text(completion.tokens)
                cut = f"{TRUNCATED_FEEDBACK} " if completion.finish is Finish.LENGTH else ""
                fault = cut + task.feedback(problem, text, task.score(problem, text), "located")
                again.append((i, text, fault))
    for way in ways:
        second = [way.messages(flat[i][2], first_messages[i], text, fault) for i, text, fault in again]
        seeds = [derive_seed(0, "base", way.name, k) for k in range(len(again))]
        answers = engine.generate([engine.renderer.prompt(messages) for messages in second], 1, sampling, seeds)
        by_problem: dict[int, list[bool]] = {}
        for (i, _, _), (completion,) in zip(again, answers, strict=True):
            name, _, problem = flat[i]
            by_problem.setdefault(i, []).append(meets(name, problem, engine, completion))
        for i, met in by_problem.items():
            right[flat[i][0]].setdefault(way.name, []).append(met)
    return right


def meets(name: str, problem: Problem, engine: Engine, completion: Completion) -> bool:
    """Whether an attempt meets the constraint asked about; one that the token limit cut does not, as in training."""
    text = engine.renderer.text(completion.tokens)
    fault = next(kind.fault(text) for kind in problem.metadata["said"] if kind.name == name)
    return not fault and completion.finish is Finish.STOP


def tables(found: dict[str, dict[str, dict[str, list[list[bool]]]]]) -> str:
    """All kinds together by way and temperature, then each kind at the first temperature."""
    rows = ["| temperature | way | % right | attempts |", "|---|---|---|---|"]
    for temperature, kinds in found.items():
        for way in ("first", *(way.name for way in WAYS)):
            groups = [group for ways in kinds.values() for group in ways.get(way, [])]
            if groups:
                rows.append(f"| {temperature} | {way} | {share(groups)} | {sum(map(len, groups))} |")
    temperature, kinds = next(iter(found.items()))
    names = ["first", *(way.name for way in WAYS)]
    rows += ["", f"By kind at temperature {temperature}, in %:", "", f"| kind | {' | '.join(names)} | wrong at first |"]
    rows.append("|---" * (len(names) + 2) + "|")
    for kind, ways in sorted(kinds.items(), key=lambda item: -np.mean(np.concatenate(item[1]["first"]))):
        cells = [f"{100 * np.mean(np.concatenate(ways[way])):.0f}" if ways.get(way) else "-" for way in names]
        wrong = sum(not met for group in ways["first"] for met in group)
        rows.append(f"| {kind} | {' | '.join(cells)} | {wrong} |")
    return "\n".join(rows) + "\n"


def share(groups: list[list[bool]]) -> str:
    """Mean and half its 95 % interval, with problems as clusters."""
    made = np.array([len(group) for group in groups], dtype=np.float64)
    right = np.array([sum(group) for group in groups], dtype=np.float64)
    mean = right.sum() / made.sum()
    residuals = right - mean * made
    half = 1.96 * np.sqrt(len(groups) / (len(groups) - 1) * (residuals**2).sum()) / made.sum()
    return f"{100 * float(mean):.1f} ± {100 * float(half):.1f}"


if __name__ == "__main__":
    main()
