"""Settings of the sources of feedback."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from rltf.config.section import (
    FROM_LIST,
    NonNegative,
    Positive,
    Probability,
    Rate,
    Section,
    check_address,
    check_variable,
)
from rltf.config.table import Table

Source: TypeAlias = Literal["rules", "constant", "answer", "self", "llm", "function"]


class FeedbackConfig(Section):
    """Where the text feedback comes from, and what happens where it does not come."""

    source: Source | Literal["first_of", "mix"] = "rules"
    """`rules`: the task's own program reads the attempt. `llm`: a language model behind an endpoint, see `judge`.
    `function`: a Python function of yours. `self`: the policy. To compare with: `constant` says the same of every
    attempt, `answer` tells the gold answer. `first_of` asks the `sources` in turn until one answers; `mix` asks one of
    them, drawn by `shares`."""
    sources: Annotated[tuple[Source, ...], FROM_LIST] = ()
    """The sources of `first_of` and `mix`."""
    shares: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], FROM_LIST] = ()
    """How often `mix` asks each of its sources, relative to each other. Empty: all the same."""
    per_task: Table[Source] = Table()
    """In a mixture, the plain source for the tasks named here, `{my_task = "llm"}`; the others get `source`."""
    function: str | None = None
    """`path/to/file.py:name` of the source `function`: called with problem, attempt, score and history, it returns a
    text, or None where it has nothing to say."""
    level: Literal["hint", "marks", "located", "count", "correctness"] = "located"
    """How much `rules` say: where and how, how many errors, or only that it is wrong. `hint` (Knights and Knaves
    alone): where, and one role that is wrong. `marks` (Binary Matrix alone): in the answer's layout, 0 for a cell that
    is right, 1 for one that should be larger, 2 for one that should be smaller."""
    constant_text: Annotated[str, Field(min_length=1)] = "Try again."
    """What the source `constant` says."""
    about: Literal["attempt", "shuffled", "other_problem"] = "attempt"
    """To compare with: give each attempt the feedback on any attempt of the batch, or on another problem's."""
    self_share: Probability = 0.0
    """Share of each group whose feedback the policy writes itself, whatever the source (self-critique RL)."""
    self_max_tokens: Positive = 64
    """Token limit of feedback that the policy writes."""
    on_failure: Literal["skip", "fallback", "stop"] = "skip"
    """Where a source fails: `skip` ends the episode there (its attempts still train), `fallback` says only whether the
    attempt was right and marks it as such, `stop` ends the run, to be resumed. A failure is never a reward. A function
    that has nothing to say has not failed: the episode ends."""
    stop_after_failures: Positive | None = 32
    """Stop the run, to be resumed, after so many failures in a row: the source is down. "none": never."""

    @property
    def asked(self) -> frozenset[str]:
        """The plain sources that these settings ask."""
        general = self.sources if self.source in ("first_of", "mix") else (self.source,)
        return frozenset((*general, *self.per_task.values()))

    @model_validator(mode="after")
    def _combination(self) -> FeedbackConfig:
        combined = self.source in ("first_of", "mix")
        if combined and len(self.sources) < 2:
            raise ValueError(f'source={self.source} needs two sources or more, such as sources=["llm", "rules"]')
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("sources names one source twice; name each once")
        if self.sources and not combined:
            raise ValueError(f"sources is read by first_of and mix alone, not by source={self.source}; remove it")
        if self.shares and (self.source != "mix" or len(self.shares) != len(self.sources)):
            raise ValueError("shares needs source=mix and as many numbers as there are sources")
        if ("function" in self.asked) != (self.function is not None):
            raise ValueError("function and source=function belong together; set both or neither")
        if self.function is not None and not re.fullmatch(r".+\.py:\w+", self.function):
            raise ValueError(f"function={self.function!r} is not path/to/file.py:name")
        return self


class JudgeConfig(Section):
    """The LLM judge: any endpoint that speaks OpenAI's chat completions."""

    base_url: str = "https://api.openai.com/v1"
    """Address of the endpoint, up to before `/chat/completions`."""
    model: str | None = None
    """Name of the judge's model there."""
    key_env: str | None = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. "none": the endpoint needs no key."""
    prompt: str | None = None
    """A file with the prompt, in place of the task's own; see `rltf/feedback/llm/prompts/`."""
    tells: Literal["hint", "location", "correctness"] = "location"
    """What the judge is asked to tell: how to go on, where it goes wrong, or only whether it is right."""
    show_answer: bool = False
    """Show the judge the gold answer."""
    max_words: Positive = 50
    """How long the feedback may be: the judge is told so, and more than twice as many words are a failure."""
    leak: Literal["retry", "redact", "allow"] = "retry"
    """Where the feedback holds the gold answer: ask once more and then fail; or blank the answer, and fail where that
    does not help; or let it pass."""
    format: Literal["tags", "json_schema"] = "tags"
    """How the judge is to answer: between tags, or as structured output of the endpoint, where it has that."""
    temperature: Rate | None = None
    """Sampling temperature of the judge. Unset: the endpoint's own; some models take no other."""
    max_tokens: Positive = 4096
    """Token limit of the judge's answer, with what it thinks before. An answer that it cuts is a failure. A judge that
    does not think needs a few hundred: budgets and rates then hold more calls."""
    limit_name: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the endpoint calls that limit: OpenAI the first, some other servers only the second."""
    concurrency: Positive = 64
    """Calls under way at the same time."""
    requests_per_minute: Positive | None = None
    """Start no more calls per minute than this."""
    tokens_per_minute: Positive | None = None
    """Start no calls per minute worth more tokens (prompt, estimated, and `max_tokens`) than this."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Seconds to wait for the endpoint, each try."""
    retries: NonNegative = 3
    """Further tries after a timeout, a lost connection, a status of 408, 409, 425, 429 or from 500 on, or a body that
    is broken: after growing pauses, or as long as `Retry-After` or `retry-after-ms` says."""
    dollars_per_million_in: Rate = 0.0
    """Price of a million prompt tokens."""
    dollars_per_million_out: Rate = 0.0
    """Price of a million tokens of the judge's answers."""
    max_dollars: Rate | None = None
    """Stop the run, to be resumed, before all calls of its store cost more than this."""
    max_total_tokens: Positive | None = None
    """Stop the run, to be resumed, before all calls of its store take more tokens than this."""
    store: str | None = None
    """SQLite file that records every call. Unset: `judge.sqlite` in the run's directory; where there is no run, calls
    are kept in memory."""
    replay: Literal["off", "only"] = "off"
    """`only`: answer from the store alone, without a network; a prompt that it does not hold stops the run."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        return check_address(url, "judge.key_env")

    @field_validator("key_env")
    @classmethod
    def _names_a_variable(cls, name: str | None) -> str | None:
        return None if name is None else check_variable(name)

    @model_validator(mode="after")
    def _has_prices(self) -> JudgeConfig:
        if self.max_dollars is not None and not self.dollars_per_million_in * self.dollars_per_million_out:
            raise ValueError("max_dollars needs dollars_per_million_in and dollars_per_million_out, both above 0")
        return self
