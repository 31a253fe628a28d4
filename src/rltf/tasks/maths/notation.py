"""Ways of writing a number that math-verify misreads or cannot read, rewritten exactly as it reads them."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_REPEATING = re.compile(r"(?<![\d.,}^_])(\d{0,30})\.(\d{0,30})\\(?:overline|bar)\s*\{\s*(\d{1,30})\s*\}")
# Not the "2" of `x^2 1/4` or of `\frac 1 2/3`.
_MIXED = re.compile(
    r"(?<![\w.^/\\])(?<!\\frac )(?<!\\sqrt )(\d{1,30})\s{1,9}(\d{1,30})\s{0,9}/\s{0,9}(\d{1,30})(?!\d|\.\d|\^)"
)
_EMPTY_SET = re.compile(r"\\varnothing(?![a-zA-Z])|\u2205")


def plain(text: str) -> str:
    """The text with `½`, `0.\\overline{3}` and `2 1/4` as fractions of LaTeX, and one sign for the empty set."""
    text = _VULGAR.sub(_vulgar, text.replace("\u2044", "/"))
    text = _REPEATING.sub(_repeating, text)
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    return _EMPTY_SET.sub(r"\\emptyset ", text).strip()


def _vulgar(match: re.Match[str]) -> str:
    above, _, below = unicodedata.normalize("NFKC", match[0]).partition("\u2044")
    return f"\\frac{{{above}}}{{{below}}}"


def _repeating(match: re.Match[str]) -> str:
    whole, shown, repeated = match.groups()
    nines = 10 ** len(shown) * (10 ** len(repeated) - 1)
    value = Fraction(int(whole + shown + repeated) - int(whole + shown or "0"), nines)
    return str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
