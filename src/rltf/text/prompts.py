"""Every text the policy sees around untrusted parts, with substitution in one pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from rltf.types import Message, Problem

ConversationForm: TypeAlias = Literal["continued", "newest", "single_message"]

SECOND_TURN = (
    "{feedback}\n\nAnswer the original question afresh, as if for the first time, without mentioning this feedback."
)
SINGLE_MESSAGE = (
    "{question}\n\nYour previous answer:\n{attempt}\n\nFeedback on it:\n{feedback}\n\n"
    "Answer the original question afresh, as if for the first time, without mentioning this feedback."
)
FEEDBACK_REQUEST = "Say what is wrong with this answer, without giving the right one."

_FIELD = re.compile(r"\{([a-z_]+)\}")


def substitute(template: str, fields: Mapping[str, str]) -> str:
    """Replaces each `{name}` of the template once. Braces inside a value stay text; an unknown name raises."""
    return _FIELD.sub(lambda match: fields[match.group(1)], template)


def first_turn(problem: Problem) -> tuple[Message, ...]:
    """x_0: the question alone."""
    return (Message(role="user", content=problem.prompt),)


def next_turn(
    problem: Problem, messages: tuple[Message, ...], attempt: str, feedback: str, form: ConversationForm
) -> tuple[Message, ...]:
    """x_{h+1} = f(x_h, y_h, c_h), from the conversation `messages` behind which the feedback was asked for.

    `continued` goes on with the conversation: the attempt as the assistant's, then the feedback with the
    request to answer afresh, so that y_{h+1} reads like a first answer. `newest` does the same, but
    its `messages` are the first turn's throughout: every later prompt looks like the second. `single_message` puts
    all into one message and so forgets earlier turns too.
    """
    if form == "single_message":
        fields = {"question": problem.prompt, "attempt": attempt, "feedback": feedback}
        return (Message(role="user", content=substitute(SINGLE_MESSAGE, fields)),)
    return (
        *messages,
        Message(role="assistant", content=attempt),
        Message(role="user", content=substitute(SECOND_TURN, {"feedback": feedback})),
    )


def feedback_request(messages: tuple[Message, ...], attempt: str) -> tuple[Message, ...]:
    """f_FM(x_h, y_h): the conversation with the attempt, then a request for feedback on it."""
    return (*messages, Message(role="assistant", content=attempt), Message(role="user", content=FEEDBACK_REQUEST))
