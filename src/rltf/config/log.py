"""Settings of training from logged feedback."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rltf.config.section import Section


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

    @property
    def learns_logged_revisions(self) -> bool:
        """Whether the revisions are those of the log."""
        return self.score in ("likelihood", "all")
