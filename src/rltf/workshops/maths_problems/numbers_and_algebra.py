"""Templates of arithmetic and algebra."""

from __future__ import annotations

import math
from random import Random

import sympy
from sympy import Rational, latex
from sympy.abc import n, x

from rltf.workshops.maths_problems.templates import Made, template


@template
def order_of_operations(draw: Random) -> Made:
    a, b, c, d = draw.randint(11, 60), draw.randint(3, 19), draw.randint(3, 19), draw.randint(5, 99)
    return f"Compute ${a} + {b} \\times {c} - {d}$.", str(a + b * c - d)


@template
def nested_brackets(draw: Random) -> Made:
    a, b, c, d = (draw.randint(2, 12) for _ in range(4))
    return f"What is ${a} - {b}({c} - {d + c})$?", str(a - b * (c - (d + c)))


@template
def remainder_of_power(draw: Random) -> Made:
    base, exponent, modulus = draw.randint(2, 9), draw.randint(20, 99), draw.choice((7, 11, 13, 17))
    return (
        f"What is the remainder when ${base}^{{{exponent}}}$ is divided by ${modulus}$?",
        str(pow(base, exponent, modulus)),
    )


@template
def greatest_common_divisor(draw: Random) -> Made:
    shared, a, b = draw.randint(6, 30), draw.randint(3, 20), draw.randint(3, 20)
    return (
        f"Find the greatest common divisor of ${shared * a}$ and ${shared * b}$.",
        str(math.gcd(shared * a, shared * b)),
    )


@template
def least_common_multiple(draw: Random) -> Made:
    a, b, c = draw.randint(4, 15), draw.randint(6, 18), draw.randint(8, 24)
    return (
        f"Three lamps blink every ${a}$, ${b}$ and ${c}$ seconds, now together. After how many seconds again?",
        str(math.lcm(a, b, c)),
    )


@template
def sum_of_fractions(draw: Random) -> Made:
    b, d = draw.sample((3, 4, 5, 6, 7, 8, 9, 11), 2)
    a, c = draw.randint(1, b - 1), draw.randint(1, d - 1)
    return f"Compute $\\frac{{{a}}}{{{b}}} + \\frac{{{c}}}{{{d}}}$.", latex(Rational(a, b) + Rational(c, d))


@template
def percent_change(draw: Random) -> Made:
    start, change = draw.choice((40, 60, 80, 120, 200, 250)), draw.choice((-40, -25, -15, 5, 20, 35, 45))
    end = start * (100 + change) / 100
    verb = "rises" if change > 0 else "falls"
    return (
        f"A price {verb} from ${start}$ to ${end:g}$ dollars. By what percentage does it change?",
        f"{abs(change)}\\%",
    )


@template
def mean_of_numbers(draw: Random) -> Made:
    numbers = [draw.randint(10, 99) for _ in range(4)]
    return f"Find the mean of ${numbers[0]}, {numbers[1]}, {numbers[2]}$ and ${numbers[3]}$.", f"{sum(numbers) / 4:g}"


@template
def number_of_divisors(draw: Random) -> Made:
    number = draw.choice((2, 3, 4, 5)) ** draw.randint(2, 3) * draw.choice((6, 7, 10, 12, 15))
    return f"How many positive divisors does ${number}$ have?", str(sympy.divisor_count(number))


@template
def set_of_divisors(draw: Random) -> Made:
    number = draw.choice((12, 18, 20, 28, 32, 42, 45, 50, 63, 66, 75))
    divisors = ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)
    return f"Find the set of all positive divisors of ${number}$.", f"\\{{{divisors}\\}}"


@template
def arithmetic_series(draw: Random) -> Made:
    first, step, count = draw.randint(1, 9), draw.randint(2, 7), draw.randint(15, 40)
    terms = [first + step * i for i in range(count)]
    return f"Find the sum ${terms[0]} + {terms[1]} + {terms[2]} + \\cdots + {terms[-1]}$.", str(sum(terms))


@template
def digit_sum(draw: Random) -> Made:
    power, less = draw.randint(8, 30), draw.randint(11, 99)
    return f"What is the sum of the digits of $10^{{{power}}} - {less}$?", str(sum(map(int, str(10**power - less))))


@template
def multiples_between(draw: Random) -> Made:
    low, high, a, b = draw.randint(50, 99), draw.randint(400, 900), draw.choice((4, 6, 9)), draw.choice((5, 7, 11))
    count = sum(number % a == 0 and number % b != 0 for number in range(low, high + 1))
    return (
        f"How many integers from ${low}$ to ${high}$ are divisible by ${a}$ but not by ${b}$?",
        str(count),
    )


@template
def other_base(draw: Random) -> Made:
    base, digits = draw.randint(5, 9), [draw.randint(1, 4) for _ in range(4)]
    written = "".join(map(str, digits))
    return f"The number ${written}$ is written in base ${base}$. What is it in base ten?", str(int(written, base))


@template
def linear_equation(draw: Random) -> Made:
    a, c = draw.sample(range(2, 13), 2)
    b, d = draw.randint(-15, 15), draw.randint(1, 20)
    (root,) = sympy.solve(a * x + b - (c * x + d), x)
    return f"Solve ${latex(a * x + b)} = {latex(c * x + d)}$ for $x$.", latex(root)


