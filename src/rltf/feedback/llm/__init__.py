"""The LLM judge: a language model behind an OpenAI-compatible endpoint writes feedback, or scores."""

from rltf.feedback.llm.judge import LLMJudge
from rltf.feedback.llm.scorer import LLMScorer
from rltf.feedback.llm.store import CallStore

__all__ = ["CallStore", "LLMJudge", "LLMScorer"]
