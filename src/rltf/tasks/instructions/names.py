"""The constraints of IFEval and of the sets made for training on it, by their names there, as kinds of ours.

IFEval: Zhou et al., arXiv 2311.07911. RLVR-IFeval names the functions that check (`verify_keywords`), IF-RLVR's sets
(Pyatkin et al., arXiv 2507.02833) have some names of their own beside IFEval's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from rltf.tasks.instructions.kinds import Kind, make
from rltf.tasks.instructions.kinds.whole import known_languages

Arguments: TypeAlias = Mapping[str, Any]
_Read: TypeAlias = Callable[[Arguments], dict[str, Any]]
_CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


class Unchecked(ValueError):
    """A constraint that no kind of ours checks, with its name."""


def _counted(kind: str, number: str, relation: str | None, **fixed: Any) -> _Read:
    """A kind with a number and a relation, where `less than 5` is at most 4."""

    def read(given: Arguments) -> dict[str, Any]:
        count, said = _whole(given[number]), "exactly" if relation is None else given.get(relation)
        match said or "at least":
            case "less than":
                count, said = count - 1, "at most"
            case "more than":
                count, said = count + 1, "at least"
            case "at least" | "at most" | "exactly" as same:
                said = same
            case "equal to":
                said = "exactly"
            case other:
                raise Unchecked(f"with the relation {other!r}")
        own = "times" if kind in ("word_times", "letter_times") else "number"
        return {"kind": kind, own: count, "relation": said, **fixed}

    return read


def _with(read: _Read, **renamed: str) -> _Read:
    """The same with more arguments, by their names of ours and theirs."""
    return lambda given: {**read(given), **{own: given[theirs] for own, theirs in renamed.items()}}


def _plain(kind: str, fixed: Arguments | None = None, **renamed: str) -> _Read:
    """A kind whose arguments have other names there."""
    return lambda given: {"kind": kind, **(fixed or {}), **{own: given[theirs] for own, theirs in renamed.items()}}


def _listed(kind: str, theirs: str) -> _Read:
    return lambda given: {"kind": kind, "words": [given[theirs]] if isinstance(given[theirs], str) else given[theirs]}


def _whole(value: Any) -> int:
    number = value
    with suppress(ValueError):
        number = int(value) if isinstance(value, str) else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"{value!r:.60} is no whole number")
    return number


def _options(given: Arguments) -> Any:
    """RLVR-IFeval writes them as one text: "yes/no/maybe", "a), b), c), d)", "I know or I don't know"."""
    options = given.get("options") or _CHOICES
    return re.split(r"\s*/\s*|,\s*|\s+or\s+", options.strip()) if isinstance(options, str) else options


def _language(code: Any) -> Any:
    if isinstance(code, str) and code not in known_languages():
        raise Unchecked(f"with the language {code!r}")
    return code


_NAMES: dict[str, _Read] = {
    "keywords:existence": _listed("use_words", "keywords"),
    "keywords:word_once": _listed("use_words", "keyword"),
    "keywords:frequency": _with(_counted("word_times", "frequency", "relation"), word="keyword"),
    "keywords:word_count_different_numbers": _with(_counted("word_times", "frequency", "relation"), word="keyword"),
    "keywords:forbidden_words": _listed("avoid_words", "forbidden_words"),
    "keywords:exclude_word_harder": _listed("avoid_words", "keyword"),
    "keywords:letter_frequency": _with(_counted("letter_times", "let_frequency", "let_relation"), letter="letter"),
    "keywords:start_end": _plain("same_ends"),
    "letters:letter_counting": _counted("letter_count", "N", "relation"),
    "letters:letter_counting2": _with(_counted("letter_times", "let_frequency", "let_relation"), letter="letter"),
    "language:response_language": lambda given: {"kind": "language", "language": _language(given["language"])},
    "length_constraints:number_words": _counted("word_count", "num_words", "relation"),
    "length_constraints:number_sentences": _counted("sentence_count", "num_sentences", "relation"),
    "length_constraints:number_paragraphs": _counted("paragraph_count", "num_paragraphs", None, divider="stars"),
    "length_constraints:nth_paragraph_first_word": _plain(
        "paragraph_first_word", paragraphs="num_paragraphs", paragraph="nth_paragraph", word="first_word"
    ),
    "paragraphs:paragraphs": _plain("paragraph_count", {"number": 2, "divider": "stars"}),
    "paragraphs:paragraphs2": _plain("paragraph_count", {"number": 2, "divider": "blank"}),
    "detectable_content:number_placeholders": _plain("placeholders", number="num_placeholders"),
    "detectable_content:postscript": _plain("postscript", marker="postscript_marker"),
    "detectable_format:number_bullet_lists": _counted("bullet_list", "num_bullets", None),
    "detectable_format:constrained_response": lambda given: {"kind": "one_of_answers", "answers": _options(given)},
    "detectable_format:number_highlighted_sections": _plain("highlights", number="num_highlights"),
    "detectable_format:multiple_sections": lambda given: {
        "kind": "sections",
        "mark": str(given["section_spliter"]).strip(),
        "number": _whole(given["num_sections"]),
    },
    "detectable_format:json_format": _plain("json"),
    "detectable_format:title": _plain("title"),
    "combination:two_responses": _plain("two_answers"),
    "combination:repeat_prompt": _plain("repeat_first", repeated="prompt_to_repeat"),
    "copy:copying_simple": _plain("copies", {"times": 1}, repeated="prompt_to_repeat"),
    "copy:copying_multiple": _plain("copies", repeated="prompt_to_repeat", times="N"),
    "startend:end_checker": _plain("end_with", phrase="end_phrase"),
    "startend:quotation": _plain("quotation"),
    "first_word:first_word_answer": _plain("first_word", word="first_word"),
    "first_word:first_word_sent": _plain("every_sentence_begins", word="first_word"),
    "last_word:last_word_answer": _plain("last_word", word="last_word"),
    "last_word:last_word_sent": _plain("every_sentence_ends", word="last_word"),
    "change_case:capital_word_frequency": _counted("capital_words", "capital_frequency", "capital_relation"),
    "change_case:english_capital": _plain("uppercase"),
    "change_case:english_lowercase": _plain("lowercase"),
    "punctuation:no_comma": _plain("avoid_sign", {"sign": ","}),
    "punctuation:punctuation_dot": _plain("avoid_sign", {"sign": "."}),
    "punctuation:punctuation_exclamation": _plain("avoid_sign", {"sign": "!"}),
}

_FUNCTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "verify_keywords": ("keywords:existence", {"keyword_list": "keywords"}),
    "verify_keyword_frequency": ("keywords:frequency", {"word": "keyword", "N": "frequency"}),
    "validate_forbidden_words": ("keywords:forbidden_words", {}),
    "verify_letter_frequency": ("keywords:letter_frequency", {"N": "let_frequency"}),
    "validate_response_language": ("language:response_language", {}),
    "verify_paragraph_count": ("length_constraints:number_paragraphs", {"N": "num_paragraphs"}),
    "validate_word_constraint": ("length_constraints:number_words", {"N": "num_words", "quantifier": "relation"}),
    "verify_sentence_constraint": (
        "length_constraints:number_sentences", {"N": "num_sentences", "quantifier": "relation"}
    ),
    "validate_paragraphs": (
        "length_constraints:nth_paragraph_first_word", {"N": "num_paragraphs", "i": "nth_paragraph"}
    ),
    "verify_postscript": ("detectable_content:postscript", {}),
    "validate_placeholders": ("detectable_content:number_placeholders", {"N": "num_placeholders"}),
    "verify_bullet_points": ("detectable_format:number_bullet_lists", {"N": "num_bullets"}),
    "validate_title": ("detectable_format:title", {}),
    "validate_choice": ("detectable_format:constrained_response", {}),
    "validate_highlighted_sections": ("detectable_format:number_highlighted_sections", {"N": "num_highlights"}),
    "validate_sections": (
        "detectable_format:multiple_sections", {"N": "num_sections", "section_splitter": "section_spliter"}
    ),
    "validate_json_format": ("detectable_format:json_format", {}),
    "validate_repeat_prompt": ("combination:repeat_prompt", {"original_prompt": "prompt_to_repeat"}),
    "validate_two_responses": ("combination:two_responses", {}),
    "validate_uppercase": ("change_case:english_capital", {}),
    "validate_lowercase": ("change_case:english_lowercase", {}),
    "validate_frequency_capital_words": (
        "change_case:capital_word_frequency", {"N": "capital_frequency", "quantifier": "capital_relation"}
    ),
    "validate_end": ("startend:end_checker", {}),
    "validate_quotation": ("startend:quotation", {}),
    "validate_no_commas": ("punctuation:no_comma", {}),
}  # fmt: skip
"""RLVR-IFeval's functions: IFEval's name, and what their arguments are called there where that differs."""
_EXACT_THERE = {"verify_keyword_frequency", "verify_letter_frequency"}
"""Functions that compare with their number itself, without a relation."""

KNOWN_NAMES = tuple(_NAMES)
"""The names that have a kind."""


def kind_of(name: str, given: Arguments) -> Kind:
    """The constraint of ours. Raises `Unchecked` where none checks it, ValueError where its arguments are wrong."""
    if name not in _NAMES:
        raise Unchecked(name)
    # Tables on a hub give each constraint all arguments of any, those that are not its own as null.
    arguments = {key: value for key, value in given.items() if value is not None}
    try:
        return make(_NAMES[name](arguments))
    except KeyError as error:
        raise ValueError(f"{name}: has no argument {error.args[0]}") from None
    except Unchecked as error:
        raise Unchecked(f"{name} {error}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None


def kind_of_function(name: str, given: Arguments) -> Kind:
    """The same for a constraint that RLVR-IFeval names by the function that checks it."""
    if name not in _FUNCTIONS:
        raise Unchecked(name)
    known, renamed = _FUNCTIONS[name]
    arguments = {renamed.get(key, key): value for key, value in given.items()}
    if name in _EXACT_THERE:
        arguments |= {"relation": "exactly", "let_relation": "exactly"}
    return kind_of(known, arguments)
