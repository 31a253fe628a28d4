"""Gold answers as data sets hold them: the part that answers, and what no attempt could ever meet."""

from __future__ import annotations

import re

_MARK = "####"
_MISSING = {"nan", "null", "n/a", "#n/a", "<na>", "-nan", "nat"}
"""How tables write that a value is missing."""
_LONGEST = 15
"""Words that an answer in words may have; nobody repeats a longer one word by word."""
_MATHS = re.compile(r"\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]|\\[a-zA-Z]+|[{}^_&]", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}")
_SAYS_MORE = re.compile(
    r"\s*(?:(?:so|thus|hence|therefore|finally)\b[\s,:]*)?(?:the\s+)?(?:(?:final|correct|right)\s+)?"
    r"(?:answer|solution|result)\s*(?:is\b|:|=).*",
    re.IGNORECASE | re.DOTALL,
)


def final_answer(gold: str) -> str:
    """What stands behind the last `####`, by which GSM8K parts working and answer; without one, the whole."""
    _, mark, behind = gold.rpartition(_MARK)
    behind = behind.strip()
    return behind if mark and behind and "\n" not in behind else gold


def fault_of_gold(gold: str) -> str:
    """Why no attempt will be found equal to a gold answer whose value is compared; empty where one may be.

    A task reads such golds all the same, since they may be few; `rltf validate` says how many there are.
    """
    gold = gold.strip()
    if gold.casefold() in _MISSING:
        return f"{gold!r} is how tables write a missing value"
    if "<<" in gold and ">>" in gold:
        return "holds the working of GSM8K, <<...>>, not the answer alone"
    if _SAYS_MORE.fullmatch(gold):
        return f"{gold[:60]!r} says more than the answer alone"
    words = len(_WORD.findall(_MATHS.sub(" ", gold)))
    if words > _LONGEST or (words > 3 and "\n" in gold):
        return f"is a text of {words} words, which no attempt will repeat; name the field with the answer alone"
    return ""
