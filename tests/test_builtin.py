"""The built-in model is what its card says: ignorant of the solution, well-formed, able to follow feedback."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rltf.builtin import builtin_directory
from rltf.config.load import load_config
from rltf.feedback.llm import Endpoints
from rltf.rollouts.evaluate import evaluate
from rltf.rollouts.records import Evaluation
from rltf.runs.build import build_engine, build_evaluation_collector, build_task
from rltf.tasks.binary_matrix import DRAFT_FORMAT, Matrix, distances, extract_matrix, locate, mark, write_matrix
from rltf.text.renderer import Renderer
from rltf.workshops.schooling.corpus import exchanges
from rltf.workshops.schooling.matrix_speaker import MatrixSpeaker


def test_the_model_is_small() -> None:
    assert sum(path.stat().st_size for path in Path(builtin_directory()).iterdir()) <= 8 * 2**20


# Most of what first attempts may solve, least of what attempts after feedback must.
BOUNDS = {
    ("binary_matrix", "located"): (0.05, 0.30),
    ("shortest_path", "located"): (0.08, 0.14),
    ("knights_and_knaves", "hint"): (0.17, 0.18),
}


@pytest.fixture(scope="module", params=list(BOUNDS), ids=lambda case: case[0])
def measured(request: pytest.FixtureRequest) -> tuple[Evaluation, float, float]:
    """The shipped model on a task's default test problems, with what is asked of it."""
    name, level = request.param
    config = load_config([], ["engine.device=cpu", f"task.name={name}", f"feedback.level={level}"])
    engine, task = build_engine(config), build_task(config.task)
    collector = build_evaluation_collector(config, task, engine, Endpoints())
    evaluation, _ = evaluate(collector, "test", samples=2, temperature=1.0, problems=None, seed=0)
    return evaluation, *BOUNDS[request.param]


def test_first_attempts_are_well_formed_and_uninformed(measured: tuple[Evaluation, float, float]) -> None:
    evaluation, most, _ = measured
    assert evaluation.first_turn <= most
    assert evaluation.malformed <= 0.05


def test_it_can_act_on_feedback(measured: tuple[Evaluation, float, float]) -> None:
    evaluation, _, least = measured
    assert evaluation.second_turn is not None
    assert evaluation.second_turn >= least


@pytest.mark.parametrize("drafts", [False, True])
def test_the_corpus_shows_no_correct_answer(drafts: bool) -> None:
    rng, speaker = Random(0), MatrixSpeaker("marks", drafts=True) if drafts else MatrixSpeaker()
    seen = 0
    for number in range(600):
        for exchange in exchanges(speaker, rng, number / 599):
            if exchange.kind == "request":
                continue
            question = exchange.messages[0].content
            rows = question.split("below:\n")[1].split("\n\n")[0]
            matrix = tuple(tuple(map(int, row.split())) for row in rows.splitlines())
            blocks = re.findall(r"<answer>.*?</answer>", exchange.reply, re.DOTALL)
            assert len(blocks) == 1 + drafts
            assert all(extract_matrix(block) != distances(matrix) for block in blocks)
            seen += 1
    assert seen > 1500


def test_an_ignorant_attempt_is_blind_to_the_neighbours() -> None:
    """Cells shown as 1 are guessed alike whether their true distance is 1 or more."""
    rng, speaker = Random(1), MatrixSpeaker()
    guesses: dict[bool, list[int]] = {True: [], False: []}
    for _ in range(2000):
        problem = speaker.question(rng, 1.0)
        matrix = problem.metadata["matrix"]
        attempt = extract_matrix(speaker.ignorant_attempt(problem, rng))
        assert not isinstance(attempt, str)
        for row, gold_row, attempt_row in zip(matrix, distances(matrix), attempt, strict=True):
            for cell, gold, guess in zip(row, gold_row, attempt_row, strict=True):
                if cell == 0:
                    assert guess == 0
                else:
                    guesses[gold == 1].append(guess)
    for values in guesses.values():
        assert values.count(1) / len(values) == pytest.approx(0.60, abs=0.02)
        assert values.count(2) / len(values) == pytest.approx(0.33, abs=0.02)


def described_change(before: Matrix, after: Matrix) -> str:
    cells = [(r, c) for r, row in enumerate(before) for c, cell in enumerate(row) if cell != after[r][c]]
    return "\n".join(locate(r, c, before[r][c] < after[r][c]) for r, c in cells)


@pytest.mark.parametrize(
    ("level", "form", "describe"), [("located", r"Row [\s\S]*", described_change), ("marks", r"[012\s]+", mark)]
)
def test_feedback_in_the_corpus_describes_the_change_and_nothing_else(level: Any, form: str, describe: Any) -> None:
    rng, speaker = Random(2), MatrixSpeaker(level)
    described = 0
    for _ in range(300):
        problem = speaker.question(rng, 1.0)
        attempt = speaker.ignorant_attempt(problem, rng)
        feedback, revision = speaker.random_revision(problem, attempt, rng)
        before, after = extract_matrix(attempt), extract_matrix(revision)
        assert not isinstance(before, str)
        assert not isinstance(after, str)
        assert write_matrix(after) != problem.answer
        if re.fullmatch(form, feedback):
            described += 1
            assert feedback == describe(before, after)
    assert described > 200


def test_marks_on_a_draft_lead_to_its_answer_and_an_answer_follows_the_feedback() -> None:
    rng, speaker = Random(4), MatrixSpeaker("marks", drafts=True)
    kept = {"first": 0, "later": 0}
    for _ in range(300):
        problem = speaker.question(rng, 1.0)
        assert problem.prompt.endswith(DRAFT_FORMAT)
        first = speaker.ignorant_attempt(problem, rng)
        feedback, later = speaker.random_revision(problem, first, rng)
        for name, attempt in (("first", first), ("later", later)):
            written = re.fullmatch(
                r"(<answer>\n.*\n</answer>)\n([012\s]+)\n(<answer>\n.*\n</answer>)", attempt, re.DOTALL
            )
            assert written
            draft, answer = extract_matrix(written[1]), extract_matrix(written[3])
            assert not isinstance(draft, str)
            assert not isinstance(answer, str)
            assert written[2] == mark(draft, answer)
            kept[name] += draft == answer
        if re.fullmatch(r"[012\s]+", feedback):
            before, after = extract_matrix(first), extract_matrix(later)
            assert not isinstance(before, str)
            assert not isinstance(after, str)
            assert feedback == mark(before, after)
    assert 60 <= kept["first"] <= 120
    assert 210 <= kept["later"] <= 270


def test_the_tokenizer_spends_few_tokens_on_the_task_and_reads_any_text() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(builtin_directory())
    renderer = Renderer(tokenizer, [tokenizer.eos_token_id])
    rng, speaker = Random(3), MatrixSpeaker()
    for exchange in exchanges(speaker, rng, 1.0):
        assert len(renderer.prompt(exchange.messages)) <= 120
    for text in ("", "plain words", "naïve \u4e2d\u6587 \U0001f600\n\n\t{x}", locate(0, 0, True) + " 12 345"):
        assert renderer.text(renderer.completion(text)) == text
