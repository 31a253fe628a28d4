"""What the page of a run is made of: counting, choosing, reading on, and one safe file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, rltf
from helpers import make_evaluation
from hypothesis import given
from hypothesis import strategies as st
from report_runs import append, attempt, fill_run, make_run, metrics, rollout, sample

from rltf.cli.report import report_command
from rltf.config import RunConfig
from rltf.config.flat import differing, flat_settings, not_default
from rltf.report.build import SIZE, report
from rltf.report.digest import Digest
from rltf.report.findings import findings
from rltf.report.groups import grouped
from rltf.report.live import Live
from rltf.report.page import embedded, page
from rltf.report.reading import Follower, Shrunk
from rltf.report.shown import Shown, bytes_on_page, clipped, notable, shown_group, shown_samples
from rltf.report.tally import MOST_BINS, Tally, outcome
from rltf.rollouts.records import FeedbackRecord, GroupSamples, RolloutRecord
from rltf.runs.directory import RunDir
from rltf.support.errors import UserError

OLD_RUN = Path(__file__).parent / "data" / "version_0_1"
RIGHT, WRONG = attempt("2", 1.0), attempt("3", 0.0, feedback="Too large.")


def one(*turns: Any, step: int = 1, group: int = 0, index: int = 0, problem: int = 0) -> RolloutRecord:
    return rollout(step, group, index, *turns, problem=problem)


def tally_of(*records: RolloutRecord, steps: int = 10) -> Tally:
    tally = Tally(steps)
    for group in grouped(records):
        tally.add(group)
    return tally


def test_a_rollout_went_one_of_six_ways() -> None:
    unscored = RolloutRecord(task="toy", split="train", problem=0, status="score_failed", turns=(), step=1, turn=0)
    told = attempt("2", 1.0, feedback="Are you sure?")
    ways = [one(RIGHT), one(WRONG, RIGHT), one(WRONG, WRONG), one(told, WRONG), one(WRONG), unscored]
    assert [outcome(record) for record in ways] == ["right", "fixed", "wrong", "spoiled", "alone", "unscored"]
    # What counts is where it ends.
    assert outcome(one(WRONG, WRONG, RIGHT)) == "fixed"
    assert outcome(one(told, WRONG, RIGHT)) == "right"


def test_groups_end_where_their_records_say_so_or_the_count_begins_again() -> None:
    def unscored(group: int | None) -> RolloutRecord:
        return RolloutRecord(
            task="toy", split="train", problem=0, status="score_failed", turns=(), step=1, turn=0, group=group
        )

    for named in (True, False):
        records = [
            rollout(1, 0 if named else None, 0, RIGHT),
            rollout(1, 0 if named else None, 1, RIGHT),
            unscored(0 if named else None),
            rollout(1, 1 if named else None, 0, RIGHT),  # the same problem once more
            rollout(1, 2 if named else None, 0, RIGHT, problem=4),
            rollout(2, 0 if named else None, 0, RIGHT, problem=4),
            rollout(2, 0 if named else None, 2, RIGHT, problem=4),
        ]
        found = [(group.step, group.number, len(group.rollouts)) for group in grouped(records)]
        assert found == [(1, 0, 3), (1, 1, 1), (1, 2, 1), (2, 0, 2)], named


def test_shares_are_counted_by_stretch_third_kind_and_feedback() -> None:
    late = [one(RIGHT, step=10, index=i) for i in range(2)]
    early = [one(WRONG, RIGHT, index=0), one(WRONG, WRONG, index=1), one(RIGHT, index=2)]
    figures = tally_of(*early, *late).figures()
    assert figures["rollouts"] == 5
    assert figures["first"][0][0] == pytest.approx(1 / 3, abs=1e-4)
    assert [mean is None for mean, _ in figures["first"]] == [False, *[True] * 8, False]
    assert figures["later"][0][0] == 0.5
    assert {name: sum(counts) for name, counts in figures["outcomes"].items() if sum(counts)} == {
        "right": 3, "fixed": 1, "wrong": 1,
    }  # fmt: skip
    (mistake,) = figures["mistakes"]
    assert (mistake["name"], mistake["made"], mistake["fixed"]) == ("3 of 16 cells are wrong.", [2, 0, 0], [1, 0, 0])
    feedback = figures["feedback"]
    assert (feedback["given"], feedback["revised"], feedback["repeated"]) == (3, 2, 1)
    assert feedback["sources"] == {"rules:located": {"example": "", "given": 3, "revised": 2, "fixed": 1}}


@pytest.mark.parametrize("steps", [1, 3, 5, 39, 40, 41, 90, 200])
def test_stretches_have_an_end_each_and_hold_the_steps_up_to_it(steps: int) -> None:
    tally = Tally(steps)
    ends = tally.ends()
    assert len(ends) == min(steps, MOST_BINS) == len(tally.figures()["first"])
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    for step in range(1, steps + 1):
        assert tally.bin(step) == next(place for place, end in enumerate(ends) if step <= end)


def test_a_short_run_shows_as_much_as_a_page_bears() -> None:
    records = [one(RIGHT, step=step, group=number, problem=number) for step in (1, 2) for number in range(20)]
    groups = list(grouped(records))
    size = sum(bytes_on_page(shown_group(group)) for group in groups)
    shown = Shown(seed=0, steps=2, size=int(1.1 * size), recorded=False)
    for group in groups:
        shown.add(group)
    assert len(shown.groups()) == 40


def test_the_axis_of_a_short_run_has_its_steps(tmp_path: Path) -> None:
    (data,) = report([fill_run(make_run(tmp_path / "run", steps=3), steps=3)])["runs"]
    assert data["axis"]["step"] == [1.0, 2.0, 3.0]
    assert [len(counts) for counts in data["tally"]["outcomes"].values()] == [3] * 6


def test_failures_are_counted_by_cause_and_feedback_that_holds_the_answer_is() -> None:
    failed = FeedbackRecord(source="llm", cause="timeout", failure="no answer within 60 s")
    stands_in = FeedbackRecord(source="llm", text="Try again.", cause="leak", failure="it told the answer")
    told = attempt("3", 0.0, feedback="It is 24, not 3.")
    records = [
        rollout(1, 0, 0, attempt("3", 0.0, feedback=failed), answer="24"),
        rollout(1, 0, 1, attempt("3", 0.0, feedback=stands_in), RIGHT, answer="24"),
        rollout(1, 0, 2, told, RIGHT, answer="24"),
    ]
    feedback = tally_of(*records).figures()["feedback"]
    assert feedback["causes"] == {"timeout": 1, "leak": 1}
    assert feedback["failures"]["timeout"] == "no answer within 60 s"
    assert (feedback["given"], feedback["told_answer"]) == (2, 1)


def test_questions_are_put_together_by_length_in_up_to_four_parts() -> None:
    records = [
        rollout(1, number, 0, attempt("2", float(number % 2), prompt="?" * (10 + number)), problem=number)
        for number in range(40)
    ]
    rows = [row for row in tally_of(*records).figures()["kinds"] if row["by"] == "tokens of the question"]
    assert [row["name"] for row in rows] == ["10 to 19", "20 to 29", "30 to 39", "40 to 49"]
    assert [sum(row["made"]) for row in rows] == [10] * 4


def test_a_log_s_first_attempts_are_not_the_policy_s() -> None:
    tally = Tally(10, logged=True)
    for group in grouped([one(WRONG, RIGHT)]):
        tally.add(group)
    figures = tally.figures()
    assert all(mean is None for mean, _ in figures["first"])
    assert figures["later"][0][0] == 1.0


def test_what_says_most_is_named() -> None:
    def names(*records: RolloutRecord) -> set[str]:
        return {name for group in grouped(records) for name in notable(group)}

    told = attempt("2", 1.0, feedback="Are you sure?")
    broken = attempt("?", 0.0, well_formed=False)
    failed = attempt("3", 0.0, feedback=FeedbackRecord(source="llm", cause="timeout", failure="late"))
    assert names(one(WRONG, RIGHT), one(WRONG, RIGHT, index=1)) == {"solved"}
    assert names(one(WRONG, RIGHT), one(RIGHT, index=1)) == set()
    assert names(one(WRONG, WRONG), one(WRONG, WRONG, index=1)) == {"unhelped"}
    assert names(one(told, WRONG)) == {"spoiled"}
    assert names(one(failed)) == {"failed"}
    assert names(one(broken)) == {"malformed"}


def test_a_page_holds_no_more_than_it_may_and_keeps_problems_at_all_their_steps(tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run", steps=200), steps=200)
    size = 120_000
    digest = Digest(RunDir.open(run), size=size)
    digest.advance()
    groups = digest.data()["groups"]
    # Those that say most come on top.
    drawn = [group for group in groups if not group.get("notable")]
    assert len(json.dumps(drawn)) < 1.1 * size
    assert len(drawn) > 40
    assert {group["step"] * 20 // 201 for group in groups} == set(range(20)), "from all over the run"
    assert sum(bool(group["samples"]) for group in drawn) > 10
    problems = [group["problem"] for group in drawn if not group["samples"]]
    assert len(set(problems)) < len(problems) / 3, "the draw goes by the problem"
    assert {name for group in groups for name in group.get("notable", ())} >= {"solved", "unhelped"}
    again = Digest(RunDir.open(run), size=size)
    again.advance()
    assert again.data() == digest.data()


def test_samples_of_one_completion_stand_together() -> None:
    both = [sample(0, 1, "policy"), sample(0, 1, "distillation"), sample(0, 0, "policy")]
    shown = shown_samples(GroupSamples(step=1, group=0, task="toy", problem=0, samples=both))
    assert [(each["turn"], [part["component"] for part in each["parts"]]) for each in shown] == [
        (1, ["policy", "distillation"]),
        (0, ["policy"]),
    ]
    assert shown[0]["parts"][0]["weights"] == [0.75, 0.75, 0.0]
    assert shown[0]["plain"] == [-1.0, -2.0, -3.0]


def test_long_texts_are_cut_in_their_middle() -> None:
    assert clipped("short") == "short"
    assert clipped(None) is None
    text = clipped("a" * 10_000 + "b" * 1_000_000 + "z" * 3)
    assert text is not None
    assert len(text) < 6_000
    assert text.startswith("aaa")
    assert text.endswith("zzz")
    assert "characters are left out here" in text
    assert clipped("half a pair: \ud83d") == "half a pair: ?"


def test_a_growing_file_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    follower = Follower(path, lambda values: values["n"])
    assert list(follower.until(9)) == []
    path.write_text('{"step": 1, "n": 10}\n{"step": 2, "n": 20}\n{"step": 3, "n": 30}\n{"step": 3, "n"')
    assert list(follower.until(2)) == [10, 20]
    assert list(follower.until(9)) == [30]
    with path.open("a") as file:
        file.write(': 31}\n{"step": 4}\n')
    reading = follower.until(9)
    assert next(reading) == 31
    with pytest.raises(KeyError):
        next(reading)
    path.write_text("")
    with pytest.raises(Shrunk):
        list(follower.until(9))


@pytest.mark.parametrize("line", ["no JSON", "[]", '{"n": 1}', "3", '{"step": 1, "n": NaN}'])
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run", steps=2), steps=2)
    rows = (run / "rollouts.jsonl").read_text().splitlines()
    (run / "rollouts.jsonl").write_text("\n".join([rows[0], line, *rows[1:]]) + "\n")
    with pytest.raises(UserError, match=r"rollouts\.jsonl, line 2: is no record of a run"):
        report([run])


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused_where_it_stands(number: str, tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run", steps=2), steps=2)
    text = (run / "metrics.jsonl").read_text().replace('"tokens/sampled": 100.0', f'"tokens/sampled": {number}')
    (run / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"run/metrics\.jsonl, line 1: is "):
        report([run])


def test_a_damaged_file_of_a_run_is_named_once(tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run", steps=2), steps=2)
    (run / "summary.json").write_text("{}")
    with pytest.raises(UserError) as damaged:
        report([run])
    assert str(damaged.value).count("is damaged") == 1
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"colour": 1}))
    with pytest.raises(UserError, match=r"run/config\.json: .*colour"):
        report([run])


def test_a_run_that_goes_on_is_read_on_to_what_a_fresh_reading_finds(tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run", steps=40), steps=40)
    whole = {name: (run / name).read_text() for name in ("rollouts.jsonl", "samples.jsonl", "metrics.jsonl")}
    rows = {name: text.splitlines(keepends=True) for name, text in whole.items()}
    digest = Digest(RunDir.open(run), size=100_000)
    for done in (0, 7, 8, 31, 40):
        for name, lines in rows.items():
            # The run's own files are ahead of its metrics, which say what is complete.
            ahead = 0 if name == "metrics.jsonl" else 1
            (run / name).write_text("".join(line for line in lines if json.loads(line)["step"] <= done + ahead))
        digest.advance()
        assert digest.data()["done"] == done
    fresh = Digest(RunDir.open(run), size=100_000)
    fresh.advance()
    assert fresh.data() == digest.data()
    assert not digest.advance()


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_data_in_the_page_is_read_back_and_cannot_end_its_block(value: Any) -> None:
    block = embedded({"value": value})
    begin, end = '<script type="application/json" id="data">', "</script>"
    assert block.startswith(begin)
    assert block.endswith(end)
    inner = block[len(begin) : -len(end)]
    assert not set(inner) & set("<>&\u2028\u2029")
    assert json.loads(inner) == {"value": value}


def test_half_a_pair_of_a_surrogate_in_any_text_costs_no_page_and_no_earlier_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=2)
    half = "wrong \ud83d order"
    failed = FeedbackRecord(source=half, cause="timeout", failure=half)
    turns = [attempt(half, 0.0, prompt=half, feedback=half, explanation=half), attempt("3", 0.0, feedback=failed)]
    append(run / "rollouts.jsonl", [rollout(1, 0, i, *turns, task=half, answer=half) for i in range(3)])
    append(run / "metrics.jsonl", [metrics(1)])
    report_command([run], None)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "wrong ? order" in text
    assert not list(run.glob("*.tmp"))
    _, live = Live([run]).data(0)
    assert "wrong ? order" in (live or "").encode().decode()
    (run / "metrics.jsonl").write_text("no JSON\n")
    with pytest.raises(UserError):
        report_command([run], None)
    assert (run / "report.html").read_text(encoding="utf-8") == text


def test_a_page_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run", steps=2), steps=2)
    mine = tmp_path / "notes.html"
    mine.write_text("<!doctype html><title>Notes</title>")
    for kept in (run / "rollouts.jsonl", run / "config.json", mine):
        before = kept.read_bytes()
        with pytest.raises(UserError, match="exists and is no report"):
            report_command([run], kept)
        assert kept.read_bytes() == before
    with pytest.raises(UserError, match="among a run's records"):
        report_command([run], run / "summary.json")
    with pytest.raises(UserError, match="there is no directory"):
        report_command([run], tmp_path / "none" / "page.html")
    for _ in range(2):
        report_command([run], tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 100_000


def test_the_page_runs_its_own_scripts_alone_and_fetches_nothing(tmp_path: Path) -> None:
    text = page(report([fill_run(make_run(tmp_path / "run"))]))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        allowed = set(rules[rule].split())
        inner = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = {f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in inner}
        assert digests == allowed
        assert "unsafe" not in rules[rule]
    text = re.sub(r'<script type="application/json".*?</script>', "", text)
    # Nothing but the names of a namespace and of the library's home.
    known = {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}
    assert set(re.findall(r"https?://[\w./-]+", text)) <= known
    assert not re.search(r"<(link|img|iframe|script)[^>]+(src|href)=", text)


@pytest.mark.parametrize("run", [OLD_RUN], ids=["version 0.1"])
def test_older_runs_have_a_page(run: Path) -> None:
    (data,) = report([run])["runs"]
    assert data["tally"]["rollouts"] == 8
    assert data["rollouts_shown"] == 9, "one attempt has no score"
    assert data["cost"]["summary"]["steps"] == 2
    assert all(not group["samples"] for group in data["groups"])


def test_runs_differ_in_what_they_differ() -> None:
    assert differing([{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}]) == ["b", "c"]
    flat = flat_settings(RunConfig())
    assert not_default(flat) == {}
    assert not_default(flat | {"seed": "3", "task.own": "x"}) == {"seed": "0", "task.own": "none such"}
    assert (flat["seed"], flat["objective.name"], flat["evaluation.judge"]) == ("0", "rltf_sd", "none")


def said(*, done: int = 30, **given: Any) -> list[str]:
    parts: dict[str, Any] = {"metrics": [], "evaluations": [], "tally": Tally(30), "alarms": [], **given}
    config = RunConfig()
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update={"steps": 30})})
    return [f"{each['tone']}: {each['text']}" for each in findings(config, done=done, **parts)]


def test_the_words_say_what_was_learned_and_no_more() -> None:
    def learned(before: float, after: float) -> str:
        records = [make_evaluation(0, "test", before), make_evaluation(30, "test", after)]
        return said(evaluations=records)[0]

    assert learned(0.1, 0.9).startswith("good: Right first attempts on test problems, without feedback: 10.0 % before")
    assert learned(0.9, 0.1).startswith("bad: ")
    assert learned(0.5, 0.5) == (
        "note: Right first attempts on test problems, without feedback: 50.0 % before, 50.0 % after step 30. The "
        "difference is within the intervals."
    )
    assert said(done=3) == ["note: 3 of 30 steps are done."]


def test_the_words_say_why_a_run_collapsed() -> None:
    # The gap of a run in float32: rounding alone, whatever multiple of the usual it is.
    usual = {"accuracy__first_turn": 0.8, "policy__entropy": 0.5, "policy__sampler_gap": 4e-7}
    broken = {"accuracy__first_turn": 0.1, "policy__entropy": 4.0, "policy__sampler_gap": 8e-7}
    rows = [metrics(step, **usual, optim__learning_rate=0.001) for step in range(1, 21)]
    rows += [
        metrics(step, **broken, optim__learning_rate=0.02, rollout__malformed=0.9, alarm__collapse=step > 25)
        for step in range(21, 31)
    ]
    alarms = [{"step": 26, "until": 30, "reason": "accuracy of first attempts has fallen from 80 % to 38 %"}]
    (words,) = [line for line in said(metrics=rows, alarms=alarms) if "Alarm" in line]
    assert words.startswith("bad: Alarm at step 26: accuracy of first attempts has fallen from 80 % to 38 %.")
    assert "From the best stretch (steps 1 to 3) to the alarm" in words
    assert "attempts without a readable answer 0% to 90%" in words
    assert "entropy 0.5 to 4" in words
    assert "learning rate 0.001 to 0.02" in words
    assert "gap" not in words


def test_the_words_say_where_feedback_helped_and_where_not() -> None:
    told = attempt("2", 1.0, feedback="Are you sure?")
    failed = attempt("3", 0.0, feedback=FeedbackRecord(source="llm", cause="timeout", failure="late"))
    vague = attempt("3", 0.0, feedback="Hm.")
    records = [one(WRONG, RIGHT, index=i) for i in range(40)] + [one(vague, WRONG, index=40 + i) for i in range(40)]
    records += [one(told, WRONG, index=80), one(failed, index=81)]
    lines = said(tally=tally_of(*records))
    assert any(line.startswith("good: In training, 50.0 % of 80 wrong first attempts") for line in lines)
    assert "bad: Right attempts that became wrong after feedback: 1." in lines
    assert any(
        line.startswith("bad: Failures of feedback: 1, beside 122 that were given (timeout 1).") for line in lines
    )
    assert any("50.0 %" not in line and "“Hm.” helped least: 0.0 % of 40" in line for line in lines)
    assert any(line.startswith("bad: 49.4 % of the revisions say again what the attempt had said") for line in lines)


def test_feedback_is_held_against_trying_again_without_any() -> None:
    def helped(fixed: int) -> str:
        """Ten groups with a right first attempt and three wrong ones, of which so many in all were mended."""
        left, records = fixed, []
        for group in range(10):
            records.append(one(RIGHT, group=group, index=0))
            for index in (1, 2, 3):
                records.append(one(WRONG, RIGHT if left > 0 else WRONG, group=group, index=index))
                left -= 1
        return next(line for line in said(tally=tally_of(*records)) if "In training" in line)

    assert "which saw no feedback, 33.3 % were right" in helped(20)
    assert helped(20).startswith("good: ")
    assert helped(10).startswith("bad: ")
    assert helped(10).endswith("this feedback helped no more than trying again.")


def test_the_command_makes_a_page_of_a_run_of_several_and_of_none(tiny_model: Path, tmp_path: Path) -> None:
    model = f"engine.model={tiny_model}"
    rltf("train", *SMALL, model, "objective.name=rltf_sd_fm", "--run-dir", "a", cwd=tmp_path)
    rltf("train", *SMALL, model, "seed=1", "--run-dir", "b", cwd=tmp_path)
    assert "wrote a/report.html" in rltf("report", "a", cwd=tmp_path).stdout
    text = (tmp_path / "a" / "report.html").read_text()
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    (run,) = json.loads(block)["runs"]
    assert (run["done"], run["tally"]["rollouts"], run["finished"]) == (2, 8, True)
    assert any(group["samples"] for group in run["groups"])
    assert "wrote report.html" in rltf("report", "a", "b", cwd=tmp_path).stdout
    (block,) = re.findall(r'id="data">(.*?)</script>', (tmp_path / "report.html").read_text())
    assert {"seed", "objective.name"} <= set(json.loads(block)["differing"])
    for wrong, message in (("none", "none: is no run directory"), ("a/model", "a/model/config.json: is damaged")):
        assert message in rltf("report", wrong, cwd=tmp_path, status=2).stderr
    assert "is a directory; name a file" in rltf("report", "a", "--out", "b", cwd=tmp_path, status=2).stderr


def test_a_comparison_has_its_arms_and_an_unfinished_one_its_runs(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    for arm in ("grpo", "rltf_sd"):
        for seed in (0, 1):
            settings = [f"seed={seed}", f"objective.name={arm}"]
            fill_run(make_run(folder / f"{arm}-seed{seed}", settings=settings), seed=seed)
    unfinished = report([folder])
    assert [run["name"] for run in unfinished["runs"]] == ["grpo-seed0", "grpo-seed1", "rltf_sd-seed0", "rltf_sd-seed1"]
    assert unfinished["comparison"] is None
    outcome = {"title": "Both", "baseline": "grpo", "seeds": [0, 1], "arms": {"grpo": {}, "rltf_sd": {}}}
    (folder / "outcome.json").write_text(json.dumps(outcome))
    finished = report([folder])
    assert (finished["title"], finished["comparison"]) == ("Both", outcome)
    assert finished["runs"] == unfinished["runs"]
    assert {"seed", "objective.name"} <= set(finished["differing"])
    shutil.rmtree(folder / "grpo-seed1")
    (folder / "rltf_sd-seed0" / "metrics.jsonl").write_text("no JSON\n")
    lessened = report([folder])
    assert [run["name"] for run in lessened["runs"]] == ["grpo-seed0", "rltf_sd-seed1"]
    for run in lessened["runs"]:
        missing, damaged = (each["text"] for each in run["findings"][:2])
        assert "grpo-seed1: is no run directory" in missing
        assert "rltf_sd-seed0/metrics.jsonl, line 1: is no record" in damaged
    with pytest.raises(UserError, match="is no record"):
        report([folder / "grpo-seed0", folder / "rltf_sd-seed0"])
    for left in ("grpo-seed0", "rltf_sd-seed1"):
        (folder / left / "metrics.jsonl").write_text("no JSON\n")
    with pytest.raises(UserError, match=r"grpo-seed0/metrics\.jsonl, line 1"):
        report([folder])
    (folder / "outcome.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        report([folder])


@pytest.mark.parametrize("sign", ["a", "<", "語", "\x1b"])
def test_a_page_is_below_five_megabytes_whatever_its_texts_are_made_of(sign: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=300)
    fill_run(run, steps=300, text=lambda text: text + sign * 800)
    text = page(report([run]))
    assert 0.8 * SIZE < len(text.encode()) < 5_000_000


def test_a_run_without_a_step_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (data,) = report([run])["runs"]
    assert (data["done"], data["groups"], data["evaluations"]) == (0, [], [])
    append(run / "evaluations.jsonl", [make_evaluation(0, "test", 0.1)])
    assert report([run])["runs"][0]["evaluations"][0]["first"][0] == 0.1


def test_alarms_of_every_kind_are_stretches_with_their_reasons(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=6)
    usual = {"rollout__truncated": 0.1, "samples__total": 4.0, "samples__too_long": 0.0}
    cut, gap = {"rollout__truncated": 1.0, "alarm__cannot_learn": 1.0}, {"policy__sampler_gap": 0.5}
    rows = [usual, usual | cut, usual | cut | gap | {"alarm__sampler_gap": 1.0}, usual, usual | cut, usual]
    append(run / "metrics.jsonl", [metrics(step, **row) for step, row in enumerate(rows, start=1)])
    digest = Digest(RunDir.open(run), size=100_000)
    digest.advance()
    found = digest.data()["alarms"]
    assert [(alarm["step"], alarm["until"]) for alarm in found] == [(2, 3), (3, 3), (5, 5)]
    assert found[0]["reason"].startswith("every attempt was cut")
    assert found[1]["reason"].startswith("sampler and trainer differ by 0.5 nats")
