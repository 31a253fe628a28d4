"""One spelling for what changes only how an answer looks: Unicode signs, full-width letters, commands that set type.

Everything here works on the text alone. Nothing is evaluated, and no pattern takes more than linear time on the short
texts that answers are.
"""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 2000
_WIDE = {0xFF01 + i: 0x21 + i for i in range(94)} | {
    ord(other): plain
    for others, plain in (
        ("\u3000\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f", " "),
        ("\u200b\u200c\u200d\u2060\u2061\u2062\u2063\ufeff\ufe0f", ""),
        ("\u3002\uff61", "."),
        ("\u3001\u060c", ","),
        ("\u3010\u300c\u300e\u300a\u3008", "("),
        ("\u3011\u300d\u300f\u300b\u3009", ")"),
        ("\u2223", "|"),
        ("\u00ba\u02da", "\u00b0"),
        ("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63", "-"),
        ("\u2044\u2215", "/"),
        ("\u2236", ":"),
        ("\u2018\u2019\u2032", "'"),
        ("\uffe0", "\u00a2"),
        ("\uffe1", "\u00a3"),
        ("\uffe5", "\u00a5"),
        ("\uffe6", "\u20a9"),
    )
    for other in others
}
_SIGNS = {
    **{"∞": "infty", "π": "pi", "𝜋": "pi", "≤": "le", "⩽": "le", "≦": "le", "≥": "ge", "⩾": "ge", "≧": "ge"},
    **{"×": "times", "·": "cdot", "⋅": "cdot", "∙": "cdot", "•": "cdot", "±": "pm", "∓": "mp", "≠": "ne"},
    **{"∪": "cup", "∩": "cap", "∈": "in", "∉": "notin", "⊂": "subset", "⊆": "subseteq", "∖": "setminus"},
    **{"∅": "emptyset", "≡": "equiv", "≈": "approx", "≅": "cong", "→": "to", "⇒": "Rightarrow", "∴": "therefore"},
    **{"⟨": "langle", "⟩": "rangle", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "∑": "sum"},
    **{"∏": "prod", "∫": "int", "∠": "angle", "△": "triangle", "⊥": "perp", "∥": "parallel", "…": "ldots"},
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "λ": "lambda"},
    **{"μ": "mu", "σ": "sigma", "τ": "tau", "φ": "phi", "ϕ": "phi", "ω": "omega", "ρ": "rho", "∀": "forall"},
    **{"ℝ": "mathbb{R}", "ℤ": "mathbb{Z}", "ℕ": "mathbb{N}", "ℚ": "mathbb{Q}", "ℂ": "mathbb{C}", "∗": "cdot"},
    **{"√": "sqrt", "∛": "sqrt[3]", "∜": "sqrt[4]", "△": "triangle", "✓": "checkmark", "ℓ": "ell"},
}
_SIGN = re.compile("[" + "".join(_SIGNS) + "]")
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni"
_LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋ₙₖ", "0123456789+-nk"
_SUPERSCRIPT, _SUBSCRIPT = re.compile(f"[{_RAISED[0]}]+"), re.compile(f"[{_LOWERED[0]}]+")
# A radical sign takes the number, the letter or the brackets behind it; \sqrt takes a group or one digit.
_ROOT = re.compile(r"(\\sqrt(?:\[\d\])?) \s*(\d+(?:\.\d+)?|[A-Za-z]|\\pi)")
_ROOT_OF_BRACKETS = re.compile(r"(\\sqrt(?:\[\d\])?) \s*\(")
# Letters of scripts in which no formula is written: words, such as units, that stand without \text.
_SCRIPTS = (
    "\u0400-\u04ff\u0590-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f\u1e00-\u1eff\u2103\u2109"
)
_FOREIGN = re.compile(rf"[A-Za-z]*[{_SCRIPTS}](?:[{_SCRIPTS}A-Za-z ./:]*[{_SCRIPTS}A-Za-z.:])?")
WORDS = r"\\(?:text|mathrm|textbf|mathbf|mbox|textit)\s*\{([^{}]*)\}"
_IN_WORDS = re.compile(WORDS)
_PER_CENT = re.compile(r"百分之\s*(\d+(?:\.\d+)?)")
_NUMBER_IN_WORDS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|textit)\s*\{([^{}]*\d[^{}]*)\}\.?")

