"""What can be said of a wrong answer without saying the right one. No remark holds a digit."""

from __future__ import annotations

from rltf.tasks.maths.boxed import boxes, is_open, last_answer
from rltf.tasks.maths.golds import LONGEST_ANSWER
from rltf.tasks.maths.parts import parted
from rltf.tasks.maths.quantities import quantity_of, units_agree
from rltf.tasks.maths.structure import based
from rltf.tasks.maths.values import Kind, Shape, is_close, is_point_for_set, letters_of, numeral_of, shape_of, value_of

NO_BOX = "There is no answer in \\boxed{...}."
OPEN_BOX = "The \\boxed{...} is never closed, so it holds no answer."
EMPTY_BOX = "The \\boxed{...} is empty."
TOO_LONG = "What stands in the \\boxed{...} is too long for a final answer."
UNREADABLE = "What stands in the \\boxed{...} cannot be read as mathematics."
UNCHECKED = "What stands in the \\boxed{...} takes too long to check; write it more simply."
FAULTS_OF_FORM = frozenset({NO_BOX, OPEN_BOX, EMPTY_BOX, TOO_LONG, UNREADABLE, UNCHECKED})

WRONG = "The answer has a form that can be read, but it is wrong."
NOT_WORKED_OUT = "The answer is not worked out: a single number is asked for."
WRONG_UNIT = "The number is right, but not its unit."
WRONG_BASE = "The digits are right, but not their base."
SEVERAL = "There are several boxed answers that differ; only the last one counts."
_NAMES: dict[Kind, str] = {
    "number": "a single number",
    "interval": "an interval",
    "list": "a list of several entries",
    "set": "a set",
    "equation": "an equation or inequality",
    "expression": "an expression",
    "words": "words",
}
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def extract(text: str) -> str | None:
    """What stands in the last box of an attempt that is closed; None without one."""
    return last_answer(text)


def fault_of_form(text: str) -> str:
    """Why an attempt holds no answer that could be compared; empty where it does."""
    answer = extract(text)
    if answer is None:
        return OPEN_BOX if is_open(text) else NO_BOX
    if not answer:
        return EMPTY_BOX
    return TOO_LONG if len(answer) > LONGEST_ANSWER else ""


def locate(text: str, answer: str, gold: str) -> str:
    """All that is found in a wrong answer, in one line."""
    remarks = [_compare(answer, gold)]
    found = set(boxes(text))
    if len(found) > 1 and answer in found:
        remarks.append(SEVERAL)
    return " ".join(filter(None, remarks)) or WRONG


def _compare(answer: str, gold: str) -> str:
    mine, right = based(answer), based(gold)
    if mine is not None and right is not None and mine.digits == right.digits:
        return WRONG_BASE
    given, wanted = shape_of(answer), shape_of(gold)
    if numeral_of(gold) is not None and numeral_of(answer) is None and given.kind in ("number", "expression"):
        return NOT_WORKED_OUT
    listed = {given.kind, wanted.kind} == {"list", "set"} and not is_point_for_set(given, wanted)
    if given.kind != wanted.kind and not listed:
        several = given.kind == "list" and wanted.kind == "expression"
        return "" if several else f"The answer is {_NAMES[given.kind]}, but {_NAMES[wanted.kind]} is asked for."
    if wanted.kind == "number":
        return _compare_numbers(answer, gold)
    if wanted.kind in ("list", "set", "interval"):
        return _compare_entries(given, wanted)
    if wanted.kind == "expression" and letters_of(answer) != letters_of(gold):
        missing = letters_of(gold) - letters_of(answer)
        return f"The answer {'lacks a variable' if missing else 'has a variable too many'}."
    return ""


def _compare_numbers(answer: str, gold: str) -> str:
    value, right = value_of(answer), value_of(gold)
    if value is None or right is None:
        return ""
    if is_close(value, right):
        return "" if _units_agree(answer, gold) else WRONG_UNIT
    if numeral_of(gold) == "whole" and not float(value).is_integer():
        return "A whole number is asked for. " + _direction(value, right)
    if is_close(value, -right):
        return "The sign is wrong."
    if right and value and is_close(abs(value), 1 / abs(right)):
        return "Is the fraction upside down?"
    ratio = value / right if right else 0.0
    if any(is_close(ratio, power) for power in (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)):
        return "The digits are right, but the decimal point is not."
    if numeral_of(answer) == "decimal" and numeral_of(gold) != "decimal" and is_close(value, right, 1e-2):
        return "The answer is only an approximation; the exact value is asked for."
    near = "The value is off by less than one per cent. " if is_close(value, right, 1e-2) else ""
    return near + _direction(value, right)


def _units_agree(answer: str, gold: str) -> bool:
    given, wanted = quantity_of(answer), quantity_of(gold)
    if given is not None and wanted is not None and given.in_per_cent and not wanted.in_per_cent:
        return False
    return units_agree(parted(answer)[1], parted(gold)[1])


def _direction(value: float, right: float) -> str:
    if is_close(value, right):
        return ""
    return "The value is too large." if value > right else "The value is too small."


def _compare_entries(given: Shape, wanted: Shape) -> str:
    if len(given.entries) != len(wanted.entries):
        count = len(wanted.entries)
        if not given.entries or not wanted.entries:
            return ""
        if count >= len(_COUNTS):
            return "The number of entries is wrong."
        return f"{_COUNTS[count].capitalize()} {'entry is' if count == 1 else 'entries are'} asked for."
    if not wanted.entries:
        return ""
    if wanted.kind == "interval":
        ends = [_same(mine, right) for mine, right in zip(given.entries, wanted.entries, strict=True)]
        if all(ends):
            return "Both ends are right, but not which of them belong to the interval."
        sides = [side for side, same in zip(("left", "right"), ends, strict=True) if not same]
        return f"The {sides[0]} end is wrong." if len(sides) == 1 else "Both ends are wrong."
    if sorted(map(_key, given.entries)) == sorted(map(_key, wanted.entries)):
        return "The entries are right, but not their order."
    if wanted.ends:
        good = sum(_same(mine, right) for mine, right in zip(given.entries, wanted.entries, strict=True))
    else:
        left = [_key(entry) for entry in wanted.entries]
        good = 0
        for key in map(_key, given.entries):
            if key in left:
                left.remove(key)
                good += 1
    if good >= len(_COUNTS):
        return "Some entries are wrong."
    return f"{_COUNTS[good].capitalize()} {'entry is' if good == 1 else 'entries are'} right."


def _same(entry: str, right: str) -> bool:
    return _key(entry) == _key(right)


def _key(entry: str) -> str:
    """One text for all forms of a number."""
    value = value_of(entry)
    return "".join(entry.split()) if value is None else f"{value:.9g}"
