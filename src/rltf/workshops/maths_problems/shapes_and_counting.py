"""Templates of geometry, counting, probability and number sequences."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from random import Random

from sympy import Rational, latex, pi, sqrt

from rltf.workshops.maths_problems.templates import Made, template


@template
def circle_area(draw: Random) -> Made:
    around = draw.randint(3, 24)
    return f"A circle has circumference ${2 * around}\\pi$. What is its area?", latex(around**2 * pi)


@template
def sector_area(draw: Random) -> Made:
    angle, radius = draw.choice((30, 40, 45, 60, 72, 80, 120, 150)), draw.randint(3, 11)
    return (
        f"What is the area of a sector of ${angle}^\\circ$ in a circle of radius ${radius}$?",
        latex(Rational(angle, 360) * radius**2 * pi),
    )


@template
def equilateral_triangle(draw: Random) -> Made:
    side = draw.randint(3, 21)
    return f"An equilateral triangle has perimeter ${3 * side}$. Find its area.", latex(Rational(side**2, 4) * sqrt(3))


@template
def distance_between_points(draw: Random) -> Made:
    a, b = draw.randint(-5, 5), draw.randint(-5, 5)
    across, up = draw.choice(((2, 4), (3, 6), (2, 6), (4, 6), (5, 5), (3, 9), (4, 10), (1, 7), (6, 6)))
    return (
        f"Find the distance between $({a}, {b})$ and $({a + across}, {b - up})$.",
        latex(sqrt(across**2 + up**2)),
    )


@template
def space_diagonal(draw: Random) -> Made:
    a, b, c = (draw.randint(2, 9) for _ in range(3))
    return f"A box measures ${a}$ by ${b}$ by ${c}$. How long is its space diagonal?", latex(
        sqrt(a * a + b * b + c * c)
    )


@template
def interior_angle(draw: Random) -> Made:
    sides = draw.choice((5, 6, 8, 9, 10, 12, 15, 18, 20, 24, 30))
    return (
        f"How large is each interior angle of a regular polygon with ${sides}$ sides, in degrees?",
        f"{180 - 360 // sides}^\\circ",
    )


@template
def midpoint(draw: Random) -> Made:
    a, b, c, d = (draw.randint(-9, 9) for _ in range(4))
    return (
        f"What is the midpoint of the segment from $({a}, {b})$ to $({c}, {d})$?",
        f"\\left({latex(Rational(a + c, 2))}, {latex(Rational(b + d, 2))}\\right)",
    )


@template
def centroid_in_space(draw: Random) -> Made:
    points = [tuple(draw.randint(-6, 9) for _ in range(3)) for _ in range(3)]
    middle = ", ".join(latex(Rational(sum(column), 3)) for column in zip(*points, strict=True))
    return (
        f"Find the centroid of the triangle with vertices ${points[0]}$, ${points[1]}$ and ${points[2]}$.",
        f"({middle})",
    )


@template
def committees(draw: Random) -> Made:
    women, men, size = draw.randint(4, 8), draw.randint(4, 8), draw.randint(3, 4)
    people = ["w"] * women + ["m"] * men
    count = sum("w" in group and "m" in group for group in itertools.combinations(people, size))
    return (
        f"From ${women}$ women and ${men}$ men, how many committees of ${size}$ have at least one of each?",
        str(count),
    )


@template
def dice(draw: Random) -> Made:
    total = draw.randint(5, 16)
    count = sum(sum(roll) == total for roll in itertools.product(range(1, 7), repeat=3))
    return f"Three fair dice are rolled. How likely is a total of ${total}$?", latex(Rational(count, 216))


@template
def balls(draw: Random) -> Made:
    red, blue = draw.randint(3, 9), draw.randint(3, 9)
    pairs = list(itertools.combinations("r" * red + "b" * blue, 2))
    return (
        f"Two of ${red}$ red and ${blue}$ blue balls are drawn. How likely do they differ?",
        latex(Rational(sum(a != b for a, b in pairs), len(pairs))),
    )


@template
def letters(draw: Random) -> Made:
    word = draw.choice(("LEVEL", "BANANA", "COFFEE", "NEEDED", "RADAR", "TENNIS", "PEPPER", "LETTER", "ERROR", "KAYAK"))
    return (
        f"In how many different orders can the letters of {word} be written?",
        str(len(set(itertools.permutations(word)))),
    )


@template
def lattice_paths(draw: Random) -> Made:
    right, up = draw.randint(4, 8), draw.randint(4, 8)
    a, b = draw.randint(1, right - 1), draw.randint(1, up - 1)
    count = math.comb(right + up, up) - math.comb(a + b, b) * math.comb(right - a + up - b, up - b)
    return (
        f"How many paths to $({right}, {up})$ avoid $({a}, {b})$, from $(0, 0)$ by unit steps right or up?",
        str(count),
    )


@template
def two_remainders(draw: Random) -> Made:
    a, b = draw.sample((5, 7, 8, 9, 11, 13), 2)
    r, s = draw.randint(1, a - 1), draw.randint(1, b - 1)
    found = next(number for number in range(1, a * b + 1) if number % a == r and number % b == s)
    return (
        f"Find the least positive integer with remainder ${r}$ modulo ${a}$ and ${s}$ modulo ${b}$.",
        str(found),
    )


@template
def recurrence(draw: Random) -> Made:
    first, second, factor, index = draw.randint(1, 9), draw.randint(1, 9), draw.randint(2, 4), draw.randint(6, 9)
    terms = [first, second]
    while len(terms) < index:
        terms.append(terms[-1] * factor - terms[-2])
    return (
        f"With $u_1 = {first}$, $u_2 = {second}$ and $u_{{k+2}} = {factor}u_{{k+1}} - u_k$, find $u_{{{index}}}$.",
        str(terms[-1]),
    )


@template
def work_together(draw: Random) -> Made:
    a, b = draw.sample(range(3, 16), 2)
    hours = 1 / (Fraction(1, a) + Fraction(1, b))
    return (
        f"One pump fills a pool in ${a}$ hours, another in ${b}$. How many hours do both take together?",
        latex(Rational(hours.numerator, hours.denominator)),
    )
