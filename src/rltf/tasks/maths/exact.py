"""Whether two formulas have the same value, by exact arithmetic where it can decide and never by a rounded number.

For the processes of `support.guarded` alone: it takes any time and memory that the formulas ask for.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

from sympy import (
    Add,
    Basic,
    Derivative,
    E,
    Expr,
    Float,
    I,
    Integer,
    Integral,
    Limit,
    Mul,
    Pow,
    Product,
    Rational,
    S,
    Sum,
    Symbol,
    UnevaluatedExpr,
    binomial,
    factorial,
    nan,
    oo,
    pi,
    simplify,
    zoo,
)
from sympy.core.evalf import evalf

from rltf.tasks.maths.rounding import is_rounded

_LARGEST = 200_000
"""Bits of a number that is worked out exactly; more takes longer than an answer is worth."""
_DIGITS = 60
_MOST_DIGITS = 20_000
_POINTS = 5

_NO_NUMBERS = (oo, -oo, zoo, nan)


class TooLargeError(ArithmeticError):
    """A number has too many digits to be worked out."""


def exact(formula: Any) -> Any:
    """The formula with every part that is a rational number worked out; decimals are the fractions that they write."""
    if not isinstance(formula, Basic) or formula.is_Symbol:
        return formula
    if isinstance(formula, Float):
        return Rational(str(formula))
    if not formula.args:
        return formula
    args = [exact(arg) for arg in formula.args]
    if isinstance(formula, UnevaluatedExpr):  # per cent
        return args[0]
    if all(isinstance(arg, Rational) for arg in args):
        value = _rational(formula, args)
        if value is not None:
            return value
    if isinstance(formula, Pow) and isinstance(args[1], Rational) and abs(args[1]) * _bits(args[0]) > _LARGEST:
        raise TooLargeError("a power")
    try:
        return formula.func(*args)
    except (TypeError, ValueError, AttributeError):
        return formula


def _rational(formula: Any, args: list[Any]) -> Any:
    """The value of a sum, product, power, factorial or binomial of rational numbers; None where it is no such."""
    if isinstance(formula, Add):
        return sum(args, Integer(0))
    if isinstance(formula, Mul):
        if sum(map(_bits, args)) > _LARGEST:
            raise TooLargeError("a product")
        return math.prod(args, start=Integer(1))
    if isinstance(formula, Pow) and args[1].is_Integer:
        if args[0] == 0 and args[1] < 0:
            return None
        if abs(int(args[1])) * _bits(args[0]) > _LARGEST:
            raise TooLargeError("a power")
        return args[0] ** args[1]
    if isinstance(formula, factorial) and args[0].is_Integer and args[0] >= 0:
        if args[0] > 10_000:
            raise TooLargeError("a factorial")
        return factorial(args[0])
    if isinstance(formula, binomial) and all(arg.is_Integer for arg in args):
        if max(map(abs, args)) > 20_000:
            raise TooLargeError("a binomial coefficient")
        return binomial(*args)
    return None


def same_value(given: Any, wanted: Any, seed: str) -> bool:
    """Whether two formulas are equal for all values of their variables.

    Rational numbers are compared exactly. Of others the difference is worked out to more digits than formulas of their
    length can hide one in (`_digits`): what differs by then differs, in relation to its own size, and what does not is
    equal. With variables the same is done at points drawn from `seed`; where that cannot be, `simplify` must show it.
    """
    if given == wanted:
        return not given.has(nan, zoo)
    given, wanted = _worked_out(given), _worked_out(wanted)
    if given == wanted or given.has(*_NO_NUMBERS) or wanted.has(*_NO_NUMBERS):
        return bool(given == wanted) and not given.has(nan, zoo)
    if isinstance(given, Rational) and isinstance(wanted, Rational):
        return False
    letters = sorted(given.free_symbols | wanted.free_symbols, key=str)
    if not letters:
        try:
            return not _differ(given, wanted, {})
        except _UndefinedError:
            return bool(simplify(given - wanted).is_zero)
    random = Random(seed)
    tried = 0
    for _ in range(4 * _POINTS):
        point = {letter: _point(letter, random) for letter in letters}
        try:
            if _differ(given, wanted, point):
                return False
        except (_UndefinedError, ArithmeticError):
            continue
        tried += 1
        if tried == _POINTS:
            return True
    return bool(simplify(given - wanted).is_zero)


def _worked_out(formula: Any) -> Any:
    formula = exact(formula)
    # Sums, integrals and limits are left as they stand until here.
    return exact(formula.doit()) if formula.has(Sum, Product, Integral, Limit, Derivative) else formula


def is_close(given: Any, wanted: Any) -> bool:
    """Whether a decimal, which may be rounded, is a value."""
    places = [_places(side) for side in (given, wanted)]
    values = [_fraction(_worked_out(side)) for side in (given, wanted)]
    if values[0] is None or values[1] is None:
        return False
    return is_rounded(values[0], values[1], *places)


def _places(formula: Any) -> int | None:
    decimals = formula.atoms(Float)
    return max((len(f"{Decimal(str(each)).normalize():f}".partition(".")[2]) for each in decimals), default=None)


def _fraction(formula: Any) -> Fraction | None:
    """The value of a real number, to more digits than a decimal has; None of anything else."""
    if isinstance(formula, Rational):
        return Fraction(int(formula.p), int(formula.q))
    if formula.free_symbols:
        return None
    value = formula.evalf(_DIGITS)
    return Fraction(str(value)) if isinstance(value, Float) else None


class _UndefinedError(ArithmeticError):
    """A formula has no value at a point."""


def _differ(given: Any, wanted: Any, point: dict[Any, Any]) -> bool:
    """Whether two values differ, as far as `_digits` digits show it."""
    if not isinstance(given, Expr) or not isinstance(wanted, Expr):
        return True
    difference = Add(given, Mul(Integer(-1), wanted, evaluate=False), evaluate=False)
    real, imaginary, real_digits, imaginary_digits = _evaluated(difference, _digits(given) + _digits(wanted), point)
    parts = ((real, real_digits), (imaginary, imaginary_digits))
    return any(part is not None and part[1] != 0 and (known or 0) >= 4 for part, known in parts)


def _evaluated(formula: Any, digits: int, point: dict[Any, Any]) -> Any:
    """Real and imaginary part, each with the bits that are certain; `digits` are worked with at most."""
    options: dict[str, Any] = {"maxprec": int(digits * 3.33) + 20, "chop": False, "strict": False}
    if point:
        options["subs"] = point
    try:
        found = evalf(formula, 30, options)
    except (NotImplementedError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise _UndefinedError(str(error)) from error
    if found is S.ComplexInfinity or not isinstance(found, tuple):
        raise _UndefinedError("no value")
    if any(part in (S.NaN, S.Infinity, S.NegativeInfinity) for part in found[:2]):
        raise _UndefinedError("no value")
    return found


def _digits(formula: Any) -> int:
    """How many decimal digits are worked with: more than the difference of two formulas of this length can begin after.

    The numbers of a formula are counted by their digits, with rational parts worked out, and an exponent by how many
    digits the power has. Two different values so written hardly ever agree in more digits than they are written with
    (a conjecture of D. Richardson, "The uniformity conjecture", 2000; twice as many and 60 are taken).
    """
    digits = _DIGITS + 2 * _written(formula)
    if digits > _MOST_DIGITS:
        raise TooLargeError("a formula of too many digits")
    return digits


def _written(formula: Any) -> int:
    if isinstance(formula, Rational):
        return 1 + int(_bits(formula) * 0.302)
    if not formula.args:
        return 1
    size = 1 + sum(map(_written, formula.args))
    if isinstance(formula, Pow) and formula.args[0].is_number:
        return size + _magnitude(formula.args[1]) * (1 + _written(formula.args[0]))
    if formula.is_Function and len(formula.args) == 1:
        return size + _magnitude(formula.args[0])
    return size


def _magnitude(formula: Any) -> int:
    """The size of an exponent or argument that is a number; as large as can be where it has no value."""
    if not formula.is_number:
        return 0
    try:
        return int(min(abs(complex(formula.evalf(5))), _MOST_DIGITS))
    except (TypeError, ValueError, OverflowError):
        return _MOST_DIGITS


def _bits(number: Any) -> int:
    if not isinstance(number, Rational):
        return 1 if number in (E, pi, I) else 8
    return max(1, int(number.p).bit_length() + int(number.q).bit_length() - 1) if abs(number) != 1 else 0


def _point(letter: Symbol, random: Random) -> Rational:
    """A number that no formula is made for, on either side of nought."""
    return Rational(random.randrange(-3_000_000, 3_000_000) * 2 + 1, 1_000_003)
