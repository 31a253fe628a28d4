"""Methods: each is a sum of terms, and each term a function from a rollout group to weighted samples."""

from rltf.config import ObjectiveConfig, RejectionSamplingConfig, RltfFmConfig, RltfSdConfig, RltfSdFmConfig
from rltf.objectives.base import Answers, Objective, Term
from rltf.objectives.distillation import AgainstBaseline, Distillation, correct_only
from rltf.objectives.feedback_modelling import FeedbackModelling
from rltf.objectives.policy_gradient import PolicyGradient
from rltf.objectives.self_feedback import SelfFeedback
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer

__all__ = ["Answers", "Objective", "Term", "build_objective"]


def build_objective(config: ObjectiveConfig, renderer: Renderer, prompts: Prompts) -> Objective:
    """The method that the config names."""
    terms: list[Term] = [PolicyGradient(config)]
    if config.self_feedback_coefficient > 0:
        terms.append(SelfFeedback(config))
    match config:
        case RltfSdConfig() | RltfSdFmConfig():
            terms.append(Distillation(config.sd, AgainstBaseline(config.sd, config)))
        case RejectionSamplingConfig():
            terms.append(Distillation(config.sd, correct_only))
        case _:
            pass
    if isinstance(config, RltfFmConfig | RltfSdFmConfig):
        terms.append(FeedbackModelling(config.fm, renderer, prompts))
    return Objective(terms=tuple(terms))
