"""What the policy is told: the settings' texts, and the conversations made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import PROBLEM, PROMPTS, ScriptedPolicy, make_group, make_rollout, make_turn
from hypothesis import example, given
from hypothesis import strategies as st
from test_rollout import PROBLEM as PUZZLE
from test_rollout import RIGHT, WRONG, make_collector

from rltf.config import FeedbackModelConfig, PromptsConfig, RolloutConfig
from rltf.config.load import config_from_json, config_to_json, load_config
from rltf.feedback import SelfSource
from rltf.objectives.feedback_modelling import FeedbackModelling
from rltf.support.errors import UserError
from rltf.support.templates import fields, substitute, without_fields
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import FeedbackRequest, Message, Problem, SamplingParams, Score

AFRESH = "Answer the original question afresh, as if for the first time, without mentioning this feedback."
FIELDS = st.text(alphabet="{}abcdefioknqstu_ \n", max_size=30) | st.sampled_from(
    ["{feedback}", "{question}", "{attempt}", "{{feedback}}", "{unknown}", "{", "}", "{}", "\\1", "\\g<0>", "%s"]
)
TERSE = Message(role="system", content="Be terse.")
SYSTEM = Prompts(PromptsConfig(system="Be terse."))


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


# Templates


def test_each_field_of_a_template_is_replaced_wherever_it_stands() -> None:
    assert substitute("{a}-{b}-{a}", {"a": "1", "b": "2"}) == "1-2-1"


@given(FIELDS, FIELDS)
def test_braces_and_backslashes_in_a_value_stay_text(a: str, b: str) -> None:
    assert substitute("<{a}|{b}|{a}>", {"a": a, "b": b}) == f"<{a}|{b}|{a}>"


def test_a_field_that_nobody_fills_is_an_error() -> None:
    with pytest.raises(KeyError, match="missing"):
        substitute("{missing}", {"other": "text"})


def test_doubled_braces_are_braces_and_other_braces_are_text() -> None:
    template = '{{answer}} {X} {} {a1} {\n"a": 1} \\boxed{{{answer}}}'
    assert fields(template) == {"answer"}
    assert substitute(template, {"answer": "{7}"}) == '{answer} {X} {} {a1} {\n"a": 1} \\boxed{{{7}}}'


def test_what_stands_around_fields_is_found() -> None:
    assert without_fields("a {b} c {{d}} {e}") == ["a ", " c ", " ", ""]


# Conversations


@given(FIELDS, FIELDS, FIELDS)
def test_a_single_message_restates_question_attempt_and_feedback_word_for_word(q: str, y: str, c: str) -> None:
    problem = Problem(task="toy", split="train", index=0, prompt=q, answer="")
    (message,) = PROMPTS.next_turn(problem, (user("forgotten"),), y, c, "single_message")
    assert message == user(f"{q}\n\nYour previous answer:\n{y}\n\nFeedback on it:\n{c}\n\n{AFRESH}")


@given(FIELDS, FIELDS)
def test_a_continued_conversation_grows_by_the_attempt_and_the_feedback_word_for_word(y: str, c: str) -> None:
    before = (user("q"), assistant("y"), user("c"))
    assert PROMPTS.next_turn(PROBLEM, before, y, c, "continued") == (*before, assistant(y), user(f"{c}\n\n{AFRESH}"))


def test_the_first_turn_is_the_question_alone() -> None:
    assert PROMPTS.first_turn(PROBLEM) == (user(PROBLEM.prompt),)


def test_the_request_for_feedback_follows_the_attempt() -> None:
    request = "Say what is wrong with this answer, without giving the right one."
    assert PROMPTS.feedback_request((user("q"),), "y") == (user("q"), assistant("y"), user(request))


def test_the_request_for_a_lesson_stands_in_place_of_the_question() -> None:
    request = "{question} {{x}}\n\nDo not answer yet: say what an answer to this has to mind."
    before = (TERSE, user("a"), assistant("b"))
    assert PROMPTS.lesson_request((*before, user("{question} {{x}}"))) == (*before, user(request))


@pytest.mark.parametrize("template", [PROMPTS.texts.revision, PROMPTS.texts.single_message])
def test_the_second_prompt_asks_for_an_answer_that_reads_like_a_first_one(template: str) -> None:
    assert template.endswith(AFRESH)


@given(FIELDS, FIELDS, FIELDS)
@example(q="{feedback}", y="{question}", c="{attempt}")
def test_templates_of_ones_own_are_filled_once_whatever_stands_in_the_parts(q: str, y: str, c: str) -> None:
    problem = Problem(task="toy", split="train", index=0, prompt=q, answer="")
    mine = Prompts(PromptsConfig(revision="{question}|{feedback}|{{attempt}}", single_message="{feedback}|{question}"))
    *before, last = mine.next_turn(problem, (user("x"),), y, c, "continued")
    assert (before, last) == ([user("x"), assistant(y)], user(f"{q}|{c}|{{attempt}}"))
    assert mine.next_turn(problem, (user("x"),), y, c, "single_message") == (user(f"{c}|{q}"),)


def test_a_system_prompt_stands_before_the_first_message_in_every_conversation() -> None:
    first = SYSTEM.first_turn(PROBLEM)
    assert first == (TERSE, user("What?"))
    assert SYSTEM.next_turn(PROBLEM, first, "y", "c", "continued")[:2] == first
    (system, message) = SYSTEM.next_turn(PROBLEM, first, "y", "c", "single_message")
    assert (system, message.role) == (TERSE, "user")
    assert SYSTEM.feedback_request(first, "y")[:2] == first


def test_a_conversation_from_outside_keeps_its_own_system_message() -> None:
    own = (Message(role="system", content="You are a cook."), user("q"))
    assert SYSTEM.opened((user("q"),)) == (TERSE, user("q"))
    assert SYSTEM.opened(own) == own
    assert SYSTEM.next_turn(PROBLEM, own, "y", "c", "single_message")[0] == own[0]
    assert PROMPTS.opened((user("q"),)) == (user("q"),)


def test_feedback_modelling_and_the_policys_own_feedback_ask_in_the_words_of_the_settings(renderer: Renderer) -> None:
    mine = Prompts(PromptsConfig(system="Be terse.", feedback_request="What would a referee say?"))
    asked = renderer.prompt((TERSE, user("q"), assistant("an attempt"), user("What would a referee say?")))
    policy = ScriptedPolicy(renderer=renderer, script=[[["Wrong."]]])
    messages = mine.opened((user("q"),))
    score = Score(reward=0.0, correct=False, well_formed=True, answer=None, explanation="")
    request = FeedbackRequest(problem=PROBLEM, attempt="an attempt", score=score, messages=messages)
    SelfSource(policy, renderer, mine, SamplingParams(max_tokens=9), 1000).feedback([request], 0)
    assert policy.calls[0][0] == [asked]
    group = make_group(make_rollout(make_turn(0.0, feedback="No.", messages=messages)))
    (sample,) = FeedbackModelling(FeedbackModelConfig(), renderer, mine).samples(group, 0.0, {})
    assert sample.prompt_tokens == asked


# Settings


def refused(*overrides: str) -> str:
    with pytest.raises(UserError) as error:
        load_config([], overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_text_may_come_from_a_file_and_is_then_the_runs_own(tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_bytes("\ufeffÜbe dich.\n\nIn Kürze {hier}.\n\n".encode())
    config = load_config([], [f"prompts.system=@{file}"])
    assert config.prompts.system == "Übe dich.\n\nIn Kürze {hier}."
    file.write_text("changed")
    assert config_from_json(config_to_json(config)) == config


def test_none_brings_back_the_default() -> None:
    below: list[str] = ["prompts.system=Be terse.", "prompts.revision={feedback}"]
    config = load_config([], [*below, "prompts.system=none", "prompts.revision=none"])
    assert config.prompts == PromptsConfig()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("prompts.revision=Try again.", "prompts.revision: holds no {feedback}, which every revision needs; add it"),
        (
            "prompts.revision={feedback} {attempts}",
            "prompts.revision: no field {attempts}; known here: {feedback}, {question}; "
            "for braces as text write {{attempts}}",
        ),
        ("prompts.system=  ", "prompts.system: holds no text; write one or leave the setting out"),
        (
            "prompts.system=Answer {question}.",
            "prompts.system: has no fields, so {question} would stay as it is written; remove it",
        ),
        (
            "prompts.feedback_request=What of {attempt}?",
            "prompts.feedback_request: has no fields, so {attempt} would stay as it is written; remove it",
        ),
        (
            "prompts.lesson_request=What?",
            "prompts.lesson_request: holds no {question}, which every request needs; add it",
        ),
        (
            "prompts.system=@nowhere.txt",
            "prompts.system: the file nowhere.txt cannot be read (No such file or directory); "
            "give @ and the path of a text file",
        ),
        (
            "prompts.single_message={question} {feedback}",
            "prompts.single_message is not read with rollout.conversation=continued; set that to single_message, or "
            "prompts.single_message=none",
        ),
        ("prompts.sistem=Be terse.", "prompts.sistem: unknown setting; did you mean system?"),
    ],
)
def test_a_wrong_text_is_one_line_with_field_and_mend(setting: str, complaint: str) -> None:
    assert refused(setting) == complaint


def test_what_a_single_message_needs_and_may_leave_out() -> None:
    form = "rollout.conversation=single_message"
    assert "holds no {feedback}" in refused(form, "prompts.single_message={question} {attempt}")
    assert "holds no {question}" in refused(form, "prompts.single_message={feedback}")
    assert "prompts.revision is not read with" in refused(form, "prompts.revision={feedback}")
    config = load_config([], [form, "prompts.single_message={question} {feedback}"])
    assert "attempt" not in fields(config.prompts.single_message)


@pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"@other.txt", b" \n\n"])
def test_a_file_that_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_bytes(content)
    assert refused(f"prompts.system=@{tmp_path / 'f.txt'}").startswith("prompts.system: ")


def test_braces_that_are_no_fields_are_text(tmp_path: Path) -> None:
    written = 'Give {"answer": X} in \\boxed{}, {feedback}'
    config = load_config([], [f"prompts.revision={written}", "prompts.system=Answer as \\boxed{answer}."])
    assert config.prompts.system == "Answer as \\boxed{answer}."
    (*_, last) = Prompts(config.prompts).next_turn(PROBLEM, (user("q"),), "y", "c", "continued")
    assert last.content == 'Give {"answer": X} in \\boxed{}, c'


@pytest.mark.parametrize("form", ["continued", "newest", "single_message"])
def test_a_collector_says_what_the_settings_say(form: Any, renderer: Renderer) -> None:
    mine = Prompts(PromptsConfig(system="Be terse.", revision="> {feedback}", single_message="{feedback} <{question}"))
    collector, policy, _ = make_collector(renderer, [[[WRONG]], [[RIGHT]]], ["No."], prompts=mine, conversation=form)
    assert isinstance(collector.config, RolloutConfig)
    (group,) = collector.collect([PUZZLE], 1, 1.0, 0)
    first, second = (turn.messages for turn in group.rollouts[0].turns)
    assert first == (TERSE, user(PUZZLE.prompt))
    expected = (*first, assistant(WRONG), user("> No."))
    assert second == ((TERSE, user(f"No. <{PUZZLE.prompt}")) if form == "single_message" else expected)
    assert policy.calls[1][0] == [renderer.prompt(second)]
