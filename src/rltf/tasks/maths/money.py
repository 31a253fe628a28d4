"""Sums of money: the sign before or behind a number as a unit behind it."""

from __future__ import annotations

import re

_COMMANDS = {
    **dict.fromkeys(("pounds", "textsterling", "mathsterling"), "\u00a3"),
    **dict.fromkeys(("euro", "texteuro", "EUR"), "\u20ac"),
    **dict.fromkeys(("yen", "textyen"), "\u00a5"),
    **dict.fromkeys(("rupee", "textrupee", "INR"), "\u20b9"),
    **dict.fromkeys(("textdollar", "dollar"), "\\$"),
    **dict.fromkeys(("textwon",), "\u20a9"),
    **dict.fromkeys(("textcent", "cent"), "\u00a2"),
}
_COMMAND = re.compile(rf"\\({'|'.join(_COMMANDS)})(?![a-zA-Z])(?:\{{\}})?")
_DOLLARS = {"": "dollar", "US": "usd", "CA": "cad", "C": "cad", "A": "aud", "AU": "aud", "HK": "hkd", "NT": "twd"} | {
    "S": "sgd",
    "R": "brl",
    "NZ": "dollar",
    "MX": "mxn",
}
_SIGN = rf"(?:(?P<place>{'|'.join(filter(None, _DOLLARS))})?\\\$|(?P<sign>[\u00a2-\u00a5\u20a0-\u20bf\u0e3f]))"
_CODE = (
    r"(?P<code>(?<![A-Za-z])(?:USD|EUR|GBP|JPY|CNY|RMB|INR|KRW|RUB|CHF|CAD|AUD|HKD|SGD|MXN|BRL|SEK|NOK|DKK|PLN|TRY|ZAR|"
    r"NGN|Rs\.?|rs\.?|Re\.))"
)
_ONLY = re.compile(r"(?<=\d)\s*/-(?=\s|$)")  # as rupees are written: Rs. 500/-
_NUMBER = r"\d(?:[\d,]|\{,\})*(?:\.\d+)?|\.\d+"
_BEFORE = re.compile(rf"(?:{_SIGN}|{_CODE})\s*(?P<number>[-+]?\s*(?:{_NUMBER}))")
_BEHIND = re.compile(rf"(?<=\d)\s*{_SIGN}")
_IN_WORDS = re.compile(
    r"\\(?:text|mathrm|textbf|mbox)\s*\{\s*((?:[A-Z]{1,2})?(?:\\?\$|[\u00a2-\u00a5\u20a0-\u20bf]))\s*\}"
)


def priced(text: str) -> str:
    """The text with every sum of money as a number with a unit: `\\$5` and `USD 5` as `5\\text{ usd}`."""
    if "/-" in text:
        text = _ONLY.sub("", text)
    if "\\" in text:
        text = _COMMAND.sub(lambda match: _COMMANDS[match[1]], text)
        text = _IN_WORDS.sub(lambda match: match[1].replace("\\$", "$").replace("$", "\\$"), text)
    if text.count("$") == 1 and "\\$" not in text:  # no formula in dollars
        text = text.replace("$", "\\$")
    text = _BEFORE.sub(lambda match: f"{match['number']}\\text{{ {_name(match)}}}", text)
    return _BEHIND.sub(lambda match: f"\\text{{ {_name(match)}}}", text)


def _name(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if groups.get("code"):
        return groups["code"].rstrip(".").lower()
    return groups["sign"] or _DOLLARS[groups["place"] or ""]