@template
def quadratic_roots(draw: Random) -> Made:
    p, q = draw.sample([i for i in range(-9, 10) if i], 2)
    roots = sorted(sympy.solve(sympy.expand((x - p) * (x - q)), x))
    return (
        f"Find the set of all real solutions of ${latex(sympy.expand((x - p) * (x - q)))} = 0$.",
        f"\\{{{roots[0]}, {roots[1]}\\}}",
    )


@template
def larger_root(draw: Random) -> Made:
    half, rest = draw.randint(1, 6), draw.choice((2, 3, 5, 6, 7, 10, 11))
    polynomial = sympy.expand((x - half) ** 2 - rest)
    return f"What is the larger root of ${latex(polynomial)}$?", latex(max(sympy.solve(polynomial, x)))


@template
def system_of_two(draw: Random) -> Made:
    a, b, c, d = draw.randint(1, 6), draw.randint(1, 6), draw.randint(1, 6), -draw.randint(1, 6)
    u, v = draw.randint(-6, 6), draw.randint(-6, 6)
    y = sympy.Symbol("y")
    found = sympy.solve([a * x + b * y - (a * u + b * v), c * x + d * y - (c * u + d * v)], [x, y])
    return (
        f"Find the ordered pair $(x, y)$ with ${latex(a * x + b * y)} = {a * u + b * v}$ "
        f"and ${latex(c * x + d * y)} = {c * u + d * v}$.",
        f"({found[x]}, {found[y]})",
    )


@template
def quadratic_inequality(draw: Random) -> Made:
    p, q = sorted(draw.sample(range(-7, 8), 2))
    polynomial = sympy.expand((x - p) * (x - q))
    if draw.random() < 0.5:
        return (
            f"For which real $x$ is ${latex(polynomial)} < 0$? Write the answer as an interval.",
            f"({p}, {q})",
        )
    return (
        f"For which real $x$ is ${latex(polynomial)} \\ge 0$? Write the answer in interval notation.",
        f"(-\\infty, {p}] \\cup [{q}, \\infty)",
    )


@template
def absolute_value(draw: Random) -> Made:
    factor, shift, bound = draw.randint(2, 5), draw.randint(1, 9), draw.randint(3, 14)
    ends = [latex(Rational(end - shift, factor)) for end in (-bound, bound)]
    return (
        f"Solve $|{factor}x + {shift}| \\le {bound}$ and write the answer as an interval.",
        f"\\left[{ends[0]}, {ends[1]}\\right]",
    )


@template
def polynomial_from_roots(draw: Random) -> Made:
    half, rest = draw.randint(1, 7), draw.choice((2, 3, 5, 7, 11))
    return (
        f"Which monic integer quadratic in $x$ has the root ${half} + \\sqrt{{{rest}}}$?",
        latex(sympy.expand((x - half) ** 2 - rest)),
    )


@template
def composition(draw: Random) -> Made:
    a, b, c = draw.randint(2, 5), draw.randint(1, 9), draw.randint(2, 6)
    return (
        f"Let $f(x) = x^2 - {b}x$ and $g(x) = {a}x + {c}$. Find $f(g(x))$ as a polynomial in $x$.",
        latex(sympy.expand((a * x + c) ** 2 - b * (a * x + c))),
    )


@template
def parabola_vertex(draw: Random) -> Made:
    a, h, k = draw.randint(1, 4), draw.randint(-6, 6), draw.randint(-9, 9)
    return (
        f"What is the vertex of the parabola $y = {latex(sympy.expand(a * (x - h) ** 2 + k))}$?",
        f"({h}, {k})",
    )


@template
def geometric_series(draw: Random) -> Made:
    bottom, first = draw.randint(3, 9), draw.randint(2, 20)
    top = draw.randint(1, bottom - 1)
    ratio = Rational(top, bottom)
    return (
        f"A geometric series has first term ${first}$ and ratio ${latex(ratio)}$. What is its infinite sum?",
        latex(first / (1 - ratio)),
    )


@template
def exponential_equation(draw: Random) -> Made:
    base, p, q, shift = draw.choice((2, 3, 5)), *draw.sample((2, 3, 4, 5), 2), draw.randint(1, 9)
    (root,) = sympy.solve(p * (x + shift) - q * (2 * x - 1), x) if p != 2 * q else (None,)
    if root is None:
        return exponential_equation(draw)
    return f"Solve ${base**p}^{{x + {shift}}} = {base**q}^{{2x - 1}}$ for $x$.", latex(root)


@template
def term_formula(draw: Random) -> Made:
    first, step = draw.randint(-5, 9), draw.randint(2, 9)
    terms = ", ".join(str(first + step * i) for i in range(4))
    return (
        f"What is term $n$ of the arithmetic sequence ${terms}, \\ldots$, whose first term has $n = 1$?",
        latex(sympy.expand(first + step * (n - 1))),
    )


@template
def line_through_points(draw: Random) -> Made:
    slope, intercept = draw.choice((-4, -3, -2, 2, 3, 5)), draw.randint(1, 9)
    a, b = sorted(draw.sample(range(-5, 6), 2))
    return (
        f"Find the line through $({a}, {slope * a + intercept})$ and $({b}, {slope * b + intercept})$ "
        "in the form $y = mx + b$.",
        f"y = {latex(slope * x + intercept)}",
    )
