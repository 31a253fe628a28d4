"""Compares formulas that math-verify has read: relations, sets, matrices, words, and values by `exact`.

For the processes of `support.guarded` alone. What stands in lists, tuples and intervals is taken apart before, in
`structure`; here they occur inside formulas, and where only one of two answers is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from latex2sympy2_extended.logic import And
from latex2sympy2_extended.sets import FiniteSet
from sympy import (
    Basic,
    Derivative,
    E,
    Eq,
    Expr,
    Float,
    I,
    Interval,
    MatrixBase,
    Mul,
    Set,
    Symbol,
    Tuple,
    Union,
    oo,
    solve,
)
from sympy import FiniteSet as SympyFiniteSet
from sympy.core.function import AppliedUndef
from sympy.core.relational import Ge, Gt, Le, Lt, Ne, Relational

from rltf.tasks.maths.exact import exact, is_close, same_value

_FLIPPED = {Ge: Le, Gt: Lt, Le: Ge, Lt: Gt, Eq: Eq, Ne: Ne}
Same: TypeAlias = Callable[[Any, Any], bool]


def is_same(given: Any, wanted: Any, seed: str) -> bool:
    """Whether two formulas say the same. `seed` draws the points at which formulas with variables are compared."""
    return _Comparison(seed).same(_with_plain_letters(given), _with_plain_letters(wanted))


def either(read: Any) -> Any:
    """Conditions with `or` between them, which are read as a list, as the set of the numbers that meet one of them."""
    conditions = read._unsorted_args if isinstance(read, FiniteSet) else ()
    if not all(isinstance(condition, Relational | And) for condition in conditions):
        return read
    letters = {letter for condition in conditions for letter in condition.free_symbols}
    if len(letters) != 1 or all(isinstance(condition, Eq) for condition in conditions):
        return read
    return Union(*(condition.as_set() for condition in conditions))


class _Comparison:
    def __init__(self, seed: str) -> None:
        self._seed = seed

    def same(self, given: Any, wanted: Any) -> bool:
        given, wanted = self._unwrapped(_shortened(given), _shortened(wanted))
        if _is_relation(given) and isinstance(wanted, Set):
            given = _as_set(given)
        if _is_relation(wanted) and isinstance(given, Set):
            wanted = _as_set(wanted)
        if _is_relation(given) or _is_relation(wanted):
            return _is_relation(given) and _is_relation(wanted) and self._same_relations(given, wanted)
        if isinstance(given, Set | Tuple) or isinstance(wanted, Set | Tuple):
            return self._same_sets(given, wanted)
        if isinstance(given, MatrixBase) and isinstance(wanted, MatrixBase):
            if given.shape != wanted.shape:
                return False
            return all(map(self.same, given.flat(), wanted.flat()))
        if isinstance(given, Symbol) or isinstance(wanted, Symbol):
            return _same_names(given, wanted) or (_is_formula(given, wanted) and self._same_values(given, wanted))
        return self._same_values(given, wanted)

    def _same_values(self, given: Any, wanted: Any) -> bool:
        if isinstance(given, MatrixBase) or isinstance(wanted, MatrixBase):
            return bool(given == wanted)
        if not _is_formula(given, wanted):  # a matrix expression, such as a power of one
            given, wanted = (part.doit() if isinstance(part, Basic) else part for part in (given, wanted))
            if isinstance(given, MatrixBase) and isinstance(wanted, MatrixBase):
                return self.same(given, wanted)
            return bool(given == wanted)
        if _is_decimal(given) or _is_decimal(wanted):
            return is_close(given, wanted)
        return same_value(_plain_functions(given), _plain_functions(wanted), self._seed)

    def _unwrapped(self, given: Any, wanted: Any) -> tuple[Any, Any]:
        """`y = 3x + 8` is `3x + 8`: a name is compared where both have one. `3x + 4 = 0` is no `3x + 4`."""
        if _is_assignment(given) and not _is_relation(wanted):
            return given.rhs, wanted
        if _is_assignment(wanted) and not _is_relation(given):
            return given, wanted.rhs
        return given, wanted

    def _same_relations(self, given: Any, wanted: Any) -> bool:
        if isinstance(given, And) and isinstance(wanted, And):
            mine, theirs = given._unsorted_args, wanted._unsorted_args
            if len(mine) != len(theirs):
                return False
            pairs = list(zip(mine, theirs, strict=True))
            # a < x < b is b > x > a
            back = list(zip(reversed(mine), theirs, strict=True))
            return any(all(self._same_relations(*pair) for pair in order) for order in (pairs, back))
        if not isinstance(given, Relational) or not isinstance(wanted, Relational):
            return False
        mine, theirs = given.lhs - given.rhs, wanted.lhs - wanted.rhs
        if type(given) is type(wanted) and self.same(mine, theirs):
            return True
        if type(wanted) is _FLIPPED.get(type(given)) and self.same(mine, -theirs):
            return True
        return isinstance(given, Eq) and isinstance(wanted, Eq) and self._same_solutions(given, wanted)

    def _same_solutions(self, given: Any, wanted: Any) -> bool:
        """Equations of the same letters, each of which follows from the other."""
        letters = sorted(given.free_symbols, key=str)
        if not letters or set(letters) != wanted.free_symbols:
            return False
        for letter in letters:
            try:
                mine, theirs = (solve(exact(side.lhs - side.rhs), letter) for side in (given, wanted))
            except NotImplementedError:
                continue
            if not mine or len(mine) != len(theirs):
                return False
            return self._same_entries(mine, theirs)
        return False

    def _same_sets(self, given: Any, wanted: Any) -> bool:
        given, wanted = _exact_set(given), _exact_set(wanted)
        if given == wanted:
            return True
        if isinstance(given, Interval) and isinstance(wanted, Interval):
            open_ends = (given.left_open, given.right_open) == (wanted.left_open, wanted.right_open)
            return bool(open_ends) and self.same(given.start, wanted.start) and self.same(given.end, wanted.end)
        mine, theirs = _entries(given), _entries(wanted)
        if mine is not None and theirs is not None:
            if len(mine) != len(theirs):
                return False
            if isinstance(given, Set) and isinstance(wanted, Set) and not isinstance(given, Interval):
                return self._same_entries(mine, theirs)
            return all(map(self.same, mine, theirs))
        if isinstance(given, Set) and isinstance(wanted, Set):
            try:
                return bool(given.symmetric_difference(wanted).is_empty)
            except (TypeError, NotImplementedError, ValueError, AttributeError):
                return False
        return False

    def _same_entries(self, mine: list[Any], theirs: list[Any]) -> bool:
        """Whether each entry of one stands in the other as well, in any order."""
        left = list(theirs)
        for entry in mine:
            same = next((i for i, other in enumerate(left) if self.same(entry, other)), None)
            if same is None:
                return False
            del left[same]
        return not left


def _with_plain_letters(read: Any) -> Any:
    """The formula with its letters real, as math-verify has them in some formulas alone, and i the imaginary unit."""
    if not isinstance(read, Basic | MatrixBase):
        return read
    letters = {each: I if each.name == "i" else Symbol(each.name, real=True) for each in read.free_symbols}
    return read.xreplace(letters) if any(letters[each] != each for each in letters) else read


def _is_relation(read: Any) -> bool:
    if isinstance(read, And):
        return all(isinstance(part, Relational) for part in read._unsorted_args)
    return isinstance(read, Relational)


def _is_assignment(read: Any) -> bool:
    return isinstance(read, Eq) and _is_name(read.lhs)


def _is_name(read: Any) -> bool:
    """A letter, a word of letters, a function at a place: what an equation may define."""
    if isinstance(read, Mul):
        return all(isinstance(part, Symbol) for part in read.args)
    return isinstance(read, Symbol | AppliedUndef | Derivative)


def _shortened(read: Any) -> Any:
    """Of `x = 2 + 3 = 5` the first and the last."""
    if not isinstance(read, And) or not all(isinstance(part, Eq) for part in read._unsorted_args):
        return read
    first, last = read._unsorted_args[0], read._unsorted_args[-1]
    return Eq(first.lhs, last.rhs, evaluate=False) if _is_name(first.lhs) else read


def _as_set(relation: Any) -> Any:
    try:
        return _plain_functions(relation).as_set()
    except (NotImplementedError, ValueError, TypeError, AttributeError):
        return relation


def _exact_set(read: Any) -> Any:
    """A set or a tuple with its numbers worked out; anything else as the set of it alone."""
    if isinstance(read, FiniteSet | SympyFiniteSet):
        return SympyFiniteSet(*map(exact, read.args))
    return exact(read) if isinstance(read, Set | Tuple) else SympyFiniteSet(read)


def _entries(read: Any) -> list[Any] | None:
    """The members of a list, or of a point, which an open interval may be; None for any other set."""
    if isinstance(read, SympyFiniteSet | Tuple):
        return list(read.args)
    if isinstance(read, Interval) and read.is_open and oo not in (read.end, -read.start):
        return [read.start, read.end]
    return None


def _is_formula(*parts: Any) -> bool:
    return all(isinstance(part, Expr) for part in parts)


def _is_decimal(read: Any) -> bool:
    """A decimal, or one with a sign or in per cent."""
    if isinstance(read, Mul) and len(read.args) == 2:
        others = [part for part in read.args if not isinstance(part, Float)]
        return len(others) == 1 and not others[0].free_symbols and exact(others[0]).is_Rational
    return isinstance(read, Float)


def _plain_functions(read: Any) -> Any:
    """The formula with `f(x)` as a name."""
    applied = read.atoms(AppliedUndef)
    if not applied:
        return read
    return read.xreplace({each: Symbol("_".join(("f", *map(str, (each.func, *each.args))))) for each in applied})


def _same_names(given: Any, wanted: Any) -> bool:
    """One letter and another, or a word and the product of its letters, capitals or not."""
    return _name(given) is not None and _name(given) == _name(wanted)


def _name(read: Any) -> str | None:
    if isinstance(read, Symbol):
        return str(read.name).lower()
    if read == E:
        return "e"
    if isinstance(read, Mul) and all(part == E or isinstance(part, Symbol) for part in read.args):
        return "".join("e" if part == E else part.name for part in read.args).lower()
    return None
