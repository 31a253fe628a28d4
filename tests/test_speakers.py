"""The corpus of the two younger puzzles: ignorant, never right, and feedback that describes the change."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from rltf.tasks import KnightsAndKnaves, ShortestPath, Task
from rltf.tasks.knights_and_knaves import contradicts, extract_roles, generate, rules_out
from rltf.tasks.shortest_path import END, INFEASIBLE, START, STEPS, ends, extract_path, find
from rltf.types import Problem
from rltf.workshops.schooling.corpus import Speaker, exchanges
from rltf.workshops.schooling.path_speaker import PathSpeaker, follow
from rltf.workshops.schooling.people_speaker import PeopleSpeaker

SPEAKERS: dict[type[Speaker], type[Task]] = {PathSpeaker: ShortestPath, PeopleSpeaker: KnightsAndKnaves}
SIZES = {"train_size": 1, "validation_size": 1, "test_size": 1, "data_seed": 0}


def make_task(speaker: type[Speaker]) -> Task:
    if speaker is PathSpeaker:
        return ShortestPath(
            min_rows=4, max_rows=4, min_columns=4, max_columns=4, p_blocked=0.3, min_steps=4, keep_infeasible=True,
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


def test_ignorant_paths_go_in_the_direction_of_the_destination_but_not_so_far() -> None:
    rng, speaker = Random(2), PathSpeaker()
    claims = right_length = 0
    for _ in range(1000):
        problem = speaker.question(rng, 1.0)
        grid = problem.metadata["grid"]
        (row, column), (end_row, end_column) = find(grid, START), find(grid, END)
        path = extract_path(speaker.ignorant_attempt(problem, rng))
        assert not isinstance(path, str)
        if path == INFEASIBLE:
            claims += 1
            continue
        down = sum(STEPS[step][0] for step in path)
        right = sum(STEPS[step][1] for step in path)
        assert (end_row - row) * down > 0 or end_row == row
        assert (end_column - column) * right > 0 or end_column == column
        right_length += (down, right) == (end_row - row, end_column - column)
    assert 10 < claims < 60
    assert right_length < 250


def test_a_path_follows_feedback_in_every_point_that_it_names() -> None:
    rng, speaker = Random(3), PathSpeaker()
    named = moved = 0
    for _ in range(600):
        problem = speaker.question(rng, 1.0)
        attempt = speaker.ignorant_attempt(problem, rng)
        feedback, revision = speaker.random_revision(problem, attempt, rng)
        before, after = extract_path(attempt), extract_path(revision)
        assert not isinstance(before, str)
        assert not isinstance(after, str)
        step = re.match(r"Step (\d+) ", feedback)
        if step:
            place = int(step[1]) - 1
            assert after[:place] == before[:place]
            assert after[place] != before[place]
            named += 1
        end = re.search(r"The path ends .*", feedback)
        if end and not step:
            row = sum(STEPS[move][0] for move in before) - sum(STEPS[move][0] for move in after)
            column = sum(STEPS[move][1] for move in before) - sum(STEPS[move][1] for move in after)
            assert end[0] == ends(row, column)
            moved += 1
    assert named > 100
    assert moved > 100


def test_a_path_follows_by_literal_example() -> None:
    rng = Random(0)
    assert follow(("down", "right", "right"), None, (-1, 0), rng) == ("down", "right", "right", "down")
    assert follow(("down", "right", "right"), None, (0, 1), rng) == ("down", "right")
    assert follow(("down", "right"), 0, (0, 0), rng) == ("right", "down")
    assert follow(("right",), None, (0, 2), rng) == ("left",)


def test_people_are_believed_mostly() -> None:
    rng, speaker = Random(5), PeopleSpeaker()
    problem = generate(3, 2, 2, 1, 0)
    assert problem is not None
    # "Benjamin is a saint if and only if Avery is a saint", "Benjamin is a saint", "Avery is a saint ...": of Daniel
    # nothing is said.
    assert problem.metadata["statements"][0] == ("<=>", ("telling-truth", 0), ("telling-truth", 1))
    names, terms = problem.metadata["names"], problem.metadata["terms"]
    roles = [extract_roles(speaker.ignorant_attempt(problem, rng), names, terms) for _ in range(400)]
    believed = [sum(bool(role[person]) for role in roles) / 400 for person in range(3)]
    assert believed[0] > 0.7
    assert believed[1] > 0.7
    assert believed[2] > 0.5  # Saint, saint, sinner is right, and so never said.


def test_people_that_feedback_names_are_those_who_change() -> None:
    rng, speaker = Random(4), PeopleSpeaker()
    named = hinted = 0
    for _ in range(300):
        problem: Problem = speaker.question(rng, 1.0)
        names, terms = problem.metadata["names"], problem.metadata["terms"]
        attempt = speaker.ignorant_attempt(problem, rng)
        feedback, revision = speaker.random_revision(problem, attempt, rng)
        before, after = (extract_roles(text, names, terms) for text in (attempt, revision))
        assert not isinstance(before, str)
        assert not isinstance(after, str)
        changed = {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
        said = feedback.split("\n")
        hints = [i for i in range(len(names)) if rules_out(names[i], terms[not before[i]]) in said]
        contradicted = {i for i in range(len(names)) if contradicts(names[i], terms[not before[i]], before[i]) in said}
        if hints:
            assert changed == set(hints)
            hinted += 1
        elif contradicted:
            assert changed == contradicted
            named += 1
    assert named > 80
    assert hinted > 100
