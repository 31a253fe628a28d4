from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from helpers import builtin_tokenizer, chatml_tokenizer
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, normalizers

from rltf.support.errors import UserError
from rltf.text.renderer import Renderer
from rltf.types import Message, Role, Tokens

STAND_IN = re.compile("[\U000f0000-\U000ffffd]")
# Texts made of control tokens, of pieces that become one when put together, and of anything else.
CONTROLS = (
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
)
PARTS = ("<|im_", "end|>", "<", "|", ">", "<|", "|>", "think>", "\n", " ", "system\n", "user\n")
STAND_INS = ("\U000f0000", "\U000f0001", "\U000f0005", "\U000ffffd", "\U00100000", "\ufffd")
FRAGMENTS = st.sampled_from(CONTROLS + PARTS + STAND_INS)
TEXT = st.one_of(st.text(max_size=20), st.lists(st.one_of(FRAGMENTS, st.text(max_size=3)), max_size=8).map("".join))
CLEAN = st.text(st.characters(exclude_categories=["Cs", "Co"], exclude_characters="<"), max_size=30)
LOOKALIKES = ("<|im_end|", "|im_end|>", "<|im_end |>", "<|IM_END|>", "<Think>", "<| end|>", "<<", "a<b>c")


@pytest.fixture(scope="module", params=["builtin", "chatml"])
def any_tokenizer(request: pytest.FixtureRequest, tokenizer: Any, chatml: Any) -> Any:
    return {"builtin": tokenizer, "chatml": chatml}[request.param]


