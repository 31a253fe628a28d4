"""Settings of training from logged feedback."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rltf.config.section import Probability, Section


class LogConfig(Section):
    """Train from recorded responses and the feedback they got, in place of the policy's own first attempts."""

    path: str | None = None
    """A JSONL or parquet file; `rltf/feedback/logged/entries.py` says what an entry is. Unset: no log."""
    score: Literal["task", "answer", "judge", "likelihood", "all", "none"] = "task"
    """What makes a good revision. The policy's own, sampled after the logged feedback: `task`, the scorer of `task`
    says so, for entries that name one of its problems; `answer`: it has the entry's gold answer, spaces and case aside;
    `judge`: the judge scores it from 1 to 10. Without any of them, the logged revisions are learned: `likelihood`, each
    as much as the policy itself would write it after the feedback; `all`, each alike. `none`: no revisions, which is
    enough for feedback modelling alone."""
    passing_score: Annotated[float, Field(ge=1, le=10)] = 9.0
    """With `score=judge`: the score from which a response counts as right and gets no revision."""

    max_unusable: Probability = 0.05
    """The share of the entries that may be unusable: malformed, without what `score` asks for, refused by the model's
    chat template, or longer than its context. So many are left out, counted and named in the run's `log.json`; more end
    the run before its first step."""
    evaluate_on: Literal["task", "log"] | None = None
    """Whose questions evaluations ask: those of `task`, or questions of the log that are held out of training, scored
    by the judge or by the logged answer. Unset: the log's, where `score` is `answer` or `judge` and no entry names a
    problem of `task`."""
    held_out: Probability = 0.1
    """The share of the log's questions that is held out for the final figures, and as much for choosing settings and
    checkpoints, where evaluations ask them; one at least of each."""

    @property
    def may_be_evaluated_on(self) -> bool:
        """Whether evaluations ask the log's own questions, or may, by what its entries are about."""
        unsaid = self.evaluate_on is None and self.score in ("answer", "judge")
        return self.path is not None and (self.evaluate_on == "log" or unsaid)

    @property
    def learns_logged_revisions(self) -> bool:
        """Whether the revisions are those of the log."""
        return self.score in ("likelihood", "all")