_TEXT_TYPE = re.compile(r"\\(?:textnormal|textrm|textsf|texttt|textsc|textup|textmd|emph|hbox|uline)\s*(?=\{)")
_TEXT_IN_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\s*\{\s*(\\(?:text|mathrm|textbf|mathbf|textit)\s*\{[^{}]*\})\s*\}")
_SI = re.compile(r"\\(?:SI|qty)\s*\{([^{}]*)\}\s*\{([^{}]*)\}|\\(?:si|unit)\s*\{([^{}]*)\}")
_SMALL_FRACTION = re.compile(r"\\(?:nicefrac|sfrac|xfrac|flatfrac|tfrac|dfrac|cfrac)(?![a-zA-Z])")
_OVER = re.compile(r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}|^([^{}]*)\\over(?![a-zA-Z])([^{}]*)$")
_MATHS_TYPE = re.compile(
    r"\\(?:underline|boldsymbol|bm|pmb|mathit|mathsf|mathtt|mathnormal|ensuremath|mathop|mathord|boxed|fbox)\s*"
    r"(?:\{([^{}]*)\}|(?=\{))"
)
_COLOUR = re.compile(r"\\(?:textcolor|color|colorbox)\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}")
_LENGTH = re.compile(r"\\(?:hspace|vspace|hskip|mkern|kern|phantom|hphantom|vphantom|tag|label)\*?\s*\{[^{}]*\}")
_SWITCH = re.compile(
    r"\\(?:left|right)\s*\.|"
    r"\\(?:tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge|bf|it|rm|sf|tt|sc|em|bfseries|"
    r"itshape|mdseries|rmfamily|sffamily|ttfamily|upshape|displaystyle|textstyle|scriptstyle|boldmath|unboldmath|"
    r"limits|nolimits|strut|mathstrut|null|nobreak|allowbreak|centering|noindent|hfill|therefore|checkmark|qed|"
    r"square|blacksquare|Box|quad|qquad|enspace|thinspace|medspace|thickspace|nonumber|notag|newline|displaylimits|"
    r"left|right|middle|[bB]ig{1,2}[lrm]?)(?![a-zA-Z])"
)
# Written into JSON or a program twice.
_ESCAPED = re.compile(
    r"\\(?=\\(?:[dt]?frac|sqrt|text|math[a-z]+|[lg]eq?|neq?|pi|infty|cdot|times|cup|cap|in|pm|circ|left|right|boxed|"
    r"theta|alpha|log|ln|sin|cos|tan|binom|begin|end|overline|equiv|pmod|lt|gt)(?![a-zA-Z]))"
)
_DELIMITER = re.compile(r"(?<!\\)\\[\[\]()]")
_NO_SPACE = re.compile(r"(?<!\\)\\(?:!|negthinspace(?![a-zA-Z]))\s*")
_SPACE = re.compile(r"(?<!\\)\\(?:[,;:> ]|(?=\s|$))|~|\n|\t")
_ENVIRONMENT = re.compile(
    r"(?:\\\{\s*)?\\begin\s*\{(aligned|align|gathered|gather|split|equation|multline|displaymath|math|center|cases|array|matrix)\*?\}"
    r"(?:\s*\[[tbc]\])?(?:\s*\{[lcr@{}|\s]*\})?(.*)\\end\s*\{\1\*?\}\s*\.?",
    re.DOTALL,
)
_SYSTEM = re.compile(r"(?:\\\{\s*)?\\begin\s*\{(cases|aligned|gathered)\}(.*?)\\end\s*\{\1\}", re.DOTALL)
_BREAK = re.compile(r"\\\\(?:\s*\[[^\]]*\])?|\\cr(?![a-zA-Z])")
_MARKED = re.compile(r"(\*\*\*|\*\*|\*|__|``|`|_)(?=\S)(.+?)(?<=\S)\1[.:]?")
_SAID = re.compile(
    r"(?:(?:[a-z]{4,}(?: [a-z]+){0,4}|ans)\s*:\s*|(?:the\s+)?(?:final\s+)?(?:answer|result|solution)\s+is\s+|"
    r"(?:so|thus|hence|therefore|about|approximately|around|roughly|exactly|only),?\s+)(?=[-+\\$({\[\d.A-Za-z])",
    re.IGNORECASE,
)
_LEADING = re.compile(r"\s*(?:[=:]|\\(?:approx|implies|Rightarrow|to|simeq)(?![a-zA-Z]))\s*(?=\S)")
_FUNCTION = re.compile(
    r"(?<![\\a-zA-Z])((?:arc)?(?:sin|cos|tan)|cot|sec|csc|ln|log|exp|sinh|cosh|tanh)(?=\s*[(_^{\\\d]|\s+[a-z\d](?![a-z]))"
)
_PLAIN_ROOT = re.compile(r"(?<![\\a-zA-Z])sqrt\s*(?=[({])")
_PI = re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])")
_INFINITY = re.compile(r"\\text\s*\{\s*(?:plus )?(?i:infinity)\s*\}|(?<![A-Za-z\\])(?:infinity|oo)(?![A-Za-z])")
_NUMBERS = re.compile(r"\\([RZNQC])(?![a-zA-Z])")
_RAISED_PLAIN = re.compile(r"\^\s*(-\d+|\d{2,})(?![\d.])")
_TIMES_TEN = re.compile(r"(?<=\d)\s*(?:[xX]|\*|\\times|\\cdot)\s*\{?\s*10\s*\}?\s*(?=\^)")
_REALS = re.compile(r"\\text\s*\{\s*all real(?: number)?s\s*\}|^all real(?: number)?s$", re.IGNORECASE)
_UNION = re.compile(r"(?<=[\])}])\s*U\s*(?=[\[(\\{])")
_NATURAL = re.compile(r"\\log\s*_\s*(?:\{\s*e\s*\}|e)")
_COMPARED = re.compile(r"<=|>=|\s!=|\\neq(?![a-zA-Z])")
_COMPARISONS = {"<=": "\\le ", ">=": "\\ge ", " !=": "\\ne ", "\\neq": "\\ne "}


