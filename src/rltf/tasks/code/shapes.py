"""Problems from rows: our own, and those of MBPP, APPS and LiveCodeBench."""

from __future__ import annotations

import ast
import base64
import json
import pickletools
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, TypeAlias

from rltf.support.errors import UserError
from rltf.support.rows import field_of, load_rows, text_of
from rltf.tasks.code.cases import Case, called_names, case_of_assertion, literal
from rltf.tasks.code.outputs import Slack, stated_slack

Shape: TypeAlias = Literal["builtin", "mbpp", "apps", "livecodebench"]
BUILTIN = "builtin"
NO_REFERENCE = "No reference solution is known."
_MOST_INFLATED = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A problem as a data set has it."""

    text: str
    begins: str
    """How the answer begins: a signature, or a piece of code to be completed. Empty for a program."""
    function: str
    """The function that is called. Empty for a program."""
    solution: str
    cases: tuple[Case, ...]
    setup: str = ""
    """What is run after the attempt and before the tests."""
    wrong: tuple[str, ...] = ()
    """Solutions that must fail."""
    supplied: bool = False
    """Whether the data set's own runner imports modules before the attempt (`supplied.py`)."""


class _NoTests(Exception):
    """A problem that cannot be checked."""


def read_listings(source: str, shape: Shape) -> tuple[list[Listing], int]:
    """The problems of a source, and how many were left out because no test of theirs can be checked without trust."""
    if source == BUILTIN:
        source = str(files("rltf.tasks.code") / "problems.jsonl")
        shape = "builtin"
    listings, left_out = [], 0
    for place, row in load_rows(source):
        try:
            listings.append(_READERS[shape](row, place))
        except _NoTests:
            left_out += 1
    if not listings:
        raise UserError(f"{source}: holds no problem with tests that can be checked ({left_out} without)")
    return listings, left_out


def _own(row: Mapping[str, Any], place: str) -> Listing:
    tests = field_of(row, "tests", place)
    cases = []
    for test in tests if isinstance(tests, list) else ():
        match test:
            case [str(call), str(expected)]:
                cases.append(Case(expression=call, accepted=(_literal(expected, place),)))
            case _:
                raise UserError(f"{place}: tests: each is a call and the literal that it gives, two texts")
    signature = text_of(row, "signature", place)
    wrong = row.get("wrong", [])
    if not cases or not isinstance(wrong, list) or not all(isinstance(code, str) for code in wrong):
        raise UserError(f"{place}: needs tests, a list of pairs, and in wrong, if there is any, a list of solutions")
    function = re.match(r"def (\w+)\(", signature)
    if function is None:
        raise UserError(f"{place}: signature: must begin with def NAME(")
    return Listing(
        text=text_of(row, "text", place),
        begins=signature,
        function=function[1],
        solution=text_of(row, "solution", place),
        cases=tuple(cases),
        wrong=tuple(wrong),
    )


def _mbpp(row: Mapping[str, Any], place: str) -> Listing:
    """The full set has `text`, `test_setup_code`, `challenge_test_list`; the sanitized one `prompt`, `test_imports`."""
    solution = text_of(row, "code", place).replace("\r\n", "\n")
    asserted = [*_texts(row, "test_list", place), *_texts(row, "challenge_test_list", place)]
    if not asserted:
        raise _NoTests
    functions = dict(_signatures(solution))
    called = [name for text in asserted for name in called_names(text)]
    function = next((name for name in called if name in functions), None)
    if function is None:
        raise _NoTests
    cases = [case_of_assertion(text, function) for text in asserted]
    if any(case is None for case in cases):
        # What the attempt itself would have to be trusted with.
        raise _NoTests
    setup = [*_texts(row, "test_imports", place), str(row.get("test_setup_code") or "")]
    return Listing(
        text=text_of(row, "text" if "text" in row else "prompt", place),
        begins=functions[function],
        function=function,
        solution=solution,
        cases=tuple(case for case in cases if case is not None),
        setup="\n".join(setup).strip(),
    )


def _apps(row: Mapping[str, Any], place: str) -> Listing:
    """`solutions` and `input_output` are JSON in texts; the latter has `fn_name` where a function is asked for."""
    tests = _json(row.get("input_output") or "null", place, "input_output")
    solutions = _json(row.get("solutions") or "[]", place, "solutions")
    match tests:
        case {"inputs": [*inputs], "outputs": [*outputs]} if inputs and len(inputs) == len(outputs):
            pass
        case _:
            raise _NoTests
    starter = str(row.get("starter_code") or "").strip()
    text = text_of(row, "question", place)
    slack = stated_slack(text)
    function = str(tests.get("fn_name") or "")
    if function:
        called = f"Solution().{function}" if "class Solution" in starter else function
        if not called.replace("Solution().", "").isidentifier() or not all(isinstance(i, list) for i in inputs):
            raise _NoTests
        # Many of these outputs are wrapped in a list of one; the benchmark's own checker takes both.
        cases = [
            _call(
                called, given, (result, *result) if isinstance(result, list) and len(result) == 1 else (result,), slack
            )
            for given, result in zip(inputs, outputs, strict=True)
        ]
    else:
        pairs = zip(inputs, outputs, strict=True)
        cases = [Case(stdin=_lines(given), accepted=(_lines(result),), slack=slack) for given, result in pairs]
    solution = next((text for text in solutions if isinstance(text, str) and text.strip()), NO_REFERENCE)
    return Listing(text=text, begins=starter, function=function, solution=solution, cases=tuple(cases), supplied=True)


