"""Sources of feedback."""

from rltf.judges.base import Judge
from rltf.judges.rules import RuleJudge

__all__ = ["Judge", "RuleJudge"]
