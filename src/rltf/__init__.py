"""Reinforcement learning from text feedback.

What a person needs from Python stands here. Nothing is imported before it is asked for, so that `import rltf` is quick
and free of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rltf.config import RunConfig, Section
    from rltf.config.load import configure
    from rltf.engines.base import Engine, Joined
    from rltf.objectives import Answers, Context, Objective, Term
    from rltf.rollouts.records import Evaluation, EvaluationRecord, RolloutRecord, Summary, Timing
    from rltf.runs.look import evaluate
    from rltf.runs.observers import Observer
    from rltf.runs.run import Run
    from rltf.runs.trainer import Interrupted
    from rltf.support.errors import UserError
    from rltf.types import (
        Answer,
        Completion,
        Feedback,
        FeedbackFailure,
        Message,
        Problem,
        Query,
        Rollout,
        RolloutGroup,
        Score,
        TokenDistributions,
        TrainingSample,
        Turn,
    )

_HOMES = {
    "rltf.config": ("RunConfig", "Section"),
    "rltf.config.load": ("configure",),
    "rltf.engines.base": ("Engine", "Joined"),
    "rltf.rollouts.records": ("Evaluation", "EvaluationRecord", "RolloutRecord", "Summary", "Timing"),
    "rltf.runs.look": ("evaluate",),
    "rltf.runs.observers": ("Observer",),
    "rltf.runs.run": ("Run",),
    "rltf.runs.trainer": ("Interrupted",),
    "rltf.support.errors": ("UserError",),
    "rltf.objectives": ("Answers", "Context", "Objective", "Term"),
    "rltf.types": (
        "Answer",
        "Completion",
        "Feedback",
        "FeedbackFailure",
        "Message",
        "Problem",
        "Query",
        "Rollout",
        "RolloutGroup",
        "Score",
        "TokenDistributions",
        "TrainingSample",
        "Turn",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "Answers",
    "Completion",
    "Context",
    "Engine",
    "Evaluation",
    "EvaluationRecord",
    "Feedback",
    "FeedbackFailure",
    "Interrupted",
    "Joined",
    "Message",
    "Objective",
    "Observer",
    "Problem",
    "Query",
    "Rollout",
    "RolloutGroup",
    "RolloutRecord",
    "Run",
    "RunConfig",
    "Score",
    "Section",
    "Summary",
    "Term",
    "Timing",
    "TokenDistributions",
    "TrainingSample",
    "Turn",
    "UserError",
    "__version__",
    "configure",
    "evaluate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rltf' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
