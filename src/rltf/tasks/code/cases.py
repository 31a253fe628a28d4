"""A test of an attempt: what is to be computed, and which results are right. They are compared here, on plain data."""

from __future__ import annotations

import ast
import builtins
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rltf.tasks.code.outputs import Slack, near, same_output

_CONSTANTS = {"math.inf": math.inf, "inf": math.inf, "float('inf')": math.inf, "float('-inf')": -math.inf}
_CONTAINERS: dict[str, Any] = {"set": set, "frozenset": frozenset, "tuple": tuple, "list": list, "dict": dict}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test."""

    expression: str = ""
    """What is evaluated after the attempt; empty where the attempt is a program that reads `stdin`."""
    stdin: str = ""
    accepted: tuple[Any, ...]
    """The right values, any of which will do; the output's text for a program."""
    tolerance: tuple[float, float] | None = None
    """Relative and absolute distance within which a number is right. None: only the very number."""
    loose_sequences: bool = False
    """Whether a tuple is as good as a list: in data sets whose values are JSON, which has no tuples."""
    slack: Slack | None = None
    """For a float, or a word of an output with a decimal point: how near is near enough. None: only the very number."""


def passes(case: Case, encoded: Any) -> bool:
    """Whether a value, in the form of `child.encoded` but from a process that may have forged it, is right."""
    try:
        return any(_equal(accepted, encoded, case) for accepted in case.accepted)
    except (RecursionError, OverflowError, TypeError):
        return False


def output_passes(case: Case, output: str) -> bool:
    """Whether a program's output has the expected lines; numbers may be written in another way."""
    return any(same_output(str(accepted), output, case.slack) for accepted in case.accepted)


def _equal(expected: Any, encoded: Any, case: Case) -> bool:
    """Python's ==, led by the expected value, so that what was sent costs no more than that is large."""
    match expected:
        case bool() | int() | float() | complex():
            value = _number(encoded)
            if value is None:
                return False
            if case.tolerance is not None and not isinstance(expected, complex) and not isinstance(value, complex):
                return math.isclose(expected, value, rel_tol=case.tolerance[0], abs_tol=case.tolerance[1])
            return bool(expected == value) or (case.slack is not None and _near(expected, value, case.slack))
        case None | str():
            return type(encoded) is type(expected) and bool(encoded == expected)
        case bytes():
            return bool(encoded == ["bytes", expected.hex()])
    if not isinstance(encoded, list) or not encoded:
        return False
    kind, *items = encoded
    if len(items) != len(expected):
        return False
    match expected:
        case list() | tuple():
            kinds = ("list", "tuple") if case.loose_sequences else (type(expected).__name__,)
            return kind in kinds and all(_equal(a, b, case) for a, b in zip(expected, items, strict=True))
        case set() | frozenset():
            return kind == "set" and {_plain(item) for item in items} == {_plain_expected(item) for item in expected}
        case Mapping():
            if kind != "dict" or not all(isinstance(item, list) and len(item) == 2 for item in items):
                return False
            found = {_plain(key): value for key, value in items}
            pairs = [(_plain_expected(key), value) for key, value in expected.items()]
            return all(key in found and _equal(value, found[key], case) for key, value in pairs)
    return False


def _near(expected: bool | float | complex, value: bool | float | complex, slack: Slack) -> bool:
    """Whether a number is near an expected float."""
    if not isinstance(expected, float) or not isinstance(value, float) or not math.isfinite(expected + value):
        return False
    return near(Decimal(repr(expected)), Decimal(repr(value)), slack)


def _number(encoded: Any) -> bool | int | float | complex | None:
    match encoded:
        case bool() | int() | float():
            return encoded
        case ["int", str(digits)] if re.fullmatch(r"-?0x[0-9a-f]+", digits):
            return int(digits, 16)
        case ["complex", float(real) | int(real), float(imaginary) | int(imaginary)]:
            return complex(real, imaginary)
    return None


