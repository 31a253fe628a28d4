"""Sources of feedback."""

from rltf.feedback.base import FeedbackSource
from rltf.feedback.combined import ByTaskSource, FirstOfSource, MixedSource
from rltf.feedback.failures import Breaker, GuardedSource
from rltf.feedback.function import FunctionSource, load_function
from rltf.feedback.rules import RuleSource
from rltf.feedback.self_feedback import SelfSource, SharedSource
from rltf.feedback.stand_ins import AnswerSource, ConstantSource, OtherProblemSource, ShuffledSource

__all__ = [
    "AnswerSource",
    "Breaker",
    "ByTaskSource",
    "ConstantSource",
    "FeedbackSource",
    "FirstOfSource",
    "FunctionSource",
    "GuardedSource",
    "MixedSource",
    "OtherProblemSource",
    "RuleSource",
    "SelfSource",
    "SharedSource",
    "ShuffledSource",
    "load_function",
]
