"""Wrong answers near a right one: another last digit, sign, exponent, base, unit or order. Made from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

UNITS = (
    "m",
    "cm",
    "km",
    "kg",
    "g",
    "s",
    "min",
    "h",
    "N",
    "J",
    "W",
    "V",
    "A",
    "mol",
    "K",
    "L",
    "mL",
    "Pa",
    "Hz",
    "mW",
    "MW",
)
PAIRS = (
    ("hours", "minutes", 60),
    ("min", "s", 60),
    ("ft", "in", 12),
    ("kg", "g", 1000),
    ("m", "cm", 100),
    ("lb", "oz", 16),
)
COMPOUNDS = ("m/s", "km/h", "m/s^2", "kg/m^3", "N m", "cm^2", "m^3", "J/K", "W/m^2")
MONEY = ("\\$", "£", "€", "¥", "₹")
LETTERS = "xyzabpq"


@dataclass(frozen=True, slots=True)
class Near:
    """A gold answer, another that is near it, and what was changed."""

    gold: str
    answer: str
    change: str


def near_misses(count: int, seed: int) -> Iterator[Near]:
    """`count` wrong answers, as many of each change as of any other."""
    random = Random(seed)
    changes = sorted(_CHANGES)
    found: set[tuple[str, str]] = set()
    turn = 0
    while len(found) < count:
        change = changes[turn % len(changes)]
        turn += 1
        gold, answer = random.choice(_CHANGES[change])(random)
        if (gold, answer) not in found:
            found.add((gold, answer))
            yield Near(gold, dressed(answer, random), change)


def dressed(answer: str, random: Random) -> str:
    """The same answer as somebody else might set it."""
    return random.choice(
        (
            answer,
            answer,
            f"${answer}$",
            answer.replace("\\frac", "\\dfrac"),
            f"\\displaystyle {answer}",
            f"\\boldsymbol{{{answer}}}",
            answer.replace(" ", "\\,"),
            f"{answer}.",
        )
    )


def _digits(random: Random, most: int = 12) -> str:
    length = random.randint(1, most)
    return str(random.randint(10 ** (length - 1), 10**length - 1))


def _other_digit(number: str, random: Random) -> str:
    last = random.choice([digit for digit in "0123456789" if digit != number[-1]])
    return number[:-1] + last


def _small(random: Random) -> int:
    return random.randint(2, 40)


def _whole(random: Random) -> tuple[str, str]:
    number = _digits(random, 30)
    return number, _other_digit(number, random)


def _grouped(random: Random) -> tuple[str, str]:
    number = random.randint(1000, 10**9)
    other = number + random.choice((1, -1, 10, 100, 1000))
    mark = random.choice((",", " ", "\\,", "{,}"))
    return str(number), f"{other:,}".replace(",", mark)


def _decimal(random: Random) -> tuple[str, str]:
    places = _digits(random, 14).rstrip("0") or "5"
    number = f"{random.randint(0, 999)}.{places}"
    other = _other_digit(number, random)
    return number, other if other[-1] != "0" or len(places) > 1 else f"{number}1"


def _fraction(random: Random) -> tuple[str, str]:
    above, below = random.randint(1, 9999), random.randint(2, 9999)
    other = above + random.choice((1, -1)) * random.randint(1, 3)
    return f"\\frac{{{above}}}{{{below}}}", f"\\frac{{{other}}}{{{below}}}"


def _factorials(random: Random) -> tuple[str, str]:
    top = random.randint(15, 400)
    other = top + random.choice((1, -1))
    part = random.randint(2, top - 2)
    form = random.choice(
        ("\\frac{{1}}{{{0}!}}", "{0}!", "1-\\frac{{1}}{{{0}!}}", f"\\frac{{{{{{0}}!}}}}{{{{{part}!}}}}")
    )
    return form.format(top), form.format(other)


def _power(random: Random) -> tuple[str, str]:
    base, exponent = random.randint(2, 99), random.randint(20, 900)
    form = random.choice(
        (
            "{0}^{{{1}}}",
            "\\frac{{1}}{{{0}^{{{1}}}}}",
            "{0}^{{-{1}}}",
            "2-\\frac{{1}}{{{0}^{{{1}}}}}",
            "\\sqrt{{2}}+{0}^{{-{1}}}",
            "\\frac{{\\pi}}{{{0}^{{{1}}}}}",
            "\\left(\\frac{{1}}{{{0}}}\\right)^{{{1}}}",
            "(0, {0}^{{-{1}}})",
            "1, \\frac{{1}}{{{0}^{{{1}}}}}",
            "x + \\frac{{1}}{{{0}^{{{1}}}}}",
            "e^{{-{1}}}",
            "\\frac{{{0}^{{{1}}}}}{{7^{{300}}}}",
        )
    )
    return form.format(base, exponent), form.format(base, exponent + random.choice((1, -1)))


def _scientific(random: Random) -> tuple[str, str]:
    head, exponent = f"{random.randint(1, 9)}.{random.randint(1, 99)}", random.randint(-40, 40)
    other = exponent + random.choice((1, -1))
    form = random.choice(("{0} \\times 10^{{{1}}}", "{0}e{1}"))
    return f"{head}e{exponent}", form.format(head, other)


def _polynomial_power(random: Random) -> tuple[str, str]:
    power, number = random.randint(2, 9), _small(random)
    return f"{number}x^{{{power}}} + 1", f"{number}x^{{{power + 1}}} + 1"


def _signs(random: Random) -> tuple[str, str]:
    a, b, c = _small(random), _small(random), random.choice((2, 3, 5, 7, 11))
    pairs = (
        (f"{a}", f"-{a}"),
        (f"-{a}.{b}", f"{a}.{b}"),
        (f"-\\frac{{{a}}}{{{a + b}}}", f"\\frac{{{a}}}{{{a + b}}}"),
        (f"{a} + {b}\\sqrt{{{c}}}", f"{a} - {b}\\sqrt{{{c}}}"),
        (f"({a}, -{b})", f"({a}, {b})"),
        (f"{a}x - {b}", f"{a}x + {b}"),
        (f"x^2 - {a}x + {b}", f"x^2 + {a}x + {b}"),
        (f"-{a}\\pi", f"{a}\\pi"),
        (f"{a} - {b}i", f"{a} + {b}i"),
        (f"[-{a}, {b}]", f"[{a}, {a + b}]"),
        (f"y = {a}x - {b}", f"y = {a}x + {b}"),
        (f"e^{{-{a}}}", f"e^{{{a}}}"),
    )
    return random.choice(pairs)


def _bases(random: Random) -> tuple[str, str]:
    base = random.randint(3, 9)
    number = "".join(str(random.randrange(base)) for _ in range(random.randint(2, 9))).lstrip("0") or "1"
    other = random.choice([b for b in range(base, 17) if b != base])
    form = random.choice(("{0}_{{{1}}}", "({0})_{{{1}}}", "{0}_{{\\text{{{1}}}}}"))
    return f"{number}_{{{base}}}", form.format(number, other)


def _units(random: Random) -> tuple[str, str]:
    number = _digits(random, 4)
    mine, other = random.sample(random.choice((UNITS, UNITS, COMPOUNDS)), 2)
    form = random.choice(("{0}\\text{{ {1}}}", "{0} \\mathrm{{{1}}}", "{0}\\ \\text{{{1}}}"))
    return f"{number}\\text{{ {mine}}}", form.format(number, other)


def _unit_powers(random: Random) -> tuple[str, str]:
    number, unit = _digits(random, 3), random.choice(("cm", "m", "km", "mm"))
    mine, other = random.sample(("", "^2", "^3"), 2)
    return f"{number}\\text{{ {unit}}}{mine}", f"{number}\\text{{ {unit}}}{other}"


def _money(random: Random) -> tuple[str, str]:
    number = _digits(random, 5)
    mine, other = random.sample(MONEY, 2)
    return f"{mine}{number}", f"{other}{number}"


def _temperatures(random: Random) -> tuple[str, str]:
    number = random.randint(1, 400)
    mine, other = random.sample(("^\\circ\\text{C}", "^\\circ\\text{F}", "\\text{ K}"), 2)
    return f"{number}{mine}", f"{number}{other}"


def _order(random: Random) -> tuple[str, str]:
    a, b, c = random.sample(range(-50, 50), 3)
    x, y = random.sample(LETTERS, 2)
    pairs = (
        (f"({a}, {b})", f"({b}, {a})"),
        (f"({a}, {b}, {c})", f"({a}, {c}, {b})"),
        (f"{x}={a}, {y}={b}", f"{b}, {a}"),
        (f"{x}={a}, {y}={b}", f"{x}={b}, {y}={a}"),
        (f"{x}={a}, {y}={b}", f"({b}, {a})"),
        (f"({x},{y})=({a},{b})", f"({b}, {a})"),
        (f"\\begin{{pmatrix}}{a}\\\\{b}\\end{{pmatrix}}", f"\\begin{{pmatrix}}{b}\\\\{a}\\end{{pmatrix}}"),
        (f"{abs(a) + 2}:{abs(a) + 3}", f"{abs(a) + 3}:{abs(a) + 2}"),
        (f"({a}, {b}), ({b}, {c})", f"({b}, {a}), ({c}, {b})"),
        (f"{abs(a) + 1}x + {abs(a) + 2}y", f"{abs(a) + 2}x + {abs(a) + 1}y"),
    )
    return random.choice(pairs)


def _compounds(random: Random) -> tuple[str, str]:
    large, small, size = random.choice(PAIRS)
    first, second = random.randint(2, 40), random.randint(2, size - 2)
    gold = f"{first}\\text{{ {large} }}{second}\\text{{ {small}}}"
    off = second + random.choice((1, -1))
    form = random.choice(
        (
            f"{first}\\text{{ {large} }}{off}\\text{{ {small}}}",
            f"{first + 1} {large} {second} {small}",
            f"{first} {large} and {off} {small}",
            f"{first * size + off} {small}",
            f"{first}\\text{{ {large}}}",
            f"-{first} {large} {second} {small}",
        )
    )
    return gold, form


def _other_parts(random: Random) -> tuple[str, str]:
    large, small, size = random.choice(PAIRS)
    first, second = random.sample(range(2, min(size, 40)), 2)
    other, less, _ = random.choice([pair for pair in PAIRS if large not in pair and small not in pair])
    form = random.choice(
        (
            f"{first} {other} {second} {less}",
            f"{first} {small} {second} {large}",
            f"{first * size + second} {large}",
            f"{first} {large} {second}",
        )
    )
    return f"{first} {large} {second} {small}", form


def _alternatives(random: Random) -> tuple[str, str]:
    a, b, c = random.sample(range(-50, 50), 3)
    x, y = random.sample(LETTERS, 2)
    gold = f"{x}={a}, {y}={b} \\text{{ or }} {x}={b}, {y}={c}"
    form = random.choice(
        (
            f"{x}={a}, {y}={c} \\text{{ or }} {x}={b}, {y}={b}",
            f"{x}={b}, {y}={a} \\text{{ or }} {x}={c}, {y}={b}",
            f"{x}={a}, {y}={b}",
            f"({b}, {a}), ({c}, {b})",
            f"({a}, {c}), ({b}, {b})",
            f"{x}={a}, {x}={b}, {y}={b}, {y}={c}",
        )
    )
    return gold, form


_CHANGES: dict[str, tuple[Callable[[Random], tuple[str, str]], ...]] = {
    "last digit": (_whole, _grouped, _decimal, _fraction, _compounds),
    "sign": (_signs,),
    "exponent": (_power, _factorials, _scientific, _polynomial_power),
    "base": (_bases,),
    "unit": (_units, _unit_powers, _money, _temperatures, _other_parts),
    "order": (_order, _order, _alternatives),
}
