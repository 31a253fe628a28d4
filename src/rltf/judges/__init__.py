"""Sources of feedback."""

from rltf.judges.base import Judge
from rltf.judges.rules import RuleJudge
from rltf.judges.self_feedback import SelfJudge, SharedJudge
from rltf.judges.stand_ins import AnswerJudge, ConstantJudge, OtherProblemJudge, ShuffledJudge

__all__ = [
    "AnswerJudge",
    "ConstantJudge",
    "Judge",
    "OtherProblemJudge",
    "RuleJudge",
    "SelfJudge",
    "SharedJudge",
    "ShuffledJudge",
]
