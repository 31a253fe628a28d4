"""Which block of an attempt is its program: what is written is read, and what is no answer is told by name."""

from __future__ import annotations

import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltf.config import CodeConfig
from rltf.tasks import CodeTask
from rltf.tasks.code.blocks import blocks, defines, extract_code, reads_input, without_thinking
from rltf.tasks.code.supplied import supplied
from rltf.tasks.code.task import EMPTY_CODE, NO_CODE

TASK = CodeTask(**CodeConfig(name="code").model_dump(exclude={"name"}))
PROBLEM = TASK.problem("test", 0)

# Lines of code, which spell no fence and no tag of thinking and begin at the left.
lines = st.text(st.sampled_from("abc xyz_123=+-*()[]{}:,.#'\"\\"), max_size=30).map(str.rstrip)
codes = st.lists(lines, min_size=1, max_size=8).map("\n".join).filter(lambda code: code[:1].strip() != "")
tags = st.sampled_from(
    ["python", "py", "Python3", "python3.11", "{.python}", "python title='a'", "python:a.py", "", "a.py"]
)
fences = st.sampled_from(["```", "~~~", "`````"])
words = st.text(st.sampled_from("abc \n.,-1"), max_size=60)


def is_whole(code: str) -> bool:
    """Whether no text between triple quotes is left open, in which a fence would be text."""
    return "'''" not in code and '"""' not in code


@given(codes.filter(is_whole), tags, fences, words, words, st.integers(0, 9))
def test_what_is_written_in_a_block_is_read(
    code: str, tag: str, fence: str, before: str, behind: str, indent: int
) -> None:
    block = textwrap.indent(f"{fence}{tag}\n{code}\n{fence}", " " * indent, lambda _: True)
    for text in (block, f"{before}\n{block}\n{behind}", f"<think>{before}```python\nx\n</think>\n{block}\n{behind}"):
        assert extract_code(text) == code
        assert extract_code(text.replace("\n", "\r\n")) == code


@given(codes.filter(is_whole), codes.filter(is_whole), words)
def test_the_last_of_the_blocks_that_fit_is_taken(first: str, second: str, between: str) -> None:
    text = f"```python\ndef f(): {first}\n```\n{between}\n```py\ndef f(): {second}\n```\n{between}\n```\n{first}\n```"
    assert extract_code(text, defines("f")) == f"def f(): {second}"


@given(st.text(st.sampled_from("`~>- \n\r\tpy'\"\\#</>think1.")), st.integers(1, 30))
def test_no_text_raises_and_every_block_stands_in_it(text: str, times: int) -> None:
    text *= times
    for block in blocks(text):
        for line in block.code.split("\n"):
            assert line.strip() in text
    found = extract_code(text, reads_input)
    assert found is None or any(found == block.code for block in blocks(without_thinking(text)))


@given(st.text(max_size=200).filter(lambda text: "```" not in text and "~~~" not in text))
def test_junk_is_named_as_what_it_is(text: str) -> None:
    score = TASK.score(PROBLEM, text)
    assert (score.reward, score.well_formed, score.explanation) == (0.0, False, NO_CODE)
    assert TASK.score(PROBLEM, f"```python\n{' ' * (len(text) % 7)}\n```").explanation == EMPTY_CODE


@pytest.mark.parametrize(
    ("code", "fitness"),
    [
        ("def f(x): pass", 3),
        ("@cache\nasync def f(x): pass", 3),
        ("class f:\n    pass", 3),
        ("f = lambda x: x", 3),
        ("f: Callable = g", 3),
        ("from operator import add as f", 3),
        ("from math import e, f", 3),
        ("if True:\n    def f(x): pass", 1),
        ("f = f(1)", 0),
        ("from solution import f", 0),
        ("f(1)", 0),
        ("assert f(1) == 2", 0),
        ("f == 1", 0),
        ("def ff(x): pass", 0),
        ("# def f(x):", 0),
    ],
)
def test_a_block_defines_a_name_or_only_uses_it(code: str, fitness: int) -> None:
    assert defines("f")(code) == fitness


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("x = input()", 1),
        ("read = sys.stdin.readline", 1),
        ("open(0)", 1),
        ("open('/dev/stdin')", 1),
        ("for l in fileinput.input(): pass", 1),
        ("os.read(0, 9)", 1),
        ("sys.stdin = io.StringIO('1')", 0),
        ("run(a, input='1')", 0),
        ("print('the input')  # input()", 0),
        ("print(1)", 0),
    ],
)
def test_a_block_reads_standard_input_or_does_not(code: str, reads: int) -> None:
    assert reads_input(code) == reads


def test_hostile_texts_are_read_in_no_time() -> None:
    start = time.process_time()
    for text in (
        "```py\n" * 20_000,
        "x</think>" * 20_000,
        "<think>\n" * 20_000,
        "`" * 100_000,
        "~~~py\n```py\n" * 10_000,
        "".join("`" * (400 - i) + "\n" for i in range(390)),
        "```py\n'''\n" * 10_000,
        "```py\n" + "'" * 100_000,
        "\\'" * 50_000,
    ):
        extract_code(text, defines("f"))
    assert time.process_time() - start < 5


def test_what_is_supplied_is_what_the_code_names_and_never_the_function_that_is_asked_for() -> None:
    whole = supplied("x: List = median(Counter(y)); math; pow", whole=True, begins="", function="median")
    assert set(whole.split("\n")) == {
        "from collections import Counter",
        "import math",
        "from typing import List",
        "import sys",
        "sys.setrecursionlimit(50000)",
    }
    assert supplied("x: Deque = gcd(1)", whole=False, begins="def f(x: List):", function="f") == (
        "from typing import List"
    )
