"""Problems written one by one, each with its answer and a computation that must come to it."""

from __future__ import annotations

import itertools
from math import comb, factorial
from typing import Any

import sympy
from sympy import Interval, Rational, Symbol, Union, oo, pi, sqrt

x, y = Symbol("x"), Symbol("y")


def _count(condition: Any, numbers: Any) -> int:
    return sum(map(bool, map(condition, numbers)))


def _digits(number: int) -> list[int]:
    return [int(digit) for digit in str(number)]


PROBLEMS: tuple[tuple[str, str, Any], ...] = (
    (
        "A clock shows a quarter past three. What is the smaller angle between its hands, in degrees?",
        "7.5^\\circ",
        Rational(15, 2),
    ),
    (
        "How many times in twelve hours do the hands of a clock point in exactly the same direction, "
        "if the start is counted and the end is not?",
        "11",
        12 - 1,
    ),
    ("How many squares of any size are there on a chessboard?", "204", sum(k * k for k in range(1, 9))),
    ("How many rectangles of any size are on a four by four grid of squares?", "100", comb(5, 2) ** 2),
    (
        "Ten people shake hands, each pair once. How many handshakes are there?",
        "45",
        len(list(itertools.combinations(range(10), 2))),
    ),
    ("In how many zeros does $50!$ end?", "12", len(str(factorial(50))) - len(str(factorial(50)).rstrip("0"))),
    ("What is the last digit of $7^{2023}$?", "3", pow(7, 2023, 10)),
    (
        "How many three-digit numbers have digits that add to five?",
        "15",
        _count(lambda k: sum(_digits(k)) == 5, range(100, 1000)),
    ),
    (
        "How many three-digit palindromes are divisible by eleven?",
        "8",
        _count(lambda k: str(k) == str(k)[::-1] and k % 11 == 0, range(100, 1000)),
    ),
    (
        "What is the smallest positive integer with exactly ten positive divisors?",
        "48",
        next(k for k in itertools.count(1) if sympy.divisor_count(k) == 10),
    ),
    ("What is the sum of all prime numbers below thirty?", "129", sum(sympy.primerange(30))),
    (
        "Find the set of all prime numbers between fifty and seventy-five.",
        "\\{53, 59, 61, 67, 71, 73\\}",
        sympy.FiniteSet(*sympy.primerange(50, 75)),
    ),
    (
        "How many positive integers below one thousand are perfect squares or perfect cubes?",
        "37",
        len({k * k for k in range(1, 32)} | {k**3 for k in range(1, 10)}),
    ),
    (
        "A square is inscribed in a circle of radius one. What fraction of the circle does it cover?",
        "\\frac{2}{\\pi}",
        2 / pi,
    ),
    (
        "A circle is inscribed in a square. What fraction of the square does it cover?",
        "\\frac{\\pi}{4}",
        pi / 4,
    ),
    (
        "Two sides of a right triangle that meet at the right angle are $5$ and $12$. "
        "What is the radius of the inscribed circle?",
        "2",
        Rational(5 + 12 - 13, 2),
    ),
    (
        "A triangle has sides $13$, $14$ and $15$. What is its area?",
        "84",
        sqrt(21 * 8 * 7 * 6),
    ),
    (
        "A triangle has sides $13$, $14$ and $15$. What is the radius of its circumscribed circle?",
        "\\frac{65}{8}",
        Rational(13 * 14 * 15, 4 * 84),
    ),
    (
        "A regular hexagon has side two. What is its area?",
        "6\\sqrt{3}",
        6 * sqrt(3) / 4 * 4,
    ),
    (
        "A cube has surface area $54$. How long is its space diagonal?",
        "3\\sqrt{3}",
        sqrt(27),
    ),
    (
        "A cone has radius $3$ and height $4$. What is its lateral surface area?",
        "15\\pi",
        pi * 3 * 5,
    ),
    (
        "A ball and a cylinder have the same radius, and the height of the cylinder equals its diameter. "
        "What is the ratio of the volume of the ball to that of the cylinder?",
        "\\frac{2}{3}",
        Rational(4, 3) / 2,
    ),
    (
        "The legs of a trapezoid are equal, its parallel sides $6$ and $14$, its height is $3$. Find the perimeter.",
        "30",
        6 + 14 + 2 * sqrt(16 + 9),
    ),
    (
        "In a triangle one angle is twice the smallest and the third is three times the smallest. "
        "What is the largest angle, in degrees?",
        "90",
        Rational(3 * 180, 6),
    ),
    (
        "What is the ratio of the area of the circumscribed circle of a square to that of its inscribed circle?",
        "2",
        (pi * sqrt(2) ** 2) / (pi * 1**2),
    ),
    (
        "A ladder of length ten leans on a wall, its foot six from the wall. The foot is pulled two further away. "
        "How far does the top slide down?",
        "2",
        sqrt(100 - 36) - sqrt(100 - 64),
    ),
    (
        "If $x + \\frac{1}{x} = 3$, what is $x^2 + \\frac{1}{x^2}$?",
        "7",
        sympy.simplify((lambda r: r**2 + r**-2)((3 + sqrt(5)) / 2)),
    ),
    (
        "If $a + b = 7$ and $ab = 10$, what is $a^3 + b^3$?",
        "133",
        2**3 + 5**3,
    ),
    (
        "The roots of $x^2 - 6x + 4$ are $r$ and $s$. Find $\\frac{1}{r} + \\frac{1}{s}$.",
        "\\frac{3}{2}",
        sympy.simplify(sum(1 / root for root in sympy.solve(x**2 - 6 * x + 4, x))),
    ),
    (
        "Find all real numbers that equal their own cube. Answer with a set.",
        "\\{-1, 0, 1\\}",
        sympy.FiniteSet(*sympy.solve(x**3 - x, x)),
    ),
    (
        "What is the positive number that is one more than its reciprocal?",
        "\\frac{1 + \\sqrt{5}}{2}",
        max(sympy.solve(x - 1 - 1 / x, x)),
    ),
    (
        "Find the value of $\\sqrt{6 + \\sqrt{6 + \\sqrt{6 + \\cdots}}}$.",
        "3",
        max(sympy.solve(x**2 - x - 6, x)),
    ),
    (
        "Write the repeating decimal $0.272727\\ldots$ as a fraction in lowest terms.",
        "\\frac{3}{11}",
        Rational(27, 99),
    ),
    (
        "What is the domain of the real function $\\sqrt{x - 2} + \\sqrt{5 - x}$? Answer with an interval.",
        "[2, 5]",
        Interval(2, 5),
    ),
    (
        "For which real numbers is the square smaller than the number itself? Answer with an interval.",
        "(0, 1)",
        Interval.open(0, 1),
    ),
    (
        "What is the range of the real function $x^2 - 4x + 7$? Answer with an interval.",
        "[3, \\infty)",
        Interval(3, oo),
    ),
    (
        "For which real $x$ is $\\frac{1}{x} < 1$? Answer in interval notation.",
        "(-\\infty, 0) \\cup (1, \\infty)",
        Union(Interval.open(-oo, 0), Interval.open(1, oo)),
    ),
    (
        "What is the minimum of $x^2 + y^2$ over the line $3x + 4y = 10$?",
        "4",
        Rational(10, 5) ** 2,
    ),
    (
        "At which point of the line $y = 2x$ is the distance to $(5, 0)$ least? Answer with an ordered pair.",
        "(1, 2)",
        (lambda u: sympy.Tuple(u, 2 * u))(sympy.solve(sympy.diff((x - 5) ** 2 + 4 * x**2, x), x)[0]),
    ),
    (
        "Reflect the point $(3, -5)$ in the line $y = x$.",
        "(-5, 3)",
        sympy.Tuple(-5, 3),
    ),
    (
        "A car goes uphill at $30$ and back downhill at $60$ kilometres per hour. "
        "What is its average speed in kilometres per hour?",
        "40",
        2 / (Rational(1, 30) + Rational(1, 60)),
    ),
    (
        "A shirt is reduced by a fifth and then by a tenth of the new price. By what percentage has it fallen in all?",
        "28\\%",
        100 * (1 - Rational(4, 5) * Rational(9, 10)),
    ),
    (
        "A number is raised by a quarter. By what percentage must the result be lowered to give the number back?",
        "20\\%",
        100 * (1 - 1 / Rational(5, 4)),
    ),
    (
        "Salt is one tenth of two litres of water with salt. How many litres of pure water make it one twentieth?",
        "2",
        Rational(2, 10) * 20 - 2,
    ),
    (
        "A father is three times as old as his son. In twelve years he will be twice as old. How old is the son?",
        "12",
        sympy.solve(3 * x + 12 - 2 * (x + 12), x)[0],
    ),
    (
        "A two-digit number is four times the sum of its digits, and its digits differ by three. What is it?",
        "36",
        next(k for k in range(10, 100) if k == 4 * sum(_digits(k)) and abs(k // 10 - k % 10) == 3),
    ),
    (
        "A fair coin is tossed five times. What is the probability of at least three heads in a row?",
        "\\frac{1}{4}",
        Rational(_count(lambda toss: "hhh" in "".join(toss), itertools.product("ht", repeat=5)), 32),
    ),
    (
        "Two different numbers are drawn from one to ten. What is the probability that their sum is odd?",
        "\\frac{5}{9}",
        Rational(_count(lambda pair: sum(pair) % 2, itertools.combinations(range(1, 11), 2)), 45),
    ),
    (
        "Four letters are put at random into four addressed envelopes. "
        "What is the probability that none is in the right one?",
        "\\frac{3}{8}",
        Rational(
            _count(lambda p: all(p[i] != i for i in range(4)), itertools.permutations(range(4))),
            24,
        ),
    ),
    (
        "Three points are chosen among the vertices of a cube. What is the probability that they form an equilateral "
        "triangle?",
        "\\frac{1}{7}",
        Rational(
            _count(
                lambda t: (
                    len({sum((a - b) ** 2 for a, b in zip(*e, strict=True)) for e in itertools.combinations(t, 2)}) == 1
                ),
                itertools.combinations(itertools.product((0, 1), repeat=3), 3),
            ),
            comb(8, 3),
        ),
    ),
    (
        "How many subsets of the first eight positive integers hold no two consecutive numbers? Count the empty one.",
        "55",
        _count(lambda bits: "11" not in "".join(bits), itertools.product("01", repeat=8)),
    ),
    (
        "In how many ways can a strip of ten squares be covered by tiles of one and of two squares?",
        "89",
        sympy.fibonacci(11),
    ),
    (
        "How many positive integers up to one hundred are divisible by neither two nor three nor five?",
        "26",
        _count(lambda k: all(k % p for p in (2, 3, 5)), range(1, 101)),
    ),
    (
        "What is the remainder when the sum of the factorials of the integers from one to one hundred is divided by "
        "twelve?",
        "9",
        sum(map(factorial, range(1, 101))) % 12,
    ),
    (
        "Find the polynomial $p(x)$ of degree two with $p(0) = 1$, $p(1) = 3$ and $p(2) = 9$.",
        "2x^2 + 1",
        sympy.interpolate([(0, 1), (1, 3), (2, 9)], x),
    ),
    (
        "Give the sum of the first $n$ odd positive integers as an expression in $n$.",
        "n^2",
        Symbol("n") ** 2,
    ),
    (
        "A rectangle has perimeter $20$ and one side $x$. Give its area as a polynomial in $x$.",
        "10x - x^2",
        10 * x - x**2,
    ),
    (
        "What is the area of the region of the plane where $|x| + |y| \\le 3$?",
        "18",
        sympy.Integer(6 * 6) / 2,
    ),
    (
        "What is the cosine of the angle between two edges of a regular tetrahedron that meet in a vertex, plus the "
        "sine of that angle?",
        "\\frac{1 + \\sqrt{3}}{2}",
        sympy.cos(pi / 3) + sympy.sin(pi / 3),
    ),
    (
        "Find the height of a regular tetrahedron whose edges are three long.",
        "\\sqrt{6}",
        sqrt(9 - sqrt(3) ** 2),
    ),
)
"""Question, answer, and a value that equals it."""
