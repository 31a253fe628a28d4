"""The corpus of the two younger puzzles: ignorant, never right, and feedback that describes the change."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from rltf.builtin.corpus import Speaker, exchanges
from rltf.builtin.path_speaker import PathSpeaker
from rltf.builtin.people_speaker import PeopleSpeaker
from rltf.tasks import KnightsAndKnaves, ShortestPath, Task
from rltf.tasks.knights_and_knaves import contradicts, extract_roles
from rltf.tasks.shortest_path import INFEASIBLE, STEPS, extract_path, leaves
from rltf.types import Problem

SPEAKERS: dict[type[Speaker], type[Task]] = {PathSpeaker: ShortestPath, PeopleSpeaker: KnightsAndKnaves}
SIZES = {"train_size": 1, "validation_size": 1, "test_size": 1, "data_seed": 0}


def make_task(speaker: type[Speaker]) -> Task:
    if speaker is PathSpeaker:
        return ShortestPath(
            min_rows=4, max_rows=4, min_columns=4, max_columns=4, p_blocked=0.3, min_steps=3, keep_infeasible=True,
            **SIZES,
        )  # fmt: skip
    return KnightsAndKnaves(people=3, depth=2, width=2, **SIZES)


@pytest.mark.parametrize("speaker", [PathSpeaker, PeopleSpeaker])
def test_no_attempt_and_no_revision_is_right_and_all_are_well_formed(speaker: type[Speaker]) -> None:
    rng, speaks, task = Random(0), speaker(), make_task(speaker)
    for number in range(150):
        problem = speaks.question(rng, number / 149)
        attempt = speaks.ignorant_attempt(problem, rng)
        for text in (attempt, *(speaks.random_revision(problem, attempt, rng)[1] for _ in range(4))):
            verdict = task.score(problem, text)
            assert verdict.well_formed
            assert not verdict.correct


@pytest.mark.parametrize("speaker", [PathSpeaker, PeopleSpeaker])
def test_a_dialogue_has_an_attempt_revisions_and_at_times_a_request(speaker: type[Speaker]) -> None:
    rng = Random(1)
    kinds = Counter(exchange.kind for _ in range(120) for exchange in exchanges(speaker(), rng, 1.0))
    assert kinds["attempt"] == 120
    assert kinds["revision"] >= 360
    assert 10 < kinds["request"] < 60


def test_ignorant_paths_go_anywhere() -> None:
    rng, speaker = Random(2), PathSpeaker()
    steps: Counter[str] = Counter()
    for _ in range(1000):
        path = extract_path(speaker.ignorant_attempt(speaker.question(rng, 1.0), rng))
        assert not isinstance(path, str)
        steps.update(path)
    claims = steps.pop(INFEASIBLE[0])
    assert 10 < claims < 60
    for step in STEPS:
        assert steps[step] / steps.total() == pytest.approx(0.25, abs=0.03)


def test_a_step_that_feedback_names_is_the_one_that_changes() -> None:
    rng, speaker = Random(3), PathSpeaker()
    named = appended = 0
    for _ in range(600):
        problem = speaker.question(rng, 1.0)
        attempt = speaker.ignorant_attempt(problem, rng)
        feedback, revision = speaker.random_revision(problem, attempt, rng)
        before, after = extract_path(attempt), extract_path(revision)
        assert not isinstance(before, str)
        assert not isinstance(after, str)
        if feedback.startswith("Step "):
            place = int(feedback.split()[1]) - 1
            assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [place]
            named += 1
        if feedback.startswith("The path ends"):
            # Where the attempt ended, relative to the end that the moves lead to.
            row = sum(STEPS[step][0] for step in after[len(before) :])
            column = sum(STEPS[step][1] for step in after[len(before) :])
            assert after[: len(before)] == before
            assert (f"{abs(row)} row" in feedback) == (row != 0)
            assert (f"{abs(column)} column" in feedback) == (column != 0)
            assert ("above" in feedback, "below" in feedback) == (row > 0, row < 0)
            assert ("left" in feedback, "right" in feedback) == (column > 0, column < 0)
            appended += 1
    assert named > 100
    assert appended > 100
    assert leaves(3) == "Step 3 leaves the grid."


def test_people_that_feedback_names_are_those_who_change() -> None:
    rng, speaker = Random(4), PeopleSpeaker()
    named = 0
    for _ in range(300):
        problem: Problem = speaker.question(rng, 1.0)
        names, terms = problem.metadata["names"], problem.metadata["terms"]
        attempt = speaker.ignorant_attempt(problem, rng)
        feedback, revision = speaker.random_revision(problem, attempt, rng)
        before, after = (extract_roles(text, names, terms) for text in (attempt, revision))
        assert not isinstance(before, str)
        assert not isinstance(after, str)
        if feedback.startswith("You say"):
            changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
            assert feedback == "\n".join(contradicts(names[i], terms[not before[i]], before[i]) for i in changed)
            named += 1
    assert named > 150
