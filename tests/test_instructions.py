"""Answers under constraints: every kind against graded pairs, and problems that can be solved."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rltf.config.load import configure
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.tasks.base import FeedbackLevel
from rltf.tasks.instructions import Instructions
from rltf.tasks.instructions.kinds import KINDS, Kind, as_table, make
from rltf.tasks.instructions.problems import draw, drawable, fewest_beside
from rltf.tasks.instructions.text import sentences, words
from rltf.tasks.instructions.witness import build
from rltf.tasks.validate import validate
from rltf.types import Problem, Split

DATA = Path(__file__).parent / "data" / "instructions"
LEVELS: tuple[FeedbackLevel, ...] = get_args(FeedbackLevel)
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"difficulty": "medium", "min_constraints": 2, "max_constraints": 3},
    {"difficulty": "hard", "min_constraints": 1, "max_constraints": 4, "partial_reward": True},
    {"unsaid": 2},
    {"unsaid": 4, "style_seed": 3, "max_constraints": 4, "difficulty": "medium", "style_feedback": "both"},
)
each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=range(len(VARIANTS)))


def task(**changes: Any) -> Instructions:
    sizes = {"train_size": 40, "validation_size": 20, "test_size": 20}
    config = configure(changes={"task.name": "instructions", **{f"task.{k}": v for k, v in (sizes | changes).items()}})
    built = build_task(config.task)
    assert isinstance(built, Instructions)
    return built


def problems(of: Instructions) -> list[Problem]:
    splits: tuple[Split, ...] = get_args(Split)
    return [of.problem(split, index) for split in splits for index in range(of.size(split))]


def test_problems_name_the_kinds_of_constraint_that_they_ask_for() -> None:
    for problem in problems(task(max_constraints=3, unsaid=2)):
        assert problem.kinds == tuple(kind.name for kind in problem.metadata["said"])
        assert problem.kinds


def graded_pairs() -> dict[str, list[tuple[dict[str, Any], str, bool]]]:
    pairs: dict[str, list[tuple[dict[str, Any], str, bool]]] = defaultdict(list)
    for line in (DATA / "by_hand.jsonl").read_text().splitlines():
        row = json.loads(line)
        met, broken = row.pop("met"), row.pop("broken")
        pairs[row["kind"]] += [(row, text, text in met) for text in (*met, *broken)]
    for line in (DATA / "made.jsonl").read_text().splitlines():
        row = json.loads(line)
        text, met = row.pop("text"), row.pop("met")
        pairs[row["kind"]].append((row, text, met))
    return pairs


PAIRS = graded_pairs()


def test_every_kind_has_pairs_of_both_sorts_and_there_are_enough() -> None:
    assert set(PAIRS) == set(KINDS)
    assert sum(map(len, PAIRS.values())) >= 600
    for name, pairs in PAIRS.items():
        assert {met for _, _, met in pairs} == {True, False}, name


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_checker_agrees_with_the_graded_pairs(name: str) -> None:
    wrong = [(row, text) for row, text, met in PAIRS[name] if (not make(row).fault(text)) != met]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kind_is_asked_for_and_said_to_be_broken_in_plain_sentences(name: str) -> None:
    for row, text, met in PAIRS[name]:
        kind = make(row)
        assert make(as_table(kind)) == kind
        for phrase in kind.phrases():
            assert phrase and not phrase.endswith(".") and not phrase[0].isupper()
        if not met:
            fault = kind.fault(text)
            assert fault.endswith(".") and fault[0] in 'YTSIAP"LC' and "\n" not in fault, fault


def test_made_pairs_come_from_their_script() -> None:
    import instruction_pairs

    made = [{**row, "text": text, "met": met} for row, text, met in instruction_pairs.pairs(Random(7))]
    kept = [json.loads(line) for line in (DATA / "made.jsonl").read_text().splitlines()]
    assert all(row in made for row in kept)


def test_there_are_thirty_kinds_and_more_to_draw_and_harder_ones_come_later() -> None:
    easy, medium, hard = (set(drawable(difficulty)) for difficulty in (1, 2, 3))
    assert easy < medium < hard
    assert len(hard) >= 30


@pytest.mark.parametrize("name", drawable(3))
def test_a_drawn_constraint_can_be_met_and_its_spoiled_answer_breaks_it(name: str) -> None:
    met = 0
    for seed in range(30):
        kind = KINDS[name].draw(Random(seed), 3)
        assert kind is not None
        asking = [kind] if kind.lays_out or "prose" in kind.forms else [make(LAYOUTS[min(kind.forms)]), kind]
        answer = build(asking, Random(seed))
        if answer is None:
            # Of one word, not every length is there; all else can be met.
            assert name == "answer_letters"
            continue
        met += 1
        assert not kind.fault(answer)
        assert kind.fault(kind.spoil(answer)), (answer, kind.spoil(answer))
    assert met >= 3


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "use_words", "words": ["Thing"]},
        {"kind": "word_times", "word": "thing", "times": 2, "relation": "at least"},
        {"kind": "adjacent_words", "first": "a\\q", "second": "\\1"},
        {"kind": "first_word", "word": "indeed"},
        {"kind": "last_word", "word": "indeed"},
        {"kind": "begin_with", "phrase": "Indeed"},
        {"kind": "end_with", "phrase": "indeed"},
        {"kind": "every_sentence_begins", "word": "Indeed"},
        {"kind": "every_sentence_ends", "word": "is"},
        {"kind": "every_sentence_ends", "word": "indeed"},
        {"kind": "one_of_answers", "answers": ["Indeed.", "No."]},
        {"kind": "repeat_first", "repeated": "Indeed."},
        {"kind": "rhyme", "ending": "d", "lines": 1},
        {"kind": "json_object", "keys": ["thing"]},
        {"kind": "json_object", "keys": ["caf\u00e9", 'a "b"']},
        {"kind": "avoid_letter", "letter": "\u00e9"},
    ],
    ids=str,
)
def test_an_answer_can_be_spoiled_whatever_the_constraint_speaks_of(row: dict[str, Any]) -> None:
    kind = make(row)
    answer = build([kind], Random(0))
    if row["kind"] == "rhyme":
        answer = "He came with a bird"
    assert answer is not None and not kind.fault(answer)
    assert kind.fault(kind.spoil(answer)), kind.spoil(answer)


def test_both_ends_are_spoiled_by_another_word() -> None:
    kind = make({"kind": "same_ends"})
    assert not kind.fault("Indeed it is, indeed.")
    assert kind.fault(kind.spoil("Indeed it is, indeed."))


LAYOUTS: dict[str, dict[str, Any]] = {
    "bullets": {"kind": "bullet_list", "number": 3},
    "name": {"kind": "one_word_of", "category": "animal", "letter": "c"},
}


@each_variant
def test_every_problem_has_an_answer_that_scores_one_and_neighbours_that_do_not(variant: dict[str, Any]) -> None:
    built = task(**variant)
    for problem in problems(built):
        score = built.score(problem, built.write_answer(problem.answer))
        assert (score.reward, score.correct, score.well_formed) == (1.0, True, True)
        spoiled = list(built.perturbations(problem, Random(0)))
        assert len(spoiled) == len(built.constraints(problem))
        for text in spoiled:
            assert built.score(problem, text).reward < 1.0
            assert not built.score(problem, text).correct


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    difficulty=st.integers(1, 3),
    numbers=st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda pair: (min(pair), max(pair))),
)
def test_whatever_is_drawn_can_be_met_at_once(seed: int, difficulty: int, numbers: tuple[int, int]) -> None:
    draft = draw(Random(seed), drawable(difficulty), numbers, difficulty)
    if draft is None:
        return
    assert numbers[0] <= len(draft.said) <= numbers[1]
    assert not any(kind.fault(draft.answer) for kind in draft.said)
    assert any(kind.anchored for kind in draft.said)
    assert len({kind.group or kind.name for kind in draft.said}) == len(draft.said)
    for kind in draft.said:
        assert any(phrase in draft.question for phrase in kind.phrases())


@pytest.mark.parametrize(
    "pair",
    [
        ({"kind": "use_words", "words": ["eel"]}, {"kind": "avoid_letter", "letter": "e"}),
        ({"kind": "word_count", "number": 2}, {"kind": "use_words", "words": ["a", "b", "c"]}),
        ({"kind": "uppercase"}, {"kind": "lowercase"}),
        ({"kind": "bullet_list", "number": 2}, {"kind": "numbered_list", "number": 2}),
        ({"kind": "sentence_count", "number": 1}, {"kind": "paragraph_count", "number": 2}),
        ({"kind": "use_words", "words": ["no"]}, {"kind": "avoid_words", "words": ["no"]}),
    ],
)
def test_contradictions_are_found(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert build([make(one) for one in pair], Random(0)) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "sentence_count", "number": 5_000},
        {"kind": "sentence_count", "number": 100_000},
        {"kind": "word_count", "number": 20_000},
        {"kind": "word_count", "number": 100_000, "relation": "at least"},
        {"kind": "letter_times", "letter": "q", "times": 100_000},
    ],
)
def test_a_large_number_takes_no_long_time(asked: dict[str, Any]) -> None:
    start = time.process_time()
    answer = build([make(asked)], Random(0))
    assert time.process_time() - start < 5
    assert answer is None or not make(asked).fault(answer)


@each_variant
def test_the_task_is_sound(variant: dict[str, Any]) -> None:
    assert [check for check in validate(task(**variant), 12) if not check.passed] == []


def test_the_same_settings_give_the_same_problems_and_wordings_vary() -> None:
    one, again, other = task(), task(), task(data_seed=1)
    assert [p.prompt for p in problems(one)] == [p.prompt for p in problems(again)]
    assert not {p.prompt for p in problems(one)} & {p.prompt for p in problems(other)}
    asked = {p.prompt for p in problems(task(kinds=["word_count", "use_words"], train_size=200))}
    assert {
        form for form in ("use the", "include the", "contain the", "have the") if any(form in p for p in asked)
    } == {
        "use the",
        "include the",
        "contain the",
        "have the",
    }


def test_the_number_of_constraints_and_their_kinds_are_settings() -> None:
    built = task(min_constraints=3, max_constraints=3, kinds=["use_words", "lowercase", "avoid_sign"])
    said = [{kind.name for kind in problem.metadata["said"]} for problem in problems(built)]
    assert all(names == {"use_words", "lowercase", "avoid_sign"} for names in said)
    assert all(len(problem.metadata["said"]) == 1 for problem in problems(task(max_constraints=1)))


def test_the_difficulty_says_which_kinds_are_drawn() -> None:
    for difficulty, level in (("easy", 1), ("medium", 2), ("hard", 3)):
        built = task(difficulty=difficulty, train_size=150)
        drawn = {kind.difficulty for problem in problems(built) for kind in problem.metadata["said"]}
        assert drawn == set(range(1, level + 1))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kinds": ["table"]}, "task.kinds: 'table' is not drawn at task.difficulty=easy; raise task.difficulty"),
        ({"kinds": ["rhymes"]}, "task.kinds: 'rhymes' is not drawn at task.difficulty=easy; known: "),
        ({"kinds": ["word_count", "question"]}, "task.kinds: question, word_count: any text meets such constraints"),
        (
            {"kinds": ["use_words", "question"], "max_constraints": 1},
            "task.kinds: question is asked beside others alone; set task.max_constraints=2 or more, or remove it",
        ),
        (
            {"kinds": ["question"], "unsaid": 1, "max_constraints": 1},
            "task.kinds: question is asked behind the word that a house style's questions ask for; "
            "set task.max_constraints=2 or more",
        ),
        (
            {"kinds": ["use_words", "bullet_list"], "unsaid": 1},
            "bullet_list is never asked with this house",
        ),
        (
            {"kinds": ["use_words", "begin_with"], "style": [{"kind": "first_word", "word": "so"}]},
            "task.kinds: begin_with is never asked with this house style",
        ),
        (
            {"kinds": ["use_words", "item_length"]},
            "task.kinds: item_length is never asked alone; add one of bullet_list, comma_list, numbered_list",
        ),
        (
            {"kinds": ["use_words", "bullet_list", "item_length"]},
            "task.kinds: item_length is asked beside others alone; set task.max_constraints=3 or more",
        ),
        (
            {"kinds": ["use_words"], "min_constraints": 2},
            "task.min_constraints=2: of task.kinds no more than 1 can be asked at once",
        ),
        ({"min_constraints": 3}, "min_constraints=3 is above max_constraints=2"),
        ({"style_seed": 1}, "style_seed draws the rules that unsaid asks for"),
        ({"style_feedback": "both"}, "style_feedback is read where there is a house style"),
        ({"unsaid": 1, "style": [{"kind": "question"}]}, "remove one of the two"),
        ({"style": [{"kind": "use_word"}]}, "task.style.0: kind 'use_word' is unknown; known: acrostic, "),
        (
            {"style": [{"kind": "use_words", "words": []}]},
            "use_words: words: List should have at least 1",
        ),
        ({"style": [{"kind": "use_words", "words": "a"}]}, "task.style.0: use_words: words: Input should be a list"),
        ({"style": [{"kind": ["use_words"], "words": ["a"]}]}, "task.style.0: kind ['use_words'] is unknown; known: "),
        ({"style": {"kind": "question"}}, "task.style: is a list; write what it holds between [ and ]"),
        ({"style": [{"kind": "question"}, {"kind": "lowercase", "sign": 1}]}, "task.style.1: lowercase: sign: "),
        ({"style": [{"kind": "uppercase"}, {"kind": "lowercase"}]}, "task.style: no answer was found that meets all"),
    ],
)
def test_wrong_settings_are_one_clear_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        task(**changes)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize("name", drawable(3))
def test_a_kind_that_was_named_is_refused_or_asked_for(name: str, styled: bool) -> None:
    kinds = sorted({"use_words", name, *(["bullet_list"] if "bullets" in KINDS[name].forms else [])})
    style = [make({"kind": "avoid_words", "words": ["so"]})] if styled else []
    needed = fewest_beside(name, kinds, 3, style)
    if styled and name == "word_initials":  # Hardly a word for the thing in question fits its letter.
        return
    for most in (1, 2, 3):
        drafts = [draw(Random(seed), kinds, (1, most), 3, style) for seed in range(150)]
        asked = any(kind.name == name for draft in drafts if draft is not None for kind in draft.said)
        assert asked is (needed is not None and needed <= most)


def test_a_style_that_no_question_can_be_asked_with_is_refused() -> None:
    built = task(style=[{"kind": "language", "language": "de"}])
    with pytest.raises(UserError, match="task: no problem can be made with these settings; widen them"):
        built.problem("test", 0)


STYLE = [{"kind": "use_words", "words": ["please", "team"]}, {"kind": "avoid_words", "words": ["sorry"]}]


def test_a_house_style_is_told_by_feedback_alone_as_a_lesson() -> None:
    built = task(style=STYLE, max_constraints=1)
    for problem in problems(built):
        assert "please" not in words(problem.prompt) and "team" not in words(problem.prompt)
    problem = built.problem("train", 0)
    (said,) = problem.metadata["said"]
    attempt = f"We are sorry about the {said.words[0]}, please wait."
    score = built.score(problem, attempt)
    assert (score.reward, score.correct) == (0.0, False)
    assert built.feedback(problem, attempt, score, "located") == (
        'Every answer must use the words "please" and "team". Every answer must do without the word "sorry".'
    )
    assert built.feedback(problem, attempt, score, "count") == "2 of 3 requirements are not met."
    assert built.feedback(problem, attempt, score, "correctness") == "Your previous answer was incorrect."
    for form, text in (
        ("fault", 'You did not use the word "team". You used the word "sorry".'),
        (
            "both",
            'You did not use the word "team". Every answer must use the words "please" and "team". '
            'You used the word "sorry". Every answer must do without the word "sorry".',
        ),
    ):
        other = task(style=STYLE, max_constraints=1, style_feedback=form)
        assert other.feedback(other.problem("train", 0), attempt, score, "located") == text


def test_a_drawn_style_is_the_same_for_all_problems_and_another_for_another_seed() -> None:
    styles = {tuple(rule.phrases()[0] for rule in task(unsaid=4, style_seed=seed).style) for seed in (0, 0, 1, 2)}
    assert len(styles) == 3
    assert [rule.name for rule in task(unsaid=4).style] == ["use_words", "begin_with", "end_with", "avoid_words"]
    assert task(unsaid=4).style[:2] == task(unsaid=2).style


def test_feedback_names_each_fault_and_not_what_would_be_right() -> None:
    said = [
        make({"kind": "use_words", "words": ["lantern"]}),
        make({"kind": "word_count", "number": 7}),
        make({"kind": "last_word", "word": "sea"}),
    ]
    problem = Problem(
        task="instructions", split="train", index=0, prompt="?", answer="", metadata={"said": tuple(said)}
    )
    built = task()
    text = "The lamp shines out over the cold dark water."
    assert built.feedback(problem, text, built.score(problem, text), "located") == (
        'You did not use the word "lantern". Your answer has 9 words; it must have exactly 7. '
        'The last word is "water", not "sea".'
    )
    assert built.score(problem, text).explanation == (
        'use_words: You did not use the word "lantern".; '
        "word_count: Your answer has 9 words; it must have exactly 7.; "
        'last_word: The last word is "water", not "sea".'
    )


def test_a_share_of_the_constraints_earns_a_share_of_the_reward_but_not_what_any_text_meets() -> None:
    style = [{"kind": "use_words", "words": ["team"]}, {"kind": "avoid_sign", "sign": ","}, {"kind": "no_digits"}]
    built, whole = task(style=style, partial_reward=True, max_constraints=1), task(style=style, max_constraints=1)
    problem = built.problem("test", 0)
    (said,) = problem.metadata["said"]
    texts = {"Hello there": 0.0, "Hello, team": 0.5, "Our team": 0.75, f"Our team has a {said.words[0]}": 1.0, "": 0.0}
    assert {text: built.score(problem, text).reward for text in texts} == texts
    assert {text: whole.score(problem, text).reward for text in texts} == {t: float(r == 1) for t, r in texts.items()}


GARBAGE = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(["the", "*", "- ", "1. ", "|", "---", "<<", "[", "]", "\n\n", "******", "{", '"', "é", "P.S."])
    ).map("".join),
)


@settings(max_examples=60, deadline=None)
@given(text=GARBAGE)
@example("\ud800")
@example("1" * 5000)
@example("[" * 5000)
@example("*" * 3000)
def test_any_text_is_checked_without_an_error(text: str) -> None:
    for name, pairs in PAIRS.items():
        for row in {json.dumps(row): row for row, _, _ in pairs}.values():
            assert isinstance(make(row).fault(text), str), name
    built = task(difficulty="hard", max_constraints=4)
    problem = built.problem("test", 0)
    score = built.score(problem, text)
    for level in LEVELS:
        assert built.feedback(problem, text, score, level).strip()


@pytest.mark.parametrize("frame", ["{}", "```{}", "{}x"])
@pytest.mark.parametrize(
    "piece", ["<<a", " ", "a. ", "| - ", "*a", "[", "- \n", "Section ", "(", "\n", "1. ", "?", '"', " \n", "."]
)
def test_a_long_attempt_takes_no_long_time_to_check(piece: str, frame: str) -> None:
    kinds = {name: make(pairs[0][0]) for name, pairs in PAIRS.items()}
    text = frame.format(piece * (20_000 // len(piece)))
    start = time.process_time()
    for kind in kinds.values():
        kind.fault(text)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ('```json\n{"a": 1}\n```', True),
        ("\n``` \n\n[1,\n2]\n\n ```\n", True),
        ("```\n```", False),
        ("```", False),
        ("```json\n5\n", False),
        ("```5```", False),
        ("5\n```", False),
        ("[1,\n2]", True),
    ],
)
def test_json_may_stand_in_a_block_of_code(text: str, sound: bool) -> None:
    assert (make({"kind": "json"}).fault(text) == "") is sound


def test_sentences_and_words_are_cut_as_people_cut_them() -> None:
    assert sentences('Dr. A. Hill paid $3.50. "Why?" he asked. No...') == [
        "Dr. A. Hill paid $3.50.",
        '"Why?" he asked.',
        "No...",
    ]
    hindi = ["\u092f\u0939", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u0948"]
    assert words(" ".join(hindi)) == hindi
    assert words("Don't—well-lit, 3rd \u2018day\u2019!") == ["Don't", "well-lit", "3rd", "day"]


def test_the_documentation_lists_every_kind_with_its_difficulty() -> None:
    text = (Path(__file__).parent.parent / "docs" / "instructions.md").read_text()
    rows = {
        line.split("`")[1]: [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `") and line.count("|") == 5
    }
    assert set(rows) == set(KINDS)
    for name, (_, _, since, anchored) in rows.items():
        kind = KINDS[name]
        drawn = kind.draw(Random(0), kind.difficulty) is not None
        assert since == (("easy", "medium", "hard")[kind.difficulty - 1] if drawn else "files alone")
        assert (anchored == "yes") == kind.anchored


def test_kinds_say_what_is_wrong_with_their_arguments() -> None:
    with pytest.raises(ValueError, match=r"json_object: 2 keys have 1 types"):
        make({"kind": "json_object", "keys": ["a", "b"], "types": ["text"]})
    with pytest.raises(ValueError, match=r"avoid_letter: letter: "):
        make({"kind": "avoid_letter", "letter": "."})
    with pytest.raises(ValueError, match=r"one_word_of: category: .*'fish' is no category; known: fruit, "):
        make({"kind": "one_word_of", "category": "fish", "letter": "a"})
    assert all(issubclass(kind, Kind) for kind in KINDS.values())
