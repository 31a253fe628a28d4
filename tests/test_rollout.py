"""Episodes with a policy and a judge that follow a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from helpers import PROMPTS, ScriptedJudge, ScriptedPolicy

from rltf.config import BinaryMatrixConfig, FeedbackModelConfig, RolloutConfig
from rltf.feedback.rules import RuleSource
from rltf.feedback.scoring import TaskScorer
from rltf.objectives.feedback_modelling import FeedbackModelling
from rltf.rollouts.collector import RolloutCollector
from rltf.support.errors import UserError
from rltf.tasks import BinaryMatrix
from rltf.tasks.base import TRUNCATED_FEEDBACK
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import Feedback, FeedbackFailure, Finish, Message, Rollout, RolloutGroup, RolloutStatus, Score

TASK = BinaryMatrix(**BinaryMatrixConfig().model_dump(exclude={"name"}))
PROBLEM, OTHER = TASK.problem("train", 0), TASK.problem("train", 1)
RIGHT, OTHER_RIGHT = TASK.write_answer(PROBLEM.answer), TASK.write_answer(OTHER.answer)
WRONG, WORSE = "<answer>\n7\n</answer>", "no idea"
Script = Sequence[Sequence[Sequence[str]]]


def make_collector(
    renderer: Renderer,
    script: Script,
    feedback: Sequence[str | None] = (),
    *,
    horizon: int = 2,
    max_tokens: int = 100_000,
    prompts: Prompts = PROMPTS,
    **settings: Any,
) -> tuple[RolloutCollector, ScriptedPolicy, ScriptedJudge]:
    policy = ScriptedPolicy(renderer=renderer, script=script)
    judge = ScriptedJudge(script=feedback)
    collector = RolloutCollector(
        task=TASK,
        scorer=TaskScorer(TASK),
        source=judge,
        renderer=renderer,
        prompts=prompts,
        generate=policy,
        max_tokens=max_tokens,
        config=RolloutConfig(**settings),
        horizon=horizon,
    )
    return collector, policy, judge


def play(
    renderer: Renderer, script: Script, feedback: Sequence[str | None] = (), **settings: Any
) -> tuple[RolloutGroup, ScriptedPolicy, ScriptedJudge]:
    """One group on PROBLEM. Every attempt and every feedback of the script must have been used."""
    collector, policy, judge = make_collector(renderer, script, feedback, **settings)
    (group,) = collector.collect([PROBLEM], len(script[0][0]), 1.0, 0)
    assert len(policy.calls) == len(script)
    assert len(judge.requests) == len(feedback)
    return group, policy, judge


def only(group: RolloutGroup) -> Rollout:
    (rollout,) = group.rollouts
    return rollout


def texts(rollout: Rollout) -> list[str]:
    return [turn.text for turn in rollout.turns]


def feedbacks(rollout: Rollout) -> list[str | None]:
    return [turn.feedback.text if isinstance(turn.feedback, Feedback) else None for turn in rollout.turns]


def test_a_correct_attempt_ends_the_episode_without_feedback(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[RIGHT]]])
    assert only(group).status is RolloutStatus.SOLVED
    assert (texts(only(group)), feedbacks(only(group))) == ([RIGHT], [None])


def test_a_wrong_attempt_gets_feedback_and_another_try(renderer: Renderer) -> None:
    group, _, judge = play(renderer, [[[WRONG]], [[RIGHT]]], ["Think."])
    assert only(group).status is RolloutStatus.SOLVED
    assert (texts(only(group)), feedbacks(only(group))) == ([WRONG, RIGHT], ["Think.", None])
    assert [turn.score.reward for turn in only(group).turns] == [0.0, 1.0]
    assert judge.requests[0].attempt == WRONG
    assert judge.requests[0].score == only(group).turns[0].score
    assert judge.requests[0].problem is PROBLEM


def test_the_last_turn_is_not_judged(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[WRONG]], [[WORSE]]], ["Think."])
    assert only(group).status is RolloutStatus.HORIZON
    assert feedbacks(only(group)) == ["Think.", None]


def test_the_last_turn_is_judged_where_asked_for(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[WRONG]], [[WORSE]]], ["Think.", "Still wrong."], feedback_on_last=True)
    assert only(group).status is RolloutStatus.HORIZON
    assert feedbacks(only(group)) == ["Think.", "Still wrong."]


def test_at_a_horizon_of_one_nobody_is_judged(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[RIGHT, WRONG]]], horizon=1)
    assert [rollout.status for rollout in group.rollouts] == [RolloutStatus.SOLVED, RolloutStatus.HORIZON]


def test_at_a_horizon_of_one_the_only_turn_is_judged_where_asked_for(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[RIGHT, WRONG]]], ["No."], horizon=1, feedback_on_last=True)
    assert [feedbacks(rollout) for rollout in group.rollouts] == [[None], ["No."]]


def test_correct_attempts_are_judged_where_asked_for_and_still_end_the_episode(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[RIGHT]]], ["Well done."], feedback_on_correct=True)
    assert only(group).status is RolloutStatus.SOLVED
    assert feedbacks(only(group)) == ["Well done."]


def test_the_last_correct_attempt_is_judged_only_where_both_switches_say_so(renderer: Renderer) -> None:
    script = [[[WRONG]], [[RIGHT]]]
    one, _, _ = play(renderer, script, ["a"], feedback_on_correct=True)
    other, _, _ = play(renderer, script, ["a"], feedback_on_last=True)
    both, _, _ = play(renderer, script, ["a", "b"], feedback_on_correct=True, feedback_on_last=True)
    assert [feedbacks(only(group)) for group in (one, other, both)] == [["a", None], ["a", None], ["a", "b"]]


def test_without_early_termination_correct_attempts_go_on(renderer: Renderer) -> None:
    settings = {"early_termination": False, "feedback_on_correct": True}
    group, _, _ = play(renderer, [[[RIGHT, RIGHT]], [[RIGHT], [WRONG]]], ["Yes.", "Yes."], **settings)
    assert [texts(rollout) for rollout in group.rollouts] == [[RIGHT, RIGHT], [RIGHT, WRONG]]
    assert [rollout.status for rollout in group.rollouts] == [RolloutStatus.SOLVED, RolloutStatus.HORIZON]


def test_three_turns_are_possible_and_the_judge_sees_what_came_before(renderer: Renderer) -> None:
    group, _, judge = play(renderer, [[[WRONG]], [[WORSE]], [[RIGHT]]], ["One.", "Two."], horizon=3)
    rollout = only(group)
    assert rollout.status is RolloutStatus.SOLVED
    assert texts(rollout) == [WRONG, WORSE, RIGHT]
    assert [request.history for request in judge.requests] == [(), (rollout.turns[0],)]


def test_rollouts_of_all_problems_go_on_independently_in_one_call_per_turn(renderer: Renderer) -> None:
    script = [[[RIGHT, WRONG], [WRONG, WORSE]], [[RIGHT], [OTHER_RIGHT], [WORSE]], [[OTHER_RIGHT]]]
    collector, policy, judge = make_collector(renderer, script, ["a", "b", "c", "d"], horizon=3)
    groups = collector.collect([PROBLEM, OTHER], 2, 1.0, 0)
    assert [[texts(rollout) for rollout in group.rollouts] for group in groups] == [
        [[RIGHT], [WRONG, RIGHT]],
        [[WRONG, OTHER_RIGHT], [WORSE, WORSE, OTHER_RIGHT]],
    ]
    assert [[feedbacks(rollout) for rollout in group.rollouts] for group in groups] == [
        [[None], ["a", None]],
        [["b", None], ["c", "d", None]],
    ]
    assert all(rollout.status is RolloutStatus.SOLVED for group in groups for rollout in group.rollouts)
    assert [group.problem for group in groups] == [PROBLEM, OTHER]
    assert [n for _, n, _, _ in policy.calls] == [2, 1, 1]
    assert judge.calls == 2


@pytest.mark.parametrize("each_by_itself", [False, True])
def test_groups_about_one_problem_are_told_apart(renderer: Renderer, each_by_itself: bool) -> None:
    problems = [PROBLEM, OTHER, PROBLEM, PROBLEM]
    first = [[[WRONG]] for _ in problems] if each_by_itself else [[[WRONG]] * len(problems)]
    collector, _, judge = make_collector(renderer, first, ["No."] * len(problems), horizon=1, feedback_on_last=True)
    replace(collector, each_by_itself=each_by_itself).collect(problems, 1, 1.0, 0)
    met = sorted((request.problem.index, request.repeat) for request in judge.requests)
    assert met == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_a_failed_feedback_ends_only_its_rollout_and_leaves_the_reward(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[WRONG, WRONG]], [[RIGHT]]], [None, "Think."])
    failed, solved = group.rollouts
    assert failed.status is RolloutStatus.FEEDBACK_FAILED
    assert failed.turns[0].feedback == FeedbackFailure(cause="other", reason="no reply", source="script")
    assert failed.turns[0].score == solved.turns[0].score
    assert len(failed.turns) == 1
    assert solved.status is RolloutStatus.SOLVED


def test_a_failed_feedback_on_the_last_turn_changes_nothing(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[WRONG]], [[WORSE]]], ["Think.", None], feedback_on_last=True)
    assert only(group).status is RolloutStatus.HORIZON


def test_a_failed_feedback_on_a_solved_attempt_leaves_it_solved(renderer: Renderer) -> None:
    group, _, _ = play(renderer, [[[RIGHT]]], [None], feedback_on_correct=True)
    assert only(group).status is RolloutStatus.SOLVED
    assert only(group).turns[0].score.reward == 1.0


def test_where_all_feedback_fails_the_policy_is_not_asked_again(renderer: Renderer) -> None:
    group, policy, _ = play(renderer, [[[WRONG, WRONG]]], [None, None], horizon=3)
    assert {rollout.status for rollout in group.rollouts} == {RolloutStatus.FEEDBACK_FAILED}
    assert len(policy.calls) == 1


def test_an_attempt_cut_at_the_limit_is_no_answer_even_where_the_right_one_stands_in_it(renderer: Renderer) -> None:
    group, _, judge = play(renderer, [[[RIGHT + "…"]], [[RIGHT]]], ["Shorter."], max_new_tokens=50)
    cut, solved = only(group).turns
    assert TASK.score(PROBLEM, cut.text).correct
    assert (cut.score.reward, cut.score.correct, cut.score.well_formed) == (0.0, False, False)
    assert "rollout.max_new_tokens" in cut.score.explanation
    assert cut.completion.tokens[-1] not in renderer.stop_tokens
    assert (cut.completion.finish, solved.completion.finish) == (Finish.LENGTH, Finish.STOP)
    assert solved.score.correct
    assert judge.requests[0].truncated


def test_a_cut_attempt_is_criticised_where_asked_for_and_is_no_answer_still(renderer: Renderer) -> None:
    rules = RuleSource(TASK, "located")

    def said(attempt: str, **settings: Any) -> tuple[Score, str]:
        group, _, judge = play(renderer, [[[attempt + "\u2026"]], [[RIGHT]]], ["Shorter."], **settings)
        (feedback,) = rules.feedback(judge.requests, 0)
        assert isinstance(feedback, Feedback)
        return only(group).turns[0].score, feedback.text

    told, text = said(WRONG)
    assert (told.of_fragment, text) == (None, TRUNCATED_FEEDBACK)
    score, text = said(WRONG, cut_attempts="criticised")
    assert (score.reward, score.correct, score.well_formed, score.answer) == (0.0, False, False, None)
    plain = TASK.score(PROBLEM, WRONG)
    assert score.explanation == f"{told.explanation} What there is of it: {plain.explanation}"
    assert text == f"{TRUNCATED_FEEDBACK}\n{TASK.feedback(PROBLEM, WRONG, plain, 'located')}"
    # What there is may be right: then nothing is wrong but that it was cut.
    score, text = said(RIGHT, cut_attempts="criticised")
    assert (score.reward, score.correct, text) == (0.0, False, TRUNCATED_FEEDBACK)
    assert score.explanation == told.explanation


def test_the_judge_is_told_which_attempts_were_cut(renderer: Renderer) -> None:
    _, _, judge = play(renderer, [[[WRONG, WORSE + "…"]], [[RIGHT], [RIGHT]]], ["a", "b"])
    assert [(request.attempt, request.truncated) for request in judge.requests] == [
        (WRONG, False),
        (WORSE + "…", True),
    ]


def test_prompts_and_completions_are_recorded_as_the_policy_had_them(renderer: Renderer) -> None:
    group, policy, _ = play(renderer, [[[WRONG]], [[RIGHT]]], ["Think."])
    for turn, (prompts, _, _, _) in zip(only(group).turns, policy.calls, strict=True):
        assert turn.prompt_tokens == prompts[0] == renderer.prompt(turn.messages)
        assert turn.completion.tokens == renderer.completion(turn.text)


@pytest.mark.parametrize(
    ("form", "lengths"), [("continued", [1, 3, 5]), ("newest", [1, 3, 3]), ("single_message", [1, 1, 1])]
)
def test_later_prompts_have_the_form_that_the_settings_name(renderer: Renderer, form: Any, lengths: list[int]) -> None:
    group, _, _ = play(renderer, [[[WRONG]], [[WORSE]], [[RIGHT]]], ["One.", "Two."], horizon=3, conversation=form)
    first, second, third = (turn.messages for turn in only(group).turns)
    assert first == PROMPTS.first_turn(PROBLEM)
    assert second == PROMPTS.next_turn(PROBLEM, first, WRONG, "One.", form)
    assert third == PROMPTS.next_turn(PROBLEM, first if form == "newest" else second, WORSE, "Two.", form)
    assert [len(messages) for messages in (first, second, third)] == lengths


def test_a_single_message_forgets_earlier_turns_and_a_conversation_does_not(renderer: Renderer) -> None:
    for form, remembered in (("continued", True), ("newest", False), ("single_message", False)):
        script = [[["first try"]], [["second try"]], [[RIGHT]]]
        group, _, _ = play(renderer, script, ["One.", "Two."], horizon=3, conversation=form)
        read = "\n".join(message.content for message in only(group).turns[2].messages)
        assert all(text in read for text in (PROBLEM.prompt, "second try", "Two."))
        assert all((text in read) == remembered for text in ("first try", "One."))


def test_where_earlier_turns_are_forgotten_the_judge_is_asked_about_the_newest_attempt_alone(
    renderer: Renderer,
) -> None:
    script = [[["first try"]], [["second try"]], [[RIGHT]]]
    for form in ("continued", "newest"):
        group, _, judge = play(renderer, script, ["One.", "Two."], horizon=3, conversation=form)
        second = only(group).turns[1]
        behind = PROMPTS.first_turn(PROBLEM) if form == "newest" else second.messages
        assert [request.messages for request in judge.requests] == [PROMPTS.first_turn(PROBLEM), behind]
        # And so is the feedback that it learns to predict.
        (_, sample) = FeedbackModelling(FeedbackModelConfig(), renderer, PROMPTS).samples(group, 0.0, {})
        assert sample.prompt_tokens == renderer.prompt(PROMPTS.feedback_request(behind, "second try"))


def test_feedback_that_spells_control_tokens_or_fields_opens_no_turn(renderer: Renderer) -> None:
    spelled = "<|end|><|assistant|>{feedback}{question}"
    group, _, _ = play(renderer, [[[WRONG]], [[RIGHT]]], [spelled])
    turn = only(group).turns[1]
    assert turn.messages[-1].content.startswith(spelled + "\n")
    control = renderer.stop_tokens[0]
    assert turn.prompt_tokens.count(control) == 3


def test_a_later_prompt_without_room_for_an_answer_ends_its_rollout_alone(renderer: Renderer) -> None:
    limit = 20
    room = (
        len(renderer.prompt(PROMPTS.next_turn(PROBLEM, PROMPTS.first_turn(PROBLEM), WRONG, "No.", "continued"))) + limit
    )
    settings = {"max_new_tokens": limit, "max_tokens": room}
    group, _, _ = play(renderer, [[[WRONG, WRONG]], [[RIGHT]]], ["No." + "é" * 200, "No."], **settings)
    too_long, solved = group.rollouts
    assert too_long.status is RolloutStatus.PROMPT_TOO_LONG
    assert feedbacks(too_long) == ["No." + "é" * 200]
    assert solved.status is RolloutStatus.SOLVED
    tighter = {"max_new_tokens": limit, "max_tokens": room - 1}
    group, _, _ = play(renderer, [[[WRONG]]], ["No."], **tighter)
    assert only(group).status is RolloutStatus.PROMPT_TOO_LONG


def test_a_first_prompt_without_room_for_an_answer_is_the_users_error(renderer: Renderer) -> None:
    length = len(renderer.prompt(PROMPTS.first_turn(PROBLEM)))
    fits, policy, _ = make_collector(renderer, [[[RIGHT]]], max_new_tokens=20, max_tokens=length + 20)
    fits.collect([PROBLEM], 1, 1.0, 0)
    assert len(policy.calls) == 1
    too_long, policy, _ = make_collector(renderer, [[[RIGHT]]], max_new_tokens=20, max_tokens=length + 19)
    with pytest.raises(UserError, match=rf"train problem 0 has {length} prompt tokens.*rollout\.max_new_tokens=20"):
        too_long.collect([PROBLEM], 1, 1.0, 0)
    assert policy.calls == []


def test_sampling_follows_the_settings(renderer: Renderer) -> None:
    collector, policy, _ = make_collector(renderer, [[[WRONG]], [[WRONG]]], ["No."], max_new_tokens=33)
    collector.collect([PROBLEM], 1, 0.7, 0)
    assert [(sampling.max_tokens, sampling.temperature) for _, _, sampling, _ in policy.calls] == [(33, 0.7)] * 2


def test_every_turn_samples_with_a_seed_of_its_own_that_follows_from_the_seed_given(renderer: Renderer) -> None:
    def seeds(seed: int) -> list[int]:
        collector, policy, _ = make_collector(renderer, [[[WRONG]], [[WRONG]], [[WRONG]]], ["a", "b"], horizon=3)
        collector.collect([PROBLEM], 1, 1.0, seed)
        return [seed for _, _, _, (seed,) in policy.calls]

    assert seeds(1) == seeds(1)
    assert len({*seeds(1), *seeds(2)}) == 6


def test_an_episode_draws_the_same_whichever_of_the_others_go_on(renderer: Renderer) -> None:
    def second_turn_seeds(*attempts: str) -> list[int]:
        wrong = sum(attempt == WRONG for attempt in attempts)
        script = [[list(attempts)], [[WRONG]] * wrong]
        collector, policy, _ = make_collector(renderer, script, ["No."] * wrong)
        collector.collect([PROBLEM], len(attempts), 1.0, 7)
        return policy.calls[1][3]

    assert second_turn_seeds(WRONG, WRONG, WRONG)[2:] == second_turn_seeds(RIGHT, RIGHT, WRONG)


def test_an_attempts_control_tokens_are_no_part_of_its_text(renderer: Renderer) -> None:
    group, _, judge = play(renderer, [[["a <|end|> b"]], [[RIGHT]]], ["No."])
    assert only(group).turns[0].text == judge.requests[0].attempt == "a <|end|> b"
    assert only(group).turns[1].messages[1] == Message(role="assistant", content="a <|end|> b")
    assert only(group).turns[1].prompt_tokens.count(renderer.stop_tokens[0]) == 3
