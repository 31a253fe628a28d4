"""Training samples token by token: what a run writes down of them, and that writing it down changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import SMALL, jsonl, rltf
from helpers import chatml_tokenizer, floats, make_rollout, make_turn
from hypothesis import given
from hypothesis import strategies as st

from rltf.rollouts.samples import SampleRecorder
from rltf.runs.run import Run
from rltf.text.renderer import Renderer
from rltf.types import Answer, Query, RolloutGroup, TrainingSample


class Asked:
    """An engine that answers each token of a query with minus the length of its prompt; it remembers its queries."""

    def __init__(self) -> None:
        self.queries: list[Query] = []

    def __call__(self, queries: Sequence[Query]) -> list[Answer]:
        self.queries += queries
        return [
            Answer(logprobs_T=floats([-float(len(query.prompt_tokens))] * len(query.completion_tokens)))
            for query in queries
        ]


def sample(group: RolloutGroup, rollout: int, turn: int, component: str = "policy") -> TrainingSample:
    made = group.rollouts[rollout].turns[turn]
    length = len(made.completion.tokens)
    return TrainingSample(
        prompt_tokens=made.prompt_tokens,
        completion_tokens=made.completion.tokens,
        weights=floats([0.5] + [0.0] * (length - 1)),
        loss="cross_entropy",
        value=1.0,
        baseline=0.5,
        component=component,
        rollout=rollout,
        turn=turn,
    )


def recorder(renderer: Renderer, tokens: int, asked: Asked, max_tokens: int = 1000) -> SampleRecorder:
    return SampleRecorder(0, tokens, renderer, asked, max_tokens)


def two_turn_group() -> RolloutGroup:
    rollout = make_rollout(make_turn(0.0), make_turn(1.0, prompt=(1, 1, 2, 3), tokens=(5, 6), logprobs=[-0.5, -0.25]))
    return RolloutGroup(problem=rollout.problem, rollouts=[rollout])


def test_each_token_has_its_weight_and_how_likely_it_was_without_and_with_the_feedback(renderer: Renderer) -> None:
    group, asked = two_turn_group(), Asked()
    first, second = group.rollouts[0].turns
    samples = [sample(group, 0, 0), sample(group, 0, 1)]
    (record,) = recorder(renderer, 100, asked).records(7, [group], [samples], {})
    assert (record.step, record.group, record.task, record.problem) == (7, 0, group.problem.task, group.problem.index)
    attempt, revision = record.samples
    assert attempt.plain == pytest.approx(first.completion.logprobs.tolist(), abs=1e-3)
    assert attempt.feedback == [-float(len(second.prompt_tokens))] * len(first.completion.tokens)
    assert revision.feedback == pytest.approx(second.completion.logprobs.tolist(), abs=1e-3)
    assert revision.plain == [-float(len(first.prompt_tokens))] * len(second.completion.tokens)
    for kept, turn in ((attempt, first), (revision, second)):
        assert kept.own is None
        assert kept.weights == [0.5] + [0.0] * (len(turn.completion.tokens) - 1)
        assert (kept.value, kept.baseline, kept.component) == (1.0, 0.5, "policy")
    # What sampling has told is not asked again.
    assert {(query.prompt_tokens, query.completion_tokens) for query in asked.queries} == {
        (second.prompt_tokens, first.completion.tokens),
        (first.prompt_tokens, second.completion.tokens),
    }


def test_what_the_method_has_asked_is_not_asked_again_and_what_is_too_long_is_left_open(renderer: Renderer) -> None:
    group = two_turn_group()
    first, second = group.rollouts[0].turns
    samples = [sample(group, 0, 1)]
    query = Query(prompt_tokens=first.prompt_tokens, completion_tokens=second.completion.tokens)
    known = {query: Answer(logprobs_T=floats([-7.0] * len(second.completion.tokens)))}
    asked = Asked()
    (record,) = recorder(renderer, 100, asked).records(1, [group], [samples], known)
    assert record.samples[0].plain == [-7.0] * len(second.completion.tokens)
    assert not asked.queries
    (record,) = recorder(renderer, 100, asked, max_tokens=1).records(1, [group], [samples], {})
    assert record.samples[0].plain is None
    assert not asked.queries


def test_feedback_that_is_learned_has_the_log_probabilities_of_its_own_prompt(renderer: Renderer) -> None:
    group, asked = two_turn_group(), Asked()
    learned = replace(
        sample(group, 0, 0, "feedback"), prompt_tokens=(1, 2), completion_tokens=(3, 4, 5), weights=floats([1.0] * 3)
    )
    (record,) = recorder(renderer, 100, asked).records(1, [group], [[learned]], {})
    (kept,) = record.samples
    assert (kept.plain, kept.feedback, kept.own) == (None, None, [-2.0] * 3)


def test_what_a_teacher_said_is_kept(renderer: Renderer) -> None:
    rollout = make_rollout(make_turn(0.0, text="5"))
    group = RolloutGroup(problem=rollout.problem, rollouts=[rollout])
    length = len(rollout.turns[0].completion.tokens)
    taught = replace(sample(group, 0, 0), teacher_logprobs=floats([-3.0] * length))
    (record,) = recorder(renderer, 100, Asked()).records(1, [group], [[taught]], {})
    assert record.samples[0].feedback == [-3.0] * length


def test_groups_are_drawn_from_the_seed_until_there_are_enough_tokens(renderer: Renderer) -> None:
    groups = [two_turn_group() for _ in range(30)]
    samples = [[sample(group, 0, 0), sample(group, 0, 1)] for group in groups]
    each = sum(len(s.completion_tokens) for s in samples[0])

    def chosen(step: int, tokens: int) -> list[int]:
        return [r.group for r in recorder(renderer, tokens, Asked()).records(step, groups, samples, {})]

    assert chosen(1, 0) == []
    assert len(chosen(1, 1)) == 1
    assert len(chosen(1, 3 * each)) == 3
    assert len(chosen(1, 10_000)) == 30
    assert chosen(1, 3 * each) == chosen(1, 3 * each)
    assert len({tuple(chosen(step, 3 * each)) for step in range(20)}) > 10
    assert recorder(renderer, 100, Asked()).records(1, [groups[0]], [[]], {}) == []


@given(st.text())
def test_the_pieces_of_tokens_make_their_text(text: str) -> None:
    tokenizer = chatml_tokenizer()
    renderer = Renderer(tokenizer, [tokenizer.eos_token_id])
    tokens = renderer.completion(text)
    pieces = recorder(renderer, 1, Asked()).pieces(tokens)
    assert len(pieces) == len(tokens)
    assert "".join(pieces) == renderer.with_controls(tokens)


def test_a_run_records_some_samples_and_trains_alike_without(tiny_model: Path, tmp_path: Path) -> None:
    model = f"engine.model={tiny_model}"
    for tokens in (0, 500):
        rltf(
            "train",
            *SMALL,
            model,
            "objective.name=rltf_sd_fm",
            f"records.tokens={tokens}",
            "--run-dir",
            f"run-{tokens}",
            cwd=tmp_path,
        )
    without, kept = (tmp_path / f"run-{tokens}" for tokens in (0, 500))
    for name in ("metrics.jsonl", "rollouts.jsonl", "evaluations.jsonl"):
        assert (without / name).read_bytes() == (kept / name).read_bytes()
    assert not (without / "samples.jsonl").exists()
    assert list(Run.open(without).samples()) == []
    rollouts = {(r.step, r.group, r.rollout): r for r in Run.open(kept).rollouts()}
    records = list(Run.open(kept).samples())
    assert {record.step for record in records} == {row["step"] for row in jsonl(kept / "metrics.jsonl")}
    for record in records:
        for one in record.samples:
            turn = rollouts[record.step, record.group, one.rollout].turns[one.turn]
            told = one.own if one.component == "feedback" else one.plain
            assert told is not None
            assert len(one.tokens) == len(one.weights) == len(told)
            assert turn.weights[one.component].weight == pytest.approx(next(w for w in one.weights if w), rel=1e-3)
