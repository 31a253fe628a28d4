"""LLM judges: language models behind OpenAI-compatible endpoints, asked for feedback or for scores."""

from rltf.feedback.llm.endpoints import Endpoints
from rltf.feedback.llm.scorer import LLMScorer
from rltf.feedback.llm.source import LLMSource
from rltf.feedback.llm.store import CallStore

__all__ = ["CallStore", "Endpoints", "LLMScorer", "LLMSource"]
