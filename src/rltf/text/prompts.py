"""Every conversation that the policy is given: the settings' texts around untrusted parts, filled in in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from rltf.support.templates import substitute
from rltf.text.thinking import split_thinking
from rltf.types import Message, Problem

ConversationForm: TypeAlias = Literal["continued", "newest", "single_message"]


class Texts(Protocol):
    """What `rltf.config.PromptsConfig` holds."""

    @property
    def system(self) -> str | None:
        """The system prompt, if there is one."""
        ...

    @property
    def revision(self) -> str:
        """Asks for another attempt behind the last one; a template with `{feedback}`."""
        ...

    @property
    def single_message(self) -> str:
        """Asks for another attempt in one message; a template with `{question}` and `{feedback}`."""
        ...

    @property
    def thinking(self) -> Literal["template", "kept", "unscored"]:
        """What becomes of thinking blocks."""
        ...

    @property
    def feedback_request(self) -> str:
        """Asks for feedback behind an attempt."""
        ...

    @property
    def lesson_request(self) -> str:
        """Asks, in place of an answer, what answers have to mind; a template with `{question}`."""
        ...


@dataclass(frozen=True, slots=True)
class Prompts:
    """Makes the conversations x_0, x_h and f_FM(x_h, y_h) of the paper."""

    texts: Texts

    def first_turn(self, problem: Problem) -> tuple[Message, ...]:
        """x_0: the question, behind the system prompt and the conversation that leads up to it, where there are any."""
        return self.opened((*problem.before, Message(role="user", content=problem.prompt)))

    def read(self, text: str) -> tuple[str, str]:
        """The thinking block of an attempt that nobody reads, which may be empty, and what everybody does."""
        return split_thinking(text) if self.texts.thinking == "unscored" else ("", text)

    def opened(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """A conversation from outside behind the system prompt, unless it has a system message of its own."""
        if self.texts.system is None or any(message.role == "system" for message in messages):
            return messages
        return (Message(role="system", content=self.texts.system), *messages)

    def next_turn(
        self, problem: Problem, messages: tuple[Message, ...], attempt: str, feedback: str, form: ConversationForm
    ) -> tuple[Message, ...]:
        """x_{h+1} = f(x_h, y_h, c_h), from the conversation `messages` behind which the feedback was asked for.

        `continued` goes on with the conversation: the attempt as the assistant's, then the feedback with the
        request to answer afresh, so that y_{h+1} reads like a first answer. `newest` does the same, but
        its `messages` are the first turn's throughout: every later prompt looks like the second. `single_message` puts
        all into one message behind the system message, and so forgets earlier turns too.
        """
        values = {"question": problem.prompt, "attempt": attempt, "feedback": feedback}
        if form == "single_message":
            system = tuple(message for message in messages[:1] if message.role == "system")
            return (*system, Message(role="user", content=substitute(self.texts.single_message, values)))
        return (
            *messages,
            Message(role="assistant", content=attempt),
            Message(role="user", content=substitute(self.texts.revision, values)),
        )

    def feedback_request(self, messages: tuple[Message, ...], attempt: str) -> tuple[Message, ...]:
        """f_FM(x_h, y_h): the conversation with the attempt, then the request for feedback on it."""
        request = Message(role="user", content=self.texts.feedback_request)
        return (*messages, Message(role="assistant", content=attempt), request)

    def lesson_request(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """f_lesson(x_0): the conversation up to the question, whose words stand in the request."""
        asked = substitute(self.texts.lesson_request, {"question": messages[-1].content})
        return (*messages[:-1], Message(role="user", content=asked))