def respell(text: str) -> str:
    """The text in plain LaTeX, without what only sets its type."""
    if not text.isascii():
        text = _in_ascii(text)
    if "\\" in text or "~" in text or "\n" in text or "\t" in text:
        text = _without_type(text)
    text = text.strip()
    if words := _NUMBER_IN_WORDS.fullmatch(text):
        text = _in_ascii(words[1].strip())
    if text[:1] in ("*", "_", "`") and (marked := _MARKED.fullmatch(text)):
        text = marked[2].strip()
    if leading := _LEADING.match(text):
        text = text[leading.end() :]
    if any(map(str.isalpha, text)) or any(sign in text for sign in "*=^"):
        text = _as_latex(text)
    return text


def _in_ascii(text: str) -> str:
    """Signs and letters as commands of LaTeX; words of other scripts stay, in `\\text`."""
    text = "".join(map(_plain_letter, text.translate(_WIDE)))
    text = _PER_CENT.sub(r"\1\\%", text)
    parts = _IN_WORDS.split(text)[::2]
    if len(parts) == 1:
        return _commands(text)
    words = [match[0] for match in _IN_WORDS.finditer(text)]
    pairs = zip(words, parts[1:], strict=True)
    return _commands(parts[0]) + "".join(marked + _commands(part) for marked, part in pairs)


def _commands(text: str) -> str:
    text = _SUPERSCRIPT.sub(lambda match: f"^{{{match[0].translate(str.maketrans(*_RAISED))}}}", text)
    text = _SUBSCRIPT.sub(lambda match: f"_{{{match[0].translate(str.maketrans(*_LOWERED))}}}", text)
    text = _FOREIGN.sub(lambda match: f"\\text{{{match[0]}}}", text)
    text = _SIGN.sub(lambda match: f"\\{_SIGNS[match[0]]} ", text)
    return _with_groups(_ROOT.sub(r"\1{\2}", text), _ROOT_OF_BRACKETS)


def _plain_letter(letter: str) -> str:
    """The digits of other scripts and the letters of mathematical alphabets in ASCII."""
    if letter.isascii():
        return letter
    if letter.isdecimal():
        return str(unicodedata.decimal(letter))
    return unicodedata.normalize("NFKC", letter) if "\U0001d400" <= letter <= "\U0001d7ff" else letter


