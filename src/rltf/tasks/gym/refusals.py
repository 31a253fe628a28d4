"""Answers that are refused whatever a dataset's scorer makes of them.

Scorers are made for answers that mean well: one pays `nan` in full since every comparison with it fails, one reads the
first number it finds, one looks only at the letters that it knows. A policy that is trained finds such answers.
"""

from __future__ import annotations

import math
import re

from rltf.tasks.gym.forms import read_json, read_number

NOT_FINITE = "The answer holds a number that is not finite."
OTHER_TEXT = "The right answer stands among other text, which is not paid."
NO_LONE_NUMBER = "The dataset's scorer takes it for right, but it is not one number and nothing beside it."
OTHER_NUMBER = "The dataset's scorer takes it for right, but it is another number than the right one."

_ENDLESS = frozenset(["nan", "snan", "inf", "infinity", "oo", "zoo"])
_WORD = re.compile(r"[^\W\d_]+")
_NUMERAL = re.compile(r"(?<![\w.])\.?\d[\d_]*\.?[\d_]*(?:[eE][+-]?\d[\d_]*)?")
_LONG_WORD = re.compile(r"[^\W\d_]{2,}")
_AROUND = " *`'\"$%°"
_CLOSE = 0.01
"""How far a number may be off, as a part of it. No tolerance that a question states is wider."""


def before_scoring(answer: str, gold: str) -> str:
    """Why an answer must not reach the scorer; nothing where it may.

    Only where the right answer holds a number is `nan` read as one: elsewhere it may be a word.
    """
    numbers = any(symbol.isdecimal() for symbol in gold)
    return NOT_FINITE if numbers and not_finite(answer) and not not_finite(gold) else ""


def of_full_reward(answer: str, gold: str, several: bool) -> str:
    """Why an answer that the scorer takes for right is not; nothing where it is.

    Where `several` answers are right, another number may be, and text that holds the stated answer but no new word.
    """
    wanted = read_number(gold)
    if wanted is not None and _value(answer) == -wanted != 0:
        return OTHER_NUMBER
    if wanted is not None and not several:
        return _of_lone_number(answer, gold, wanted)
    beside = _beside(answer, gold)
    if several:
        beside = " ".join(set(_LONG_WORD.findall(beside)) - set(_LONG_WORD.findall(gold.casefold())))
    return OTHER_TEXT if re.search(r"\w", beside) else ""


def _of_lone_number(answer: str, gold: str, wanted: float) -> str:
    found = _value(answer)
    if found is None:
        return OTHER_TEXT if _beside(answer, gold) else NO_LONE_NUMBER
    return "" if math.isclose(found, wanted, rel_tol=_CLOSE) else OTHER_NUMBER


def not_finite(text: str) -> bool:
    """Whether a text holds, as a whole word in any case, what a reader of numbers takes for one that is not finite.

    Some scorers take spaces out before they read, some read the escapes of JSON, and some read `nani` as imaginary.
    """
    spellings = (text, "".join(text.split()), str(read_json(text)))
    return any(_is_endless(word) for spelling in spellings for word in _WORD.findall(spelling.casefold())) or any(
        not math.isfinite(float(numeral.replace("_", ""))) for numeral in _NUMERAL.findall(text)
    )


def _is_endless(word: str) -> bool:
    return word in _ENDLESS or (word[-1] in "ij" and word[:-1] in _ENDLESS)


def _value(answer: str) -> float | None:
    """The number that an answer is, also as a fraction or between marks; None for anything else."""
    top, line, bottom = answer.rstrip(". ").strip(_AROUND).partition("/")
    over, under = read_number(top), read_number(bottom) if line else 1.0
    return None if over is None or not under else over / under


def _beside(answer: str, gold: str) -> str:
    """What stands in an answer beside the gold one, in small letters; nothing where that does not stand in it."""
    text, part = (" ".join(one.casefold().split()).rstrip(".") for one in (answer, gold))
    found = re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text)
    return f"{text[: found.start()]} {text[found.end() :]}" if part and found else ""
