"""Prompts with constraints from files in IFEval's form and in those of the sets made for training on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rltf.config.load import configure
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.tasks.instructions.names import KNOWN_NAMES, Unchecked, kind_of, kind_of_function
from rltf.tasks.instructions.rows import InstructionRows
from rltf.tasks.instructions.witness import build
from rltf.tasks.validate import validate
from rltf.types import Problem

IFEVAL = Path(__file__).parent / "data" / "instructions" / "ifeval.jsonl"


def task(source: Path | str, **changes: Any) -> InstructionRows:
    given = {"task.name": "ifeval", "task.train": str(source), **{f"task.{k}": v for k, v in changes.items()}}
    built = build_task(configure(changes=given).task)
    assert isinstance(built, InstructionRows)
    return built


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def problems(built: InstructionRows) -> dict[str, Problem]:
    found = [built.problem(split, i) for split in ("train", "validation", "test") for i in range(built.size(split))]
    return {problem.prompt: problem for problem in found}


def test_ifevals_rows_become_problems_and_what_cannot_be_checked_is_named() -> None:
    built = task(IFEVAL, validation_size=1, test_size=1)
    found = problems(built)
    assert len(found) == 7
    assert built.unchecked == {"count:count_increment_word": 1}
    assert str(built.left_out) == "1 with constraints that cannot be checked: count:count_increment_word (1)"
    two = found["Name three seas. Use fewer than 3 sentences."]
    assert built.score(two, "The North Sea. The Baltic.").correct
    wrong = "One. Two. Three."
    assert built.feedback(two, wrong, built.score(two, wrong), "located") == (
        "Your answer has 3 sentences; it must have at most 2."
    )
    assert [kind.name for kind in found["Say hello with the keywords sun and rain."].metadata["said"]] == [
        "use_words",
        "lowercase",
    ]
    assert found["Say hello with the keywords sun and rain."].kinds == ("use_words", "lowercase")


def test_answers_that_meet_all_constraints_are_built_where_they_can_be() -> None:
    built = task(IFEVAL, validation_size=1, test_size=1)
    found = problems(built)
    without = {prompt for prompt, problem in found.items() if not problem.answer}
    # No text in Bengali comes along; a postscript is the end, and so the end cannot be another phrase.
    assert without == {"In Bengali, please.", "End politely."}
    for problem in found.values():
        if problem.answer:
            assert built.score(problem, problem.answer).correct
            assert not any(built.score(problem, text).correct for text in built.perturbations(problem, None))  # type: ignore[arg-type]
    failed = {check.name: check.failures for check in validate(built, 10) if not check.passed}
    assert len(failed["each gold answer is one that an attempt can give"]) == 2


def test_partial_reward_is_the_share_that_is_met() -> None:
    built = task(IFEVAL, validation_size=1, test_size=1, partial_reward=True)
    problem = problems(built)["Say hello with the keywords sun and rain."]
    assert [built.score(problem, text).reward for text in ("sun, rain", "Sun, rain", "sun", "Sun")] == [1, 0.5, 0, 0]


def test_rlvr_ifevals_rows_name_functions(tmp_path: Path) -> None:
    def row(question: str, name: str, **arguments: Any) -> dict[str, Any]:
        empty = {"N": None, "quantifier": None, "keyword_list": None, "word": None, "letter": None}
        truth = json.dumps({"func_name": name, **empty, **arguments})
        return {"messages": [{"role": "user", "content": question}], "ground_truth": truth, "dataset": "ifeval"}

    rows = [
        row("a", "verify_keywords", keyword_list=["sun"]),
        row("b", "validate_word_constraint", N=3, quantifier="at most"),
        row("c", "verify_keyword_frequency", word="sun", N=2),
        row("d", "validate_word_constraint", N=3, quantifier="around"),
        row("e", "validate_choice", options=["yes", "no"]),
        row("f", "validate_something"),
    ]
    built = task(written(tmp_path / "rows.jsonl", rows), validation_size=1, test_size=1)
    said = {prompt: problem.metadata["said"][0] for prompt, problem in problems(built).items()}
    assert (said["b"].number, said["b"].relation) == (3, "at most")
    assert (said["c"].times, said["c"].relation) == (2, "exactly")
    assert said["e"].answers == ("yes", "no")
    assert built.unchecked == {
        "length_constraints:number_words with the relation 'around'": 1,
        "validate_something": 1,
    }


def test_rows_with_several_constraints_as_python_writes_them(tmp_path: Path) -> None:
    truth = (
        "[{'instruction_id': ['keywords:word_once', 'copy:copying_multiple'], 'kwargs': [{'keyword': 'sun'}, None]}]"
    )
    bad = written(tmp_path / "bad.jsonl", [{"messages": [{"role": "user", "content": "a"}], "ground_truth": truth}])
    with pytest.raises(UserError, match="line 1: copy:copying_multiple: has no argument prompt_to_repeat"):
        task(bad).size("train")
    truth = truth.replace("None", "{'prompt_to_repeat': 'Hi.', 'N': 2}").replace(
        "keywords:word_once", "punctuation:no_comma"
    )
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}], "ground_truth": truth}
        for text in ("one", "two", "three")
    ]
    built = task(written(tmp_path / "rows.jsonl", rows), validation_size=1, test_size=1)
    assert built.score(problems(built)["one"], "Hi.\n******\nHi.").correct


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "a"}, "has no field ground_truth"),
        ({"prompt": "a", "instruction_id_list": [], "kwargs": []}, "names no constraint"),
        ({"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "as many kwargs as names"),
        ({"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": ["x"]}, "'x' is no JSON"),
        ({"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": ["[1]"]}, "must be objects"),
        (
            {"prompt": "a", "instruction_id_list": ["length_constraints:number_words"], "kwargs": [{"num_words": []}]},
            "length_constraints:number_words: [] is no whole number",
        ),
        (
            {"prompt": "a", "instruction_id_list": ["length_constraints:number_words"], "kwargs": [{"num_words": 3.7}]},
            "length_constraints:number_words: 3.7 is no whole number",
        ),
        (
            {
                "prompt": "a",
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": float("inf")}],
            },
            "length_constraints:number_words: inf is no whole number",
        ),
        (
            {
                "prompt": "a",
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": "9" * 6_000}],
            },
            "is no whole number",
        ),
        ({"prompt": "a", "instruction_id_list": 5}, "names of constraints must be a list"),
        ({"prompt": "a", "instruction_id_list": {"a": 1}, "kwargs": [{}]}, "names of constraints must be a list"),
        ({"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": "x"}, ": kwargs: 'x' is no JSON"),
        ({"prompt": "a", "ground_truth": "{[1]: 2}"}, ": ground_truth: '{[1]: 2}' is no JSON"),
        (
            {"prompt": "a", "instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": {"a": 1}}]},
            "keywords:existence: use_words: words: Input should be a list",
        ),
        (
            {"prompt": "a", "instruction_id_list": ["language:response_language"], "kwargs": [{"language": "xx"}]},
            "holds no prompt whose constraints can be checked: language:response_language with the language 'xx' (1)",
        ),
        ({"prompt": "a", "ground_truth": "__import__('os')"}, "is no JSON"),
        ({"prompt": "a", "ground_truth": "[[1]]"}, "must hold constraints"),
        (
            {"prompt": "a", "instruction_id_list": ["count:x"], "kwargs": [{}]},
            "holds no prompt whose constraints can be checked: count:x (1)",
        ),
        ({"messages": "hi", "ground_truth": "{}"}, "must be a list of messages"),
        (
            {
                "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
                "ground_truth": '{"func_name": "validate_title"}',
            },
            "must be one question",
        ),
    ],
)
def test_a_bad_row_is_one_clear_line(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        task(written(tmp_path / "rows.jsonl", [row])).size("train")
    assert says in str(error.value)
    assert str(error.value).count("rows.jsonl") == 1 and "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_rows_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"rows.jsonl: holds no rows$"):
        task(tmp_path / "rows.jsonl").size("train")


def test_whole_numbers_are_read_as_tables_write_them() -> None:
    for written_as in (5, 5.0, "5"):
        kind = kind_of("length_constraints:number_words", {"num_words": written_as, "relation": "at least"})
        assert kind.model_dump() == {"number": 5, "relation": "at least"}


ARGUMENTS: dict[str, Any] = {
    "keywords": ["a"], "keyword": "a", "frequency": 2, "relation": "less than", "forbidden_words": ["b"], "letter": "c",
    "let_frequency": 3, "let_relation": "at least", "N": 2, "language": "de", "num_words": 9, "num_sentences": 2,
    "num_paragraphs": 2, "nth_paragraph": 1, "first_word": "so", "last_word": "so", "num_placeholders": 1,
    "postscript_marker": "P.S.", "num_bullets": 2, "num_highlights": 1, "section_spliter": "Section", "num_sections": 2,
    "prompt_to_repeat": "Hi.", "end_phrase": "Bye.", "capital_frequency": 2, "capital_relation": "at least",
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN_NAMES)
def test_every_known_name_becomes_a_kind(name: str) -> None:
    assert kind_of(name, ARGUMENTS).phrases()


@pytest.mark.parametrize(
    ("name", "arguments", "right", "wrong"),
    [
        ("verify_paragraph_count", {"N": 2}, "One.\n* * *\nTwo.", "One.\n\nTwo."),
        ("verify_postscript", {"postscript_marker": "PS:"}, "Yes.\n\nPS: Soon.", "Yes. PSS: Soon."),
        ("verify_postscript", {"postscript_marker": "Before I forget:"}, "A.\nBefore I forget: B.", "Before I forget"),
        ("verify_postscript", {"postscript_marker": "P.P.S"}, "Yes. P.P.S. Soon.", "Yes. P.S. Soon."),
        ("validate_choice", {"options": "yes/no/maybe"}, "No.", "I know."),
        ("validate_choice", {"options": "a), b), c), d)"}, "c)", "e)"),
        ("validate_choice", {"options": "I know or I don't know"}, "I don't know.", "Or not."),
        ("validate_sections", {"N": 2, "section_splitter": "Part:"}, "Part: 1\nA.\nPart: 2\nB.", "Part: 1\nA."),
    ],
)
def test_what_rlvr_ifeval_asks_for_is_right(name: str, arguments: dict[str, Any], right: str, wrong: str) -> None:
    kind = kind_of_function(name, arguments)
    assert kind.fault(right) == ""
    assert kind.fault(wrong)
    answer = build([kind], Random(0))
    assert answer is not None and kind.fault(kind.spoil(answer))


def test_a_language_that_cannot_be_told_leaves_its_row_out(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Say {n}", "instruction_id_list": ["language:response_language"], "kwargs": [{"language": code}]}
        for n, code in enumerate(("de", "fr", "es", "sw"))
    ]
    built = task(written(tmp_path / "rows.jsonl", rows), validation_size=1, test_size=1)
    assert len(problems(built)) == 3
    assert built.unchecked == {"language:response_language with the language 'sw'": 1}


def test_less_than_is_one_fewer_at_most_and_an_unknown_name_is_told() -> None:
    assert kind_of("length_constraints:number_words", {"num_words": 5, "relation": "less than"}).model_dump() == {
        "number": 4,
        "relation": "at most",
    }
    with pytest.raises(Unchecked, match="count:count_unique"):
        kind_of("count:count_unique", {})
    with pytest.raises(ValueError, match="keywords:existence: has no argument keywords"):
        kind_of_function("verify_keywords", {})