def _without_type(text: str) -> str:
    if "\\\\" in text and "\\begin" not in text:
        text = _ESCAPED.sub("", text)
    text = _DELIMITER.sub(" ", _COLOUR.sub("", text))
    text = _SI.sub(_with_unit, text)
    text = _TEXT_IN_TEXT.sub(r"\1", _TEXT_TYPE.sub(r"\\text", text))
    text = _OVER.sub(_fraction, _SMALL_FRACTION.sub(r"\\frac", text))
    text = _MATHS_TYPE.sub(_untyped, text)
    text = _NO_SPACE.sub("", _LENGTH.sub(" ", text))
    text = _SPACE.sub(" ", _SWITCH.sub(" ", text))
    if "\\begin" in text:
        return _lines(text)
    return _BREAK.sub(", ", text) if "\\\\" in text else text


def _fraction(match: re.Match[str]) -> str:
    above, below = match.groups()[:2] if match[1] is not None else match.groups()[2:]
    return f"\\frac{{{above.strip()}}}{{{below.strip()}}}"


def _with_unit(match: re.Match[str]) -> str:
    """`\\SI{5}{\\meter}` as a number and words."""
    unit = (match[2] or match[3] or "").replace("\\per", " per ").replace("\\", " ").replace("~", " ")
    return f"{match[1] or ''}\\text{{ {unit.strip()}}}"


def _untyped(match: re.Match[str]) -> str:
    inner = match[1]
    if inner is None:
        return ""
    return f"\\text{{{inner}}}" if re.fullmatch(r"[A-Za-z ]*[A-Za-z]{3}[A-Za-z ]*", inner) else f"{{{inner}}}"


def _lines(text: str) -> str:
    """What stands in an environment that only sets formulas below each other, with commas between the lines."""
    if text.count("\\begin") > 1 and "&" not in text:
        text = _SYSTEM.sub(lambda match: f"({', '.join(_rows(match[2]))})", text)
        return text if "\\begin" in text else _BREAK.sub(", ", text)
    match = _ENVIRONMENT.fullmatch(text.strip())
    if match is None:
        return text
    body = re.sub(r"&\s*(?==)", "", match[2]) if match[1] != "array" else match[2]
    if "&" in body and match[1] in ("cases", "array", "matrix"):  # a condition, or a second column
        return text
    return ", ".join(_rows(body))


def _rows(body: str) -> list[str]:
    lines = [line.replace("&", " ").strip().rstrip(",;") for line in _BREAK.split(body)]
    return list(filter(None, lines))


def _as_latex(text: str) -> str:
    """Signs and functions as plain text has them: `x**2`, `sin(x)`, `pi`, `<=`."""
    if said := _SAID.match(text):
        text = text[said.end() :]
    text = _RAISED_PLAIN.sub(r"^{\1}", text.replace("**", "^"))
    text = _NUMBERS.sub(r"\\mathbb{\1}", _TIMES_TEN.sub(r" \\times 10", text))
    text = _COMPARED.sub(lambda match: _COMPARISONS[match[0].replace("\t", " ")], text)
    text = _INFINITY.sub(r"\\infty ", text)
    text = _NATURAL.sub(r"\\ln ", text).replace("\\lg ", "\\log ")
    text = _REALS.sub(r"\\mathbb{R}", text)
    text = _FUNCTION.sub(r"\\\1 ", text)
    text = _PI.sub(r"\\pi ", text)
    text = _UNION.sub(r" \\cup ", text)
    if plain := _PLAIN_ROOT.search(text):
        text = _with_groups(_PLAIN_ROOT.sub(r"\\sqrt ", text), _ROOT_OF_BRACKETS) if plain else text
    return text


def _with_groups(text: str, command: re.Pattern[str]) -> str:
    """The brackets behind a command as the group that it takes; as many as an answer may have."""
    if len(text) > _LONGEST:
        return text
    while (match := command.search(text)) is not None:
        depth = 1
        for place in range(match.end(), len(text)):
            depth += (text[place] == "(") - (text[place] == ")")
            if depth == 0:
                text = f"{text[: match.start()]}{match[1]}{{{text[match.end() : place]}}}{text[place + 1 :]}"
                break
        else:
            return text
    return text
