"""Laws of grading: an answer is itself however it is set, and a near miss is never equal, whichever is the gold one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from near_misses import Near, dressed, near_misses

from rltf.support.guarded import Failed
from rltf.tasks.maths.decide import decide
from rltf.tasks.maths.rounding import is_rounded
from rltf.tasks.maths.verdicts import Verdicts


@pytest.fixture(scope="module")
def grader() -> Iterator[Verdicts]:
    verdicts = Verdicts(seconds=30.0)
    yield verdicts
    verdicts.close()


@pytest.fixture(scope="module")
def near() -> list[Near]:
    return list(near_misses(2000, seed=7))


def test_no_near_miss_is_paid(grader: Verdicts, near: list[Near]) -> None:
    verdicts = grader([(each.answer, each.gold) for each in near])
    assert [each for each, verdict in zip(near, verdicts, strict=True) if verdict == "equal"] == []
    assert not any(isinstance(verdict, Failed) for verdict in verdicts)
    assert {each.change for each in near} == {"last digit", "sign", "exponent", "base", "unit", "order"}


def test_nor_with_the_two_in_each_others_place(grader: Verdicts, near: list[Near]) -> None:
    verdicts = grader([(each.gold, each.answer) for each in near])
    assert [each for each, verdict in zip(near, verdicts, strict=True) if verdict == "equal"] == []


def test_an_answer_is_equal_to_itself_however_it_is_set(grader: Verdicts, near: list[Near]) -> None:
    random = Random(3)
    pairs = [(dressed(each.gold, random), each.gold) for each in near]
    pairs += [(gold, answer) for answer, gold in pairs]
    assert [pair for pair, verdict in zip(pairs, grader(pairs), strict=True) if verdict != "equal"] == []


whole = st.integers(-(10**18), 10**18)
settings_of_type = st.sampled_from(
    [
        "{}",
        " {} ",
        "${}$",
        "\\boldsymbol{{{}}}",
        "\\text{{{}}}",
        "**{}**",
        "\\left({}\\right)",
        "\\displaystyle {}",
        "{}.",
        "= {}",
        "\\color{{red}}{{{}}}",
        "\\begin{{aligned}}{}\\end{{aligned}}",
        "{}\u3002",
        "\\ {}\\,",
    ]
)


@given(whole, settings_of_type)
def test_a_whole_number_is_itself_in_any_type(number: int, setting: str) -> None:
    assert decide(setting.format(number), str(number)) == "equal"
    assert decide(setting.format(number + 1), str(number)) == "different"


@given(st.integers(1000, 10**15), st.sampled_from([",", "{,}", ",\\!", " ", "\\,", "\\ ", "~", "\u202f", "'", "\\;"]))
def test_groups_of_three_may_be_parted(number: int, mark: str) -> None:
    assert decide(f"{number:,}".replace(",", mark), str(number)) == "equal"
    assert decide(f"{number + 10:,}".replace(",", mark), str(number)) == "different"


@given(st.fractions(max_denominator=10**6), st.sampled_from(["{0}/{1}", "\\frac{{{0}}}{{{1}}}", "{0}\u00f7{1}"]))
def test_a_fraction_has_many_forms_and_one_value(value: Fraction, form: str) -> None:
    if value.denominator == 1:
        return
    gold = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert decide(form.format(value.numerator, value.denominator), gold) == "equal"
    assert decide(form.format(value.numerator + 1, value.denominator), gold) == "different"


@given(st.integers(1, 10**6), st.integers(-30, 30))
def test_powers_of_ten_have_many_forms(head: int, exponent: int) -> None:
    value = Fraction(head) * Fraction(10) ** exponent
    written = f"{head} \\times 10^{{{exponent}}}"
    assert decide(f"{head}e{exponent}", written) == "equal"
    assert decide(written, f"{head}E{exponent:+03d}") == "equal"
    if value.denominator == 1:
        assert decide(str(value.numerator), f"{head}e{exponent}") == "equal"
    assert decide(f"{head}e{exponent + 1}", written) == "different"


names = st.sampled_from(["a", "b", "x", "y", "p_1", "\\alpha", "m"])


@given(st.dictionaries(names, st.integers(-99, 99), min_size=2, max_size=4))
def test_values_of_unknowns_go_by_name(values: dict[str, int]) -> None:
    items = list(values.items())
    gold = ", ".join(f"{name} = {value}" for name, value in items)
    turned = ", ".join(f"{name}={value}" for name, value in reversed(items))
    assert decide(turned, gold) == "equal"
    bare = ", ".join(str(value) for _, value in items)
    assert decide(bare, gold) == "equal"
    moved = [value for _, value in items[1:]] + [items[0][1]]
    if moved != [value for _, value in items]:
        assert decide(", ".join(map(str, moved)), gold) == "different"
        wrong = ", ".join(f"{name}={value}" for (name, _), value in zip(items, moved, strict=True))
        assert decide(wrong, gold) == "different"


golds = st.sampled_from(["5", "\\frac{1}{2}", "x=1, y=2", "\\text{Yes}"])


@given(st.text(st.characters(codec="utf-8"), max_size=60), golds)
def test_no_text_raises_or_is_taken_for_what_it_is_not(text: str, gold: str) -> None:
    verdict = decide(text, gold)
    assert verdict in (None, "equal", "different", "unreadable", "not worked out")
    assert decide(text, text) == "equal"


decimals = st.decimals(min_value="0.000001", max_value=10**6, places=9)


@given(decimals, st.integers(6, 9))
def test_a_decimal_may_be_rounded_and_a_last_digit_not_changed(value: object, places: int) -> None:
    exact = Fraction(str(value))
    unit = Fraction(1, 10**places)
    rounded = round(exact / unit) * unit
    if exact > Fraction(1, 100):
        assert is_rounded(rounded, exact, places, None)
        assert is_rounded(exact, rounded, None, places)
    if rounded != exact:
        assert not is_rounded(rounded + 2 * unit, exact, places, None)
    assert not is_rounded(rounded + unit, rounded, places, places)


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        # Identities that only many digits show, and what differs in a digit that no machine number has.
        ("\\cos\\frac{\\pi}{9}\\cos\\frac{2\\pi}{9}\\cos\\frac{4\\pi}{9}", "\\frac{1}{8}", "equal"),
        ("\\sqrt{8-2\\sqrt{15}}", "\\sqrt5-\\sqrt3", "equal"),
        ("\\sqrt{2}", "\\sqrt{2}+\\frac{1}{10^{300}}", "different"),
        ("\\sqrt{2}+e^{-2000}", "\\sqrt{2}", "different"),
        ("\\frac{1}{5000!}", "\\frac{1}{5001!}", "different"),
        ("e^{\\pi\\sqrt{163}}", "262537412640768744", "different"),
        ("\\ln(1+10^{-60})", "10^{-60}", "different"),
        ("x^{200}+\\frac{1}{2^{500}}", "x^{200}", "different"),
        ("(x+1)^{40}-1", "x\\cdot\\frac{(x+1)^{40}-1}{x}", "equal"),
        ("\\sqrt{x^2}", "x", "different"),
        ("\\sqrt{x^2}", "|x|", "equal"),
        ("x^2/4+y^2/9=1", "1", "different"),
        ("x+y=5", "5", "different"),
        ("5", "x+y=5", "equal"),
    ],
)
def test_no_rounded_number_has_the_last_word(grader: Verdicts, gold: str, answer: str, verdict: str) -> None:
    assert grader([(answer, gold)]) == [verdict]


def test_what_has_too_many_digits_is_refused_at_once(grader: Verdicts) -> None:
    (verdict,) = grader([("9^{9^{9^{9}}}+\\sqrt{2}", "2\\sqrt{3}")])
    assert isinstance(verdict, Failed)
    assert "TooLargeError" in verdict.reason


POINTS = st.sets(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=3)
SOLUTIONS = [
    lambda points: " or ".join(f"x={x}, y={y}" for x, y in points),
    lambda points: " \\text{ or } ".join(f"y={y}, x={x}" for x, y in points),
    lambda points: "; ".join(f"x={x}, y={y}" for x, y in points),
    lambda points: ", ".join(f"(x={x}, y={y})" for x, y in points),
    lambda points: ", ".join(f"({x}, {y})" for x, y in points),
    lambda points: " \\lor ".join(f"(x,y)=({x},{y})" for x, y in points),
    lambda points: f"(x,y) \\in \\{{{', '.join(f'({x}, {y})' for x, y in points)}\\}}",
    lambda points: " or ".join(f"\\begin{{cases}}x={x}\\\\y={y}\\end{{cases}}" for x, y in points),
]


@given(POINTS, POINTS, st.permutations(SOLUTIONS))
def test_several_solutions_are_the_same_in_any_order_and_form(
    mine: set[tuple[int, int]], theirs: set[tuple[int, int]], forms: list[Callable[[Any], str]]
) -> None:
    answer, gold = forms[0](sorted(mine)), forms[1](sorted(theirs, reverse=True))
    assert (decide(answer, gold) == "equal") == (mine == theirs)


@given(POINTS, st.sampled_from(SOLUTIONS[:4]))
def test_which_values_belong_together_counts(points: set[tuple[int, int]], form: Callable[[Any], str]) -> None:
    gold = form(sorted(points))
    values = [f"x={x}" for x, _ in sorted(points)] + [f"y={y}" for _, y in sorted(points)]
    assert decide(", ".join(values), gold, lambda *_: True) != "equal"


FAMILIES = [
    {"days": 86400, "hours": 3600, "minutes": 60, "s": 1},
    {"mi": 63360, "yd": 36, "ft": 12, "in": 1},
    {"kg": 10**6, "g": 1000, "mg": 1},
]


def in_units(total: int, sizes: dict[str, int], units: list[str]) -> str | None:
    """A measure in these units; None where it does not come to a whole number of the last, or is of one unit."""
    parts = []
    for unit in sorted(units, key=lambda unit: -sizes[unit]):
        count, total = divmod(total, sizes[unit])
        if count:
            parts.append(f"{count} {unit}")
    return None if total or len(parts) < 2 else " ".join(parts)


@given(st.integers(61, 10**7), st.integers(-1, 1), st.sampled_from(FAMILIES), st.data())
def test_a_measure_of_several_units_is_what_it_comes_to(
    total: int, off: int, sizes: dict[str, int], data: st.DataObject
) -> None:
    some = st.lists(st.sampled_from(sorted(sizes)), min_size=2, unique=True)
    gold, answer = in_units(total, sizes, data.draw(some)), in_units(total + off, sizes, data.draw(some))
    smallest = min(sizes, key=lambda unit: sizes[unit])
    for other, right in ((answer, not off), (f"{total} {smallest}", True), (f"{total}", False)):
        if gold is not None and other is not None:
            assert (decide(other, gold) == "equal") == (decide(gold, other) == "equal") == right
