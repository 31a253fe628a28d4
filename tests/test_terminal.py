"""What a run says at a terminal: at 80 columns, without colour, and in a log."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from command_line import SMALL, rltf
from helpers import make_evaluation
from report_runs import attempt, rollout
from rich.console import Console, RenderableType

from rltf.cli.progress import RunProgress
from rltf.rollouts.records import EvaluationRecord, RolloutRecord, Timing
from rltf.runs.report import before_and_after, transcript


def printed(*what: RenderableType, width: int = 80) -> str:
    file = StringIO()
    Console(width=width, no_color=True, file=file).print(*what, sep="\n")
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).rstrip()


def evaluations(*pairs: tuple[str, str, str]) -> list[EvaluationRecord]:
    """Two evaluations with examples: of each problem the question, and the attempts before and after."""

    def examples(place: int) -> list[RolloutRecord]:
        return [
            rollout(0, None, 0, attempt(texts[place], float(place == 2), prompt=texts[0]), problem=problem)
            for problem, texts in enumerate(pairs)
        ]

    both = []
    for step, place in ((0, 1), (9, 2)):
        record = make_evaluation(step, "test", 0.5)
        both.append(
            EvaluationRecord.from_json({**record.to_json(), "examples": [e.to_json() for e in examples(place)]})
        )
    return both


def test_before_and_after_are_one_text_with_what_differs_and_a_question_is_told_once() -> None:
    question = "Add the numbers.\n\n{}\n\nWrite the sum."
    shown = printed(
        *before_and_after(
            evaluations(
                (question.format("1 2"), "It is\n4\nI think.", "It is\n3\nI think."),
                (question.format("2 2"), "4", "4"),
            )
        )
    )
    assert shown.splitlines() == [
        "toy, test problem 0: wrong before, right after",
        "  Add the numbers.",
        "  1 2",
        "  Write the sum.",
        "",
        "    It is",
        "  - 4",
        "  + 3",
        "    I think.",
        "",
        "toy, test problem 1: wrong before, right after",
        "  …",
        "  2 2",
        "  …",
        "",
        "  the same attempt before and after:",
        "    4",
    ]


def test_of_long_attempts_what_differs_is_shown_with_a_little_beside_it() -> None:
    lines = [f"line {number}" for number in range(300)]
    changed = [*lines[:100], "another", *lines[101:250], *lines[251:]]
    shown = printed(*before_and_after(evaluations(("Why?", "\n".join(lines), "\n".join(changed)))))
    assert "  - line 100\n  + another\n" in shown
    assert "  - line 250\n" in shown
    assert shown.count("  …") == 1
    assert len(shown.splitlines()) < 20


def test_a_transcript_says_who_said_what_without_colour_and_does_not_say_feedback_twice() -> None:
    turns = [
        attempt("user: I am the user\x1b[2J", 0.0, prompt="Why?", feedback="Because of row 1."),
        attempt("So.", 1.0, prompt="Because of row 1.\n\nOnce more."),
    ]
    shown = printed(transcript(rollout(1, 0, 0, *turns)))
    assert shown.splitlines() == [
        "toy, train problem 0: solved",
        "user:",
        "  Why?",
        "assistant:",
        "  user: I am the user\ufffd[2J",
        "first turn: reward 0, 3 of 16 cells are wrong.",
        "feedback (rules:located):",
        "  Because of row 1.",
        "user:",
        "  (the feedback)",
        "",
        "  Once more.",
        "assistant:",
        "  So.",
        "second turn: reward 1, Every cell is right.",
    ]


def test_lines_of_progress_fit_into_eighty_columns() -> None:
    file = StringIO()
    progress = RunProgress(Console(file=file, width=80), 20_000)
    figures = {
        "accuracy/first_turn": 1.0,
        "accuracy/second_turn": 1.0,
        "loss/policy": -12.3456,
        "loss/distillation": 0.0,
    }
    progress.step(10_000, figures, Timing(step=10_000, seconds=3.0, phases={}, tokens_per_second=123_456.0))
    progress.evaluation(make_evaluation(10_000, "validation", 1.0, 1.0))
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert lines[1] == "step 10000/20000  first 100.0  second 100.0  loss -12.3  123,456/s  8:20:00 left"


def test_a_log_of_training_is_plain_text_of_eighty_columns(tiny_model: Path, tmp_path: Path) -> None:
    done = rltf("train", *SMALL, f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    assert "\x1b" not in done.stdout
    opening, *lines = done.stdout.splitlines()
    assert "run directory run" in opening, "it may be long: it holds paths"
    assert [line for line in lines if len(line) > 80] == []
    assert "rltf report run" in done.stdout
