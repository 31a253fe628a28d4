from __future__ import annotations

from helpers import make_group, make_rollout, make_turn

from rltf.rollouts.monitors import PATIENCE, WINDOW, cannot_learn, collapse, leaked_share, sampler_gap


def history(first: list[float], second: list[float] | None = None, malformed: float = 0.0) -> list[dict[str, float]]:
    steps: list[dict[str, float]] = []
    for number, accuracy in enumerate(first):
        step = {"accuracy/first_turn": accuracy, "rollout/malformed": malformed, "rollout/reached_first_turn": 1.0}
        if second is not None:
            step |= {"accuracy/second_turn": second[number], "rollout/reached_second_turn": 1.0}
        steps.append(step)
    return steps


def test_a_run_that_learns_gives_no_alarm() -> None:
    rising = [i / 50 for i in range(50)]
    assert all(collapse(history(rising[:n], rising[:n])) is None for n in range(50))


def test_an_accuracy_that_falls_below_half_of_its_best_is_an_alarm() -> None:
    fallen = [0.8] * 20 + [0.3] * WINDOW
    assert collapse(history([0.8] * 20 + [0.3] * (WINDOW - 3))) is None
    assert collapse(history(fallen)) == "accuracy of first attempts has fallen from 80 % to 30 %"
    assert collapse(history([0.5] * 30, fallen)) == "accuracy of second attempts has fallen from 80 % to 30 %"


def test_chance_hits_are_no_skill_to_lose() -> None:
    assert collapse(history([0.24] * 20 + [0.0] * 20)) is None


def test_a_turn_that_nobody_reaches_any_more_has_not_collapsed() -> None:
    steps = history([0.9] * 40, [0.8] * 40)
    for step in steps[25:]:
        del step["accuracy/second_turn"]
    assert collapse(steps) is None


def test_the_few_hard_problems_that_are_left_for_second_attempts_are_no_collapse() -> None:
    steps = history([0.5] * 20 + [0.9] * 20, [0.9] * 25 + [0.3] * 15)
    for step in steps[20:]:
        step["rollout/reached_second_turn"] = 0.1
    assert all(collapse(steps[:n]) is None for n in range(len(steps) + 1))
    for step in steps[20:]:
        step["rollout/reached_second_turn"] = 0.5
    assert collapse(steps) == "accuracy of second attempts has fallen from 90 % to 30 %"


def test_attempts_that_are_mostly_malformed_are_an_alarm_at_once() -> None:
    assert collapse(history([0.0] * (WINDOW - 1), malformed=0.9)) is None
    assert collapse(history([0.0] * WINDOW, malformed=0.9)) == "90 % of the attempts of the last 10 steps are malformed"


def test_feedback_leaks_where_a_first_attempt_holds_one_of_its_sentences() -> None:
    said = "Row 1 is wrong. Too small."
    clean = make_rollout(make_turn(0.0, text="Too small. 1 2 3", feedback=said))
    leaking = make_rollout(make_turn(0.0, text="Well, Row 1 is wrong. 1 2 3"))
    assert leaked_share([make_group(clean, leaking)]) == 0.5
    # Only first attempts count: a later one has seen the feedback.
    later = make_rollout(make_turn(0.0, text="1", feedback=said), make_turn(0.0, text=said))
    assert leaked_share([make_group(later)]) == 0.0
    assert leaked_share([make_group(make_rollout(make_turn(1.0)))]) == 0.0
    # Marks on an answer's cells are no sentence, though an answer may hold the same digits.
    marked = make_rollout(make_turn(0.0, text="0 1 0 0\n2 2 1 0", feedback="0 1 0 0\n0 0 0 2"))
    assert leaked_share([make_group(marked)]) == 0.0


def step(**figures: float) -> dict[str, float]:
    usual = {"rollout/truncated": 0.1, "samples/total": 8.0, "samples/too_long": 0.0, "optim/grad_norm": 0.5}
    return {**usual, "accuracy/first_turn": 0.2, **{name.replace("__", "/"): value for name, value in figures.items()}}


def test_a_usual_beginning_gives_no_alarm() -> None:
    steps = [step(optim__grad_norm=norm) for norm in (0.1, 2.0, 0.4, 5.0, 0.3)]
    assert all(cannot_learn(steps[: n + 1]) is None for n in range(len(steps)))


def test_attempts_that_are_all_cut_are_an_alarm_at_the_first_step() -> None:
    assert cannot_learn([step(rollout__truncated=0.9)]) is None
    reason = cannot_learn([step(rollout__truncated=1.0)])
    assert reason == "every attempt was cut at the token limit: raise rollout.max_new_tokens"
    # Where attempts fitted before, the limit is not to blame.
    reason = cannot_learn([step(rollout__truncated=0.02), step(rollout__truncated=1.0)])
    assert reason is not None
    assert "2 % were before: the policy no longer ends its answers; lower trainer.learning_rate" in reason


def test_steps_without_a_sample_are_an_alarm_unless_all_is_learned() -> None:
    nothing = step(samples__total=0.0)
    assert cannot_learn([nothing] * (PATIENCE - 1)) is None
    assert cannot_learn([nothing, step(), *[nothing] * (PATIENCE - 1)]) is None
    reason = cannot_learn([step(), *[nothing] * PATIENCE])
    assert reason is not None
    assert "in no group" in reason
    assert cannot_learn([step(samples__total=0.0, accuracy__first_turn=1.0)] * PATIENCE) is None
    reason = cannot_learn([step(samples__total=0.0, samples__too_long=4.0)] * PATIENCE)
    assert reason is not None
    assert "longer than the model's context" in reason


def test_a_gradient_far_from_its_median_is_an_alarm() -> None:
    steps = [step(optim__grad_norm=0.5)] * PATIENCE
    assert cannot_learn([*steps, step(optim__grad_norm=49.0)]) is None
    assert cannot_learn([*steps, step(optim__grad_norm=60.0)]) == (
        "the gradient's norm, 60, is 120 times its median: lower trainer.learning_rate"
    )
    # Nothing is usual yet, or no sample was trained.
    assert cannot_learn([*steps[1:], step(optim__grad_norm=60.0)]) is None
    without = {name: value for name, value in step().items() if name != "optim/grad_norm"}
    assert cannot_learn([*steps, without]) is None


def test_a_gap_between_sampler_and_trainer_is_an_alarm_beyond_the_tolerance() -> None:
    assert sampler_gap({}, 0.0) is None
    assert sampler_gap({"policy/sampler_gap": 0.2}, 0.2) is None
    reason = sampler_gap({"policy/sampler_gap": 0.3}, 0.2)
    assert reason is not None
    assert reason.startswith("sampler and trainer differ by 0.3 nats a token")