def _livecodebench(row: Mapping[str, Any], place: str) -> Listing:
    """Tests are JSON in texts, the private ones packed; where a function is asked for, `metadata` has `func_name`."""
    tests = _json(text_of(row, "public_test_cases", place), place, "public_test_cases")
    private = row.get("private_test_cases")
    if private:
        tests = [*tests, *_private(str(private), place)]
    starter = str(row.get("starter_code") or "").strip()
    metadata = _json(row.get("metadata") or "{}", place, "metadata")
    function = str(metadata.get("func_name") or "") if isinstance(metadata, dict) else ""
    if bool(starter) != bool(function) or (function and not function.isidentifier()):
        raise _NoTests
    text = text_of(row, "question_content", place)
    slack = stated_slack(text)
    cases = []
    for test in tests:
        match test:
            case {"input": str(given), "output": str(result), "testtype": "functional"} if function:
                called = f"Solution().{function}" if "class Solution" in starter else function
                cases.append(_call(called, _values(given, place), (_json(result, place, "output"),), slack))
            case {"input": str(given), "output": str(result), "testtype": "stdin"} if not function:
                cases.append(Case(stdin=given, accepted=(result,), slack=slack))
            case _:
                raise _NoTests
    if not cases:
        raise _NoTests
    return Listing(
        text=text,
        begins=starter,
        function=function,
        solution=NO_REFERENCE,
        cases=tuple(cases),
        supplied=True,
    )


def _private(text: str, place: str) -> Sequence[Any]:
    """JSON, or JSON in a pickled text, compressed, in base 64. Nothing is unpickled."""
    try:
        unpacked = json.loads(text)
    except (ValueError, RecursionError):
        try:
            inflater = zlib.decompressobj()
            packed = inflater.decompress(base64.b64decode(text, validate=True), _MOST_INFLATED)
            unpacked = _pickled_text(packed)
        except (ValueError, zlib.error) as error:
            raise UserError(f"{place}: private_test_cases: cannot be unpacked: {error}") from error
        unpacked = _json(unpacked, place, "private_test_cases")
    if not isinstance(unpacked, list):
        raise UserError(f"{place}: private_test_cases: is no list")
    return unpacked


def _pickled_text(data: bytes) -> str:
    """The text that a pickle consists of. It is read as a list of instructions and never carried out."""
    texts = []
    for instruction, argument, _ in pickletools.genops(data):
        if instruction.name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"):
            texts.append(str(argument))
        elif instruction.name not in ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"):
            raise ValueError(f"its pickle holds more than a text: {instruction.name}")
    if len(texts) != 1:
        raise ValueError(f"its pickle holds {len(texts)} texts")
    return texts[0]


def _values(text: str, place: str) -> list[Any]:
    """JSON values one after the other, with any space between them: one on each line, as a rule."""
    values, position = [], 0
    text = text.strip()
    while position < len(text):
        try:
            value, position = json.JSONDecoder().raw_decode(text, position)
        except (ValueError, RecursionError):
            _json(text[position:], place, "input")  # says what is wrong with it
            raise
        values.append(value)
        position += len(text[position:]) - len(text[position:].lstrip())
    return values


def _call(called: str, arguments: Sequence[Any], accepted: tuple[Any, ...], slack: Slack) -> Case:
    text = ", ".join(repr(argument) for argument in arguments)
    return Case(expression=f"{called}({text})", accepted=accepted, loose_sequences=True, slack=slack)


def _signatures(code: str) -> list[tuple[str, str]]:
    """Name and first line of each function of a solution; one that is not readable, such as Python 2, has none."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    return [(node.name, f"def {node.name}({ast.unparse(node.args)}):") for node in functions]


def _texts(row: Mapping[str, Any], name: str, place: str) -> list[str]:
    value = row.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f"{place}: {name}: must be a list of texts")
    return value


def _lines(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _json(text: Any, place: str, name: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if "integer string conversion" in str(error):  # a number of more digits than Python reads
            raise _NoTests from error
        raise UserError(f"{place}: {name}: is not valid JSON: {error}") from error


def _literal(text: str, place: str) -> Any:
    try:
        return literal(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UserError(f"{place}: tests: {text!r} is no literal") from error


_READERS: dict[Shape, Callable[[Mapping[str, Any], str], Listing]] = {
    "builtin": _own,
    "mbpp": _mbpp,
    "apps": _apps,
    "livecodebench": _livecodebench,
}
