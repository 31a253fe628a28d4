"""The gold answer within what data sets hold: in a box or in dollars, behind `####`, at the end of a solution."""

from __future__ import annotations

from functools import lru_cache

from rltf.tasks.golds import final_answer
from rltf.tasks.maths.boxed import last_answer

LONGEST_ANSWER = 1000
"""Characters of an answer in a box; a longer one is none."""
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\[", "\\]"), ("\\(", "\\)"))


@lru_cache(maxsize=4096)
def normal_answer(answer: str) -> str:
    """A gold answer without the box, the dollars or the solution around it."""
    boxed = last_answer(answer)
    answer = (boxed or answer).strip()
    answer = final_answer(answer).strip()
    for opening, closing in _DELIMITERS:
        inner = answer.removesuffix(".").removeprefix(opening).removesuffix(closing)
        within = answer.startswith(opening) and answer.removesuffix(".").endswith(closing)
        if within and inner.strip() and opening not in inner and "$" not in inner:
            return inner.strip()
    return answer