@pytest.fixture(scope="module")
def any_renderer(any_tokenizer: Any) -> Renderer:
    return Renderer(any_tokenizer, [any_tokenizer.eos_token_id])


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def as_dicts(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def template_text(tokenizer: Any, messages: tuple[Message, ...]) -> str:
    return str(tokenizer.apply_chat_template(as_dicts(messages), tokenize=False, add_generation_prompt=True))


def template_tokens(tokenizer: Any, messages: tuple[Message, ...]) -> Tokens:
    tokens = tokenizer.apply_chat_template(
        as_dicts(messages), tokenize=True, add_generation_prompt=True, return_dict=False
    )
    return tuple(tokens)


def decoded(tokenizer: Any, tokens: Tokens) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def controls(tokenizer: Any, tokens: Tokens) -> Counter[int]:
    return Counter(token for token in tokens if token in tokenizer.added_tokens_decoder)


def added_tokens(tokenizer: Any) -> list[str]:
    return [str(token) for token in tokenizer.added_tokens_decoder.values()]


@given(question=CLEAN, attempt=CLEAN, feedback=CLEAN)
def test_ordinary_conversations_have_the_templates_own_tokens(
    any_tokenizer: Any, any_renderer: Renderer, question: str, attempt: str, feedback: str
) -> None:
    for messages in ((user(question),), (user(question), assistant(attempt), user(feedback))):
        assert any_renderer.prompt(messages) == template_tokens(any_tokenizer, messages)


@pytest.mark.parametrize("text", LOOKALIKES)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_what_only_looks_like_a_control_token_has_the_templates_own_tokens(
    any_tokenizer: Any, any_renderer: Renderer, text: str, role: Role
) -> None:
    messages = (user("q"), Message(role=role, content=f"{text}x{text}"))
    assert any_renderer.prompt(messages) == template_tokens(any_tokenizer, messages)


def test_the_last_token_of_a_prompt_opens_the_assistants_turn(tokenizer: Any, renderer: Renderer) -> None:
    assert decoded(tokenizer, renderer.prompt((user("q"),))[-1:]) == "<|assistant|>"


def test_every_control_token_that_somebody_spells_stays_text(any_tokenizer: Any, any_renderer: Renderer) -> None:
    plain = (user("q"), assistant("y"), user("c"))
    expected = controls(any_tokenizer, any_renderer.prompt(plain))
    spellings = added_tokens(any_tokenizer)
    assert len(spellings) >= 4
    for spelling in spellings:
        # The spelling alone, in text, doubled, and inside itself.
        half = len(spelling) // 2
        for text in (
            spelling,
            f"a {spelling} b",
            spelling * 2,
            spelling[:half] + spelling + spelling[half:],
            "".join(spellings),
        ):
            for place in range(3):
                messages = list(plain)
                messages[place] = Message(role=plain[place].role, content=text)
                if messages[place].role == "assistant" and "think" in text:
                    continue
                tokens = any_renderer.prompt(messages)
                assert controls(any_tokenizer, tokens) == expected
                assert decoded(any_tokenizer, tokens) == template_text(any_tokenizer, tuple(messages))


@given(question=TEXT, attempt=TEXT, feedback=TEXT)
@example(question="<|im_<|im_end|>end|>", attempt="<|en<|end|>d|>", feedback="<<think>")
def test_no_text_of_anybody_changes_how_many_control_tokens_there_are(
    any_tokenizer: Any, any_renderer: Renderer, question: str, attempt: str, feedback: str
) -> None:
    attempt = attempt.replace("think>", "thought>")
    messages = (user(question), assistant(attempt), user(feedback))
    tokens = any_renderer.prompt(messages)
    plain = any_renderer.prompt((user("q"), assistant("y"), user("c")))
    assert controls(any_tokenizer, tokens) == controls(any_tokenizer, plain)


@given(question=TEXT, attempt=TEXT, feedback=TEXT)
def test_a_prompt_reads_as_the_template_wrote_it_but_for_stand_ins(
    any_tokenizer: Any, any_renderer: Renderer, question: str, attempt: str, feedback: str
) -> None:
    messages = (user(question), assistant(attempt), user(feedback))
    expected = STAND_IN.sub("\ufffd", template_text(any_tokenizer, messages))
    assert decoded(any_tokenizer, any_renderer.prompt(messages)) == expected


def test_a_stand_in_that_somebody_typed_is_no_control_token_and_becomes_a_replacement_character(
    any_tokenizer: Any, any_renderer: Renderer
) -> None:
    plain = any_renderer.prompt((user("x"),))
    for offset in range(len(added_tokens(any_tokenizer)) + 1):
        tokens = any_renderer.prompt((user(f"a{chr(0xF0000 + offset)}b"),))
        assert controls(any_tokenizer, tokens) == controls(any_tokenizer, plain)
        assert "a\ufffdb" in decoded(any_tokenizer, tokens)


def test_brackets_and_single_characters_that_are_control_tokens_stay_text() -> None:
    tokenizer = chatml_tokenizer()
    tokenizer.add_tokens([AddedToken("[TOOL]", special=False), AddedToken("§", special=True)])
    renderer = Renderer(tokenizer, [tokenizer.eos_token_id])
    added = {tokenizer.convert_tokens_to_ids("[TOOL]"), tokenizer.convert_tokens_to_ids("§")}
    tokens = renderer.prompt((user("a [TOOL] b § c"), assistant("§"), user("c")))
    assert not added & set(tokens)
    assert "a [TOOL] b \ufffd c" in decoded(tokenizer, tokens)


def test_a_control_token_that_only_normalised_text_spells_is_blotted_out() -> None:
    tokenizer = chatml_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_tokens([AddedToken("<|stop|>", special=True, normalized=True)])
    renderer = Renderer(tokenizer, [tokenizer.eos_token_id])
    stop = tokenizer.convert_tokens_to_ids("<|stop|>")
    assert stop in tokenizer.encode("<|STOP|>", add_special_tokens=False)
    tokens = renderer.prompt((user("a <|STOP|> b <|stop|> c"),))
    assert stop not in tokens
    assert "a \ufffd b <|stop|> c" in decoded(tokenizer, tokens)


def test_half_a_surrogate_pair_becomes_a_question_mark(any_tokenizer: Any, any_renderer: Renderer) -> None:
    assert "a?b" in decoded(any_tokenizer, any_renderer.prompt((user("a\ud800b"),)))


def test_private_use_characters_that_are_no_stand_ins_are_kept(any_tokenizer: Any, any_renderer: Renderer) -> None:
    assert any_renderer.text(any_renderer.completion("\ue000\U00100000")) == "\ue000\U00100000"


def test_an_assistants_thoughts_are_left_to_its_template(chatml: Any) -> None:
    renderer = Renderer(chatml, [chatml.eos_token_id])
    messages = (user("q"), assistant("<think>\nhm\n</think>\n\ny"), user("c"))
    assert renderer.prompt(messages) == template_tokens(chatml, messages)
    assert "hm" not in decoded(chatml, renderer.prompt(messages))


def test_a_users_thinking_tags_do_not_look_like_an_assistants_to_the_template(chatml: Any) -> None:
    renderer = Renderer(chatml, [chatml.eos_token_id])
    assert "before</think>after" in decoded(chatml, renderer.prompt((user("before</think>after"),)))


@given(TEXT)
def test_a_completion_ends_with_its_only_control_token_the_stop_token(
    any_tokenizer: Any, any_renderer: Renderer, text: str
) -> None:
    tokens = any_renderer.completion(text)
    assert tokens[-1] == any_tokenizer.eos_token_id
    assert controls(any_tokenizer, tokens) == Counter([any_tokenizer.eos_token_id])


@given(TEXT)
@example("!!")
def test_the_text_of_a_completion_is_the_text_it_was_made_of(any_renderer: Renderer, text: str) -> None:
    assert any_renderer.text(any_renderer.completion(text)) == STAND_IN.sub("\ufffd", text)


@given(CLEAN)
def test_an_ordinary_completion_has_the_tokenizers_own_tokens(
    any_tokenizer: Any, any_renderer: Renderer, text: str
) -> None:
    assert list(any_renderer.completion(text)[:-1]) == any_tokenizer.encode(text, add_special_tokens=False)


def test_control_tokens_that_a_model_samples_are_no_text(any_tokenizer: Any, any_renderer: Renderer) -> None:
    special = [int(i) for i, token in any_tokenizer.added_tokens_decoder.items() if token.special]
    letter = any_tokenizer.encode("a", add_special_tokens=False)
    assert any_renderer.text([*letter, *special, *letter, any_tokenizer.eos_token_id]) == "aa"


def test_a_completion_cut_inside_a_character_is_still_text(any_renderer: Renderer) -> None:
    tokens = any_renderer.completion("é")[:1]
    assert any_renderer.text(tokens) == "\ufffd"


def test_the_first_stop_token_closes_a_completion(any_tokenizer: Any) -> None:
    pad = any_tokenizer.pad_token_id
    renderer = Renderer(any_tokenizer, [any_tokenizer.eos_token_id, pad])
    assert renderer.stop_tokens == (any_tokenizer.eos_token_id, pad)
    assert renderer.completion("a")[-1] == any_tokenizer.eos_token_id


def test_a_tokenizer_without_a_chat_template_is_the_users_error() -> None:
    tokenizer = builtin_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"engine\.chat_template"):
        Renderer(tokenizer, [tokenizer.eos_token_id])
