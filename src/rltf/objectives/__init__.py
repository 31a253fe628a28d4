"""Methods: each is a sum of terms, which ask for log-probabilities and turn rollout groups into weighted samples."""

from rltf.config import (
    ObjectiveConfig,
    RejectionSamplingConfig,
    RltfFmConfig,
    RltfSdConfig,
    RltfSdFmConfig,
    SdftConfig,
    SdpoConfig,
    UserMethodConfig,
)
from rltf.objectives.base import Answers, Context, Objective, Term
from rltf.objectives.distillation import AgainstBaseline, Distillation, correct_only
from rltf.objectives.feedback_modelling import FeedbackModelling
from rltf.objectives.policy_gradient import PolicyGradient
from rltf.objectives.sdft import AfterDemonstration
from rltf.objectives.sdpo import AfterFeedback, TokenDistillation
from rltf.objectives.self_feedback import SelfFeedback
from rltf.objectives.user import user_terms

__all__ = ["Answers", "Context", "Objective", "Term", "build_objective"]


def build_objective(config: ObjectiveConfig, context: Context) -> Objective:
    """The method that the config names: the policy gradient, and the method's own terms."""
    terms: list[Term] = [PolicyGradient(config)]
    if config.self_feedback_coefficient > 0:
        terms.append(SelfFeedback(config))
    match config:
        case RltfSdConfig() | RltfSdFmConfig():
            terms.append(Distillation(config.sd, AgainstBaseline(config.sd, config), config.sd.floor_for))
        case RejectionSamplingConfig():
            terms.append(Distillation(config.sd, correct_only))
        case SdpoConfig():
            terms.append(TokenDistillation(config.distil, AfterFeedback(context), context.max_tokens))
        case SdftConfig():
            prompt = AfterDemonstration(context, config.demonstration)
            terms.append(TokenDistillation(config.distil, prompt, context.max_tokens))
        case UserMethodConfig():
            terms += user_terms(config, context)
        case _:
            pass
    if isinstance(config, RltfFmConfig | RltfSdFmConfig | SdpoConfig) and config.fm is not None:
        terms.append(FeedbackModelling(config.fm, context.renderer, context.prompts))
    return Objective(terms=tuple(terms))
