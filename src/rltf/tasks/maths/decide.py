"""Verdicts that the texts of two answers decide, and the order in which the forms of answers are tried.

No part of it evaluates more than a plain number, so it may run on any text in the process of the task.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeAlias

from rltf.tasks.maths.compounds import compound_of, same_compounds
from rltf.tasks.maths.parts import is_integer, parted, tidy, without_brackets, without_marks
from rltf.tasks.maths.quantities import clock_time, is_same, quantity_of, units_agree
from rltf.tasks.maths.structure import (
    Congruence,
    Listing,
    based,
    choice,
    choices,
    congruence,
    in_one_variable,
    listing,
    named_value,
    same_listings,
)
from rltf.tasks.maths.units import number_word, same_words
from rltf.tasks.maths.values import is_point_for_set, numeral_of, shape_of

Verdict: TypeAlias = Literal["equal", "different", "unreadable", "not worked out"]
Leaf: TypeAlias = Callable[[str, str], bool]
"""Whether two formulas are equal in value."""

_DEEPEST = 30
"""Brackets in one another that an answer may have; the parser takes seconds for a hundred."""
_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|[ '\-])*")
_SMALL_WORDS = frozenset({"a", "an", "the", "is", "it", "there", "are"})
_SYNONYMS = {
    **dict.fromkeys(("no solutions", "no solution exists", "no solutions exist", "empty set"), "no solution"),
    **dict.fromkeys(("dne", "doesn't exist", "limit does not exist", "do not exist"), "does not exist"),
}
_POWER_OF_TEN = re.compile(r"10\s*\^\s*(?:\{\s*-?\d{1,3}\s*\}|\d)")
_SAID_OF = re.compile(r"(?:[a-zA-Z]|\\[a-zA-Z])[^=<>]*=(?=[^=<>]+$)")
_RELATION = re.compile(r"[=<>]|\\(?:l[et]|leq|g[et]|geq|ne|neq|in)(?![a-zA-Z])")
_INDIAN = re.compile(r"([-+]?)(\d{1,2}(?:,\d{2})+,\d{3})")


class _UndecidedError(Exception):
    """The texts alone decide nothing."""


def decide(answer: str, gold: str, leaf: Leaf | None = None) -> Verdict | None:
    """The verdict on an answer. Without `leaf`, which compares formulas, None where it is needed."""
    given, wanted = _normal(answer), _normal(gold)
    if given == wanted or _same_but_for_spaces(given, wanted):
        return "equal"
    if is_integer(given) and is_integer(wanted) and max(len(given), len(wanted)) < 1000:
        return "equal" if int(given) == int(wanted) else "different"
    if _depth(answer) > _DEEPEST:
        return "unreadable"
    try:
        return _Decision(leaf).verdict(answer, gold)
    except _UndecidedError:
        return None


def has_form(answer: str) -> bool:
    """Whether an answer is one of the forms that are compared without being read as a formula."""
    forms = (_phrase, choice, congruence, based, compound_of, quantity_of, clock_time, listing)
    return any(form(answer) is not None for form in forms)


class _Decision:
    def __init__(self, leaf: Leaf | None) -> None:
        self._leaf = leaf

    def verdict(self, answer: str, gold: str) -> Verdict:
        asked = numeral_of(gold)
        if asked is not None:
            answer = _as_numeral(answer, asked, is_named="=" in gold)
        for compare in (_compare_names, _compare_words, _compare_choices):
            known = compare(answer, gold)
            if known is not None:
                return known
        for form in (self._congruences, self._bases, same_compounds):
            same = form(answer, gold)
            if same is not None:
                return _verdict(same)
        form_of_answer = numeral_of(answer)
        # "17 * 24" for 408 and "6/2" for 3: the question's own words would be an answer.
        if asked is not None and form_of_answer is None:
            match shape_of(answer).kind:
                case "number" | "equation" | "expression":
                    return "not worked out"
                case "interval":
                    return "different"
        if asked == "whole" and form_of_answer == "fraction" and not _in_per_cent(gold) and quantity_of(answer):
            return "not worked out"
        return _verdict(self._same(answer, gold))

    def _same(self, answer: str, gold: str) -> bool:
        """Whether an answer, or an entry of one, is equal to another."""
        if (time := clock_time(gold)) or clock_time(answer):
            same = _same_time(answer, gold, time)
            if same is not None:
                return same
        mine, right = quantity_of(answer), quantity_of(gold)
        if mine is not None and right is not None:
            return is_same(mine, right)
        given, wanted = listing(answer), listing(gold)
        if (given is None) != (wanted is None) and _is_several(given or wanted) and (mine or right):
            return False
        if given is not None and wanted is not None:
            return same_listings(given, wanted, self._same_entry)
        for one, other, turned in ((given, gold, False), (wanted, answer, True)):
            if one is not None and one.ends == "{}" and len(one.entries) == 1:
                pair = (other, one.entries[0]) if turned else (one.entries[0], other)
                return self._same_entry(*pair)
        if _is_another_kind(answer, gold, given, wanted):
            return False
        return self._same_formulas(answer, gold)

    def _same_formulas(self, answer: str, gold: str) -> bool:
        (name, value), (other, right) = named_value(answer), named_value(gold)
        name, value = in_one_variable(name, value, other)
        if name and other:
            # y = 2x and f(x) = 2x, but not f'(x) = 2x.
            same = name == other or {"y"} < {name, other} <= {"y", "f(x)", "g(x)", "h(x)"}
            return same and self._same_entry(value, right)
        if self._leaf is None:
            raise _UndecidedError
        if (name or other) and not _RELATION.search(tidy(gold if name else answer)):
            answer, gold = value, right
        return self._leaf(answer, gold)

    def _same_entry(self, answer: str, gold: str) -> bool:
        if _normal(answer) == _normal(gold):
            return True
        if _compare_names(answer, gold) == "different":
            return False
        known = _compare_words(answer, gold)
        if known is not None:
            return known == "equal"
        for form in (self._congruences, self._bases, same_compounds):
            same = form(answer, gold)
            if same is not None:
                return same
        # 3 apples and 4 pears is not 4 apples and 3 pears.
        return same_words(parted(answer)[1], parted(gold)[1]) and self._same(answer, gold)

    def _congruences(self, answer: str, gold: str) -> bool | None:
        given, wanted = congruence(answer), congruence(gold)
        if wanted is None or given is None:
            if given is None and wanted is None:
                return None
            known, other = (given, gold) if given is not None else (wanted, answer)
            assert known is not None
            name = named_value(other)[0]
            if known.divides or (name and known.letter and name != known.letter):
                return False
            # The modulus may be left out, as a unit may.
            return self._same_entry(given.residue if given else answer, wanted.residue if wanted else gold)
        if given.divides != wanted.divides and not (given.letter and wanted.letter):
            return False
        if given.letter and wanted.letter and given.letter != wanted.letter:
            return False
        return self._same_entry(given.modulus, wanted.modulus) and self._same_residues(given, wanted)

    def _same_residues(self, given: Congruence, wanted: Congruence) -> bool:
        numbers = [tidy(text) for text in (given.residue, wanted.residue, wanted.modulus)]
        if all(map(is_integer, numbers)) and max(map(len, numbers)) < 100 and int(numbers[2]):
            return (int(numbers[0]) - int(numbers[1])) % int(numbers[2]) == 0
        mine, right = (listing(text) for text in numbers[:2])
        if mine is not None and right is not None:
            return same_listings(mine, right, self._same_entry)
        return self._same_entry(given.residue, wanted.residue)

    def _bases(self, answer: str, gold: str) -> bool | None:
        given, wanted = based(answer), based(gold)
        if given is None and wanted is None:
            return None
        if given is not None and wanted is not None:
            return given == wanted
        # The base may be left out, as a unit may.
        known, other = (given, gold) if given is not None else (wanted, answer)
        assert known is not None
        digits = re.sub(r"[\s{}()]", "", without_marks(tidy(other))).upper()
        return digits.lstrip("0") == known.digits.lstrip("0")


def _verdict(same: bool) -> Verdict:
    return "equal" if same else "different"


def _as_numeral(answer: str, asked: str, *, is_named: bool) -> str:
    """Spellings of a number that are others where no number is asked for."""
    text = tidy(answer)
    if not is_named and (said := _SAID_OF.match(text)):  # m + n = 125
        text = answer = text[said.end() :].strip()
    if indian := _INDIAN.fullmatch(text):
        return indian[1] + indian[2].replace(",", "")
    return f"1 \\times {text}" if asked == "power" and _POWER_OF_TEN.fullmatch(text) else answer


def _compare_names(answer: str, gold: str) -> Verdict | None:
    """`x = 5` is no `y = 5`; without a name either is 5."""
    if "=" not in answer or "=" not in gold:
        return None
    name, other = named_value(answer)[0], named_value(gold)[0]
    return "different" if name != other and len(name) == len(other) == 1 else None


def _compare_words(answer: str, gold: str) -> Verdict | None:
    """Answers in words, capitals, articles and marks aside."""
    mine, right = _phrase(answer), _phrase(gold)
    if mine is None or right is None:
        return None
    if mine == right or {mine, right} in ({"true", "t"}, {"false", "f"}):
        return "equal"
    # Letters that stand side by side may be a product.
    product = sorted(mine) == sorted(right) and not (_is_marked(answer) or _is_marked(gold))
    return None if product or min(len(mine), len(right)) < 3 else "different"


@lru_cache(maxsize=4096)
def _phrase(text: str) -> str | None:
    text = tidy(text)
    if text.strip() == "\\emptyset":
        return "no solution"
    plain = without_brackets(" ".join(without_marks(text).split()).strip(" .!"))
    if not _WORDS.fullmatch(plain):
        return None
    words = plain.casefold().split()
    phrase = " ".join(word for word in words if word not in _SMALL_WORDS) or " ".join(words)
    return _SYNONYMS.get(phrase, phrase)


def _is_marked(text: str) -> bool:
    text = tidy(text)
    return "\\" in text or " " in text or text[:1].isupper()


def _compare_choices(answer: str, gold: str) -> Verdict | None:
    label, right = choice(answer), choice(gold)
    if label is not None and right is not None:
        return _verdict(label == right)
    several, wanted = choices(answer), choices(gold)
    return "equal" if several is not None and several == wanted else None


def _same_time(answer: str, gold: str, time: tuple[str, str] | None) -> bool | None:
    """Whether two times of day are the same; None where they are ratios."""
    told = clock_time(answer)
    if time is None or told is None:
        known = time or told
        assert known is not None
        return False if known[1] or _is_time(known[0]) else None
    if not (time[1] or told[1] or _is_time(time[0]) or _is_time(told[0])):
        return None
    return time[0].lstrip("0") == told[0].lstrip("0") and (not time[1] or not told[1] or time[1] == told[1])


def _is_time(figures: str) -> bool:
    """Whether `12:30` is a time: a ratio would be in its lowest terms."""
    hours, minutes = figures.split(":")
    return _has_common_divisor(int(hours), int(minutes)) and int(hours) <= 24 and int(minutes) < 60


def _has_common_divisor(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one != 1


def _is_several(those: Listing | None) -> bool:
    return those is not None and len(those.entries) > 1


def _in_per_cent(gold: str) -> bool:
    quantity = quantity_of(gold)
    return quantity is not None and quantity.in_per_cent


def _is_another_kind(answer: str, gold: str, given: Listing | None, wanted: Listing | None) -> bool:
    """Whether the words beside two formulas say that they differ, or one is a set and the other a point."""
    mine, right = parted(answer)[1], parted(gold)[1]
    # Beside an expression words may say what it is: n even, n odd.
    agree = units_agree(mine, right) and number_word(mine) == number_word(right) and same_words(mine, right)
    if given is None and wanted is None and not agree:
        return True
    return is_point_for_set(shape_of(answer), shape_of(gold))


@lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    """The text without spaces that part nothing, its words plain."""
    if is_integer(text):
        return text
    words = without_marks(tidy(text)).split()
    normal = ""
    for word in words:
        parts = normal[-1:].isalnum() and word[:1].isalnum()
        normal += f" {word}" if parts else word
    return normal


def _same_but_for_spaces(given: str, wanted: str) -> bool:
    if given.replace(" ", "") != wanted.replace(" ", ""):
        return False
    return not re.search(r"\d \d", given) and not re.search(r"\d \d", wanted)


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest
