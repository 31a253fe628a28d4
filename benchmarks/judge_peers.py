"""The judges' answers of `tests/data/wild` through openai's own client, read as its users read them, beside ours.

From the checkout's root: `PYTHONPATH=tests python benchmarks/judge_peers.py`. The client's text is searched for the
feedback with a regular expression; structured output it parses itself. Counted per kind: answers that are lost (no
feedback, or another text than the judge's), and texts taken for an answer that are none.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from openai import OpenAI
from pydantic import BaseModel
from wild import judges, kinds

from rltf.types import Feedback, Score


class _Feedback(BaseModel):
    feedback: str


class _Scored(_Feedback):
    scores: list[float]


def ours(case: dict[str, Any]) -> tuple[str, float | None] | None:
    """What rltf reads: feedback and mean score, or None."""
    answer, _ = judges.ask(case)
    if isinstance(answer, Feedback):
        return answer.text, None
    if isinstance(answer, Score):
        return str(answer.criticism), round(1 + 9 * answer.reward, 6)
    return None


def plainly(case: dict[str, Any]) -> tuple[str, float | None] | None:
    """What openai's client gives, read with the regular expressions, or by its own parser for structured output."""
    with judges.serving(case) as (url, tries):
        client = OpenAI(base_url=url, api_key=judges.KEY, max_retries=tries - 1)
        asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Judge this."}]}
        scored = "scores" in case
        try:
            if case.get("form") == "json_schema":
                form = _Scored if scored else _Feedback
                parsed = client.chat.completions.parse(**asked, response_format=form).choices[0].message.parsed
                if parsed is None:
                    return None
                numbers = parsed.scores if isinstance(parsed, _Scored) else []
                return parsed.feedback, sum(numbers) / len(numbers) if scored else None
            text = client.chat.completions.create(**asked).choices[0].message.content or ""
            said = re.search(r"<feedback>(.*?)</feedback>", text, re.DOTALL)
            scores = [float(score) for score in re.findall(r"<score>(.*?)</score>", text, re.DOTALL)]
            if said is None or not said[1].strip():
                return None
            return said[1].strip(), sum(scores) / len(scores) if scored else None
        except Exception:  # whatever the client raises is no answer
            return None


def main() -> None:
    print("| kind | answers | lost: rltf | lost: openai | failures | taken: rltf | taken: openai |")
    print("|---|---|---|---|---|---|---|")
    total: Counter[str] = Counter()
    for kind, cases in kinds("judges").items():
        counts: Counter[str] = Counter()
        for case in cases:
            right = case["right"]
            is_answer = "feedback" in right
            counts["answers" if is_answer else "failures"] += 1
            for name, read in (("rltf", ours(case)), ("openai", plainly(case))):
                if is_answer:
                    counts[f"lost {name}"] += read != (right["feedback"], right.get("mean"))
                else:
                    counts[f"taken {name}"] += read is not None
        total += counts
        print(_row(kind, counts), flush=True)
    print(_row("all", total))


def _row(kind: str, counts: Counter[str]) -> str:
    names = ("answers", "lost rltf", "lost openai", "failures", "taken rltf", "taken openai")
    return f"| {kind} | " + " | ".join(str(counts[name]) for name in names) + " |"


if __name__ == "__main__":
    main()
