"""Ways of writing a number that math-verify misreads or cannot read, rewritten exactly as it reads them."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_REPEATING = re.compile(r"(?<![\d.,}^_])(\d{0,30})\.(\d{0,30})\\(?:overline|bar|dot)\s*\{\s*(\d{1,30})\s*\}")
_NOT_IN_COMMAND = r"(?<!\\frac )(?<!\\sqrt )"
# Not the "2" of `x^2 1/4` or of `\frac 1 2/3`.
_MIXED = re.compile(
    rf"(?<![\w.^/\\]){_NOT_IN_COMMAND}(\d{{1,30}})\s{{1,9}}(\d{{1,30}})\s{{0,9}}/\s{{0,9}}(\d{{1,30}})(?!\d|\.\d|\^)"
)
# One sign between all groups; no mixed number such as 1 234/567, and no subscript: no base has three digits.
_GROUPED = re.compile(
    rf"(?<![\w.,^\\'}}]){_NOT_IN_COMMAND}(?<![\d] )(\d{{1,3}})([ '_])(\d{{3}}(?:\2\d{{3}})*)(?![\w'^]|,\d|\s?/|\s\d)"
)
_GROUPED_PLACES = re.compile(r"(?<=\d)(\.\d{3})((?: \d{3})+)(?![\d/ ])")
_GROUPED_BY_POINTS = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3}){2,}(?![\d.])")
_EMPTY_GROUP = re.compile(r"(?<=\d)\{\s*\}(?=\d)")
_SCIENTIFIC = re.compile(r"(?<![\w.,\\}])(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})[eE]([-+]?\d{1,3})(?![\w.])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,}])(0)\{,\}(?=\d)|(?<=\d)\{,\}(?=\d{1,2}(?!\d)|\d{4})")
_OVER = re.compile(r"(?<=\d)\s?(?:\\div(?![a-zA-Z])|\u00f7)\s?(?=\d)")
_EMPTY_SET = re.compile(r"\\varnothing(?![a-zA-Z])|\u2205|\\lbrace\s*\\rbrace|\\O(?![a-zA-Z])")


def plain(text: str) -> str:
    """The text with its numbers in the forms of LaTeX: `½`, `0.\\overline{3}`, `2 1/4`, `1 234`, `1.2e4`, `0{,}5`."""
    if not text.isascii():
        text = _VULGAR.sub(_vulgar, text.replace("\u2044", "/"))
    if "{,}" in text:
        text = _DECIMAL_COMMA.sub(lambda match: "0." if match[1] else ".", text).replace("{,}", ",")
    if "{" in text:
        text = _EMPTY_GROUP.sub(" ", text)
    if "." in text:
        text = _GROUPED_PLACES.sub(lambda match: match[1] + match[2].replace(" ", ""), text)
        text = _GROUPED_BY_POINTS.sub(lambda match: match[0].replace(".", ""), text)
    text = _GROUPED.sub(lambda match: match[1] + match[3].replace(match[2], ""), text)
    if "e" in text or "E" in text:
        text = _SCIENTIFIC.sub(lambda match: f"{match[1]} \\times 10^{{{int(match[2])}}}", text)
    if "\\" in text or "\u00f7" in text:
        text = _OVER.sub("/", _REPEATING.sub(_repeating, text))
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