def _plain(encoded: Any) -> Any:
    """A hashable stand-in for a member of a set or a key: equal for equal values of like kind."""
    number = _number(encoded)
    if number is not None:
        return number
    if isinstance(encoded, list):
        kind, items = (encoded[0], encoded[1:]) if encoded and isinstance(encoded[0], str) else ("", encoded)
        parts = [_plain(item) for item in items]
        return (kind, frozenset(parts)) if kind == "set" else (kind, *parts)
    # A forged object, which nothing is equal to.
    return ("", repr(encoded)) if isinstance(encoded, dict) else encoded


def _plain_expected(value: Any) -> Any:
    """The same for an expected value."""
    match value:
        case tuple():
            return ("tuple", *(_plain_expected(item) for item in value))
        case frozenset():
            return ("set", frozenset(_plain_expected(item) for item in value))
        case bytes():
            return ("bytes", value.hex())
    return value


def case_of_assertion(text: str, function: str) -> Case | None:
    """The test that an `assert` states about a function; None where its right side is not known without running it.

    `assert LEFT == LITERAL` in either order, `is` for None, True and False, `isclose(LEFT, LITERAL, ...)`,
    `abs(LEFT - LITERAL) < LITERAL`, `assert FUNCTION(...)` and `assert not FUNCTION(...)`.
    """
    try:
        body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        return None
    try:
        case = _case_of(body[0].test, function)
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError):
        return None
    # An expression that does not use the function tests nothing.
    return case if case is not None and re.search(rf"\b{re.escape(function)}\b", case.expression) else None


def _case_of(test: ast.expr, function: str) -> Case | None:
    match test:
        case ast.Compare(left, [ast.Eq()], [right]):
            return _sides(left, right, None)
        case ast.Compare(left, [ast.Is()], [ast.Constant(None | bool() as value)]):
            return Case(expression=ast.unparse(left), accepted=(value,))
        case ast.Compare(
            ast.Call(ast.Name("abs"), [ast.BinOp(left, ast.Sub(), right)], []), [ast.Lt() | ast.LtE()], [bound]
        ):
            return _sides(left, right, (0.0, float(literal(bound))))
        case ast.Call(ast.Attribute(ast.Name("math"), "isclose") | ast.Name("isclose"), [left, right], keywords):
            named = {str(keyword.arg): float(literal(keyword.value)) for keyword in keywords}
            if not set(named) <= {"rel_tol", "abs_tol"}:
                return None
            return _sides(left, right, (named.get("rel_tol", 1e-9), named.get("abs_tol", 0.0)))
        case ast.UnaryOp(ast.Not(), ast.Call(ast.Name(name)) as call) if name == function:
            return Case(expression=f"not {ast.unparse(call)}", accepted=(True,))
        case ast.Call(ast.Name(name)) if name == function:
            return Case(expression=f"not not {ast.unparse(test)}", accepted=(True,))
    return None


def _sides(left: ast.expr, right: ast.expr, tolerance: tuple[float, float] | None) -> Case:
    """The one side that is a literal is expected of the other. Raises ValueError if there is none."""
    try:
        value = literal(right)
    except ValueError:
        left, value = right, literal(left)
    return Case(expression=ast.unparse(left), accepted=(value,), tolerance=tolerance)


def literal(node: ast.expr) -> Any:
    """The value of a literal, of `set(...)` and its like around one, and of infinity. Raises ValueError for others."""
    text = ast.unparse(node)
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    match node:
        case ast.Call(ast.Name(name), arguments, []) if name in _CONTAINERS and len(arguments) <= 1:
            return _CONTAINERS[name](*map(literal, arguments))
        case ast.List(items):
            return [literal(item) for item in items]
        case ast.Tuple(items):
            return tuple(literal(item) for item in items)
        case ast.UnaryOp(ast.USub(), operand) if ast.unparse(operand) in _CONSTANTS:
            return -_CONSTANTS[ast.unparse(operand)]
    return ast.literal_eval(node)


def called_names(text: str) -> list[str]:
    """Names that are called in a piece of Python and that Python does not bring along; none if it is not readable."""
    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [name for name in names if not hasattr(builtins, name)]
