"""What chat templates do around messages: the date, ends of turns, thinking blocks, system messages."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, rltf
from helpers import PROBLEM, ScriptedPolicy, chatml_tokenizer, floats
from test_logs import entry
from test_rollout import PROBLEM as PUZZLE
from test_rollout import RIGHT, WRONG, make_collector
from tokenizers import AddedToken

from rltf.config import PromptsConfig, TorchEngineConfig
from rltf.config.load import begun_on, config_from_json, config_to_json, load_config
from rltf.engines.torch.model import load_for_prompts, load_model
from rltf.feedback import SelfSource
from rltf.feedback.logged import write_log
from rltf.rollouts.recording import rollout_record
from rltf.support.errors import UserError
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.text.thinking import split_thinking
from rltf.types import (
    Completion,
    FeedbackFailure,
    FeedbackRequest,
    Finish,
    Message,
    SamplingParams,
    Score,
    Tokens,
)

QUESTION = Message(role="user", content="Which river?")
NEXT = Message(role="user", content="And the next?")
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def tokenizer_with(
    template: str, *, eos: str = "<|im_end|>", special: Sequence[str] = (), words: Sequence[str] = ()
) -> Any:
    """A tokenizer like Qwen's with another template; `words` are added without being control tokens."""
    tokenizer = chatml_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in words])
    tokenizer.eos_token = eos
    tokenizer.chat_template = template
    return tokenizer


def rendered(tokenizer: Any, *messages: Message, opened: bool = False) -> str:
    chat = [{"role": message.role, "content": message.content} for message in messages]
    return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=opened))


def decoded(tokenizer: Any, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def renderer_of(tokenizer: Any, **settings: Any) -> Renderer:
    return Renderer(tokenizer, [tokenizer.eos_token_id], **settings)


# The date


def dated(how: str) -> str:
    return f"\n  {{% if strftime_now is defined %}}{{{{ strftime_now({how!r}) }}}}{{% endif %}}\n {CHAT}{OPEN}"


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("%d %b %Y %H:%M:%S", "05 Mar 2026 00:00:00"),
        ("%Y-%m-%d", "2026-03-05"),
        ("%A, %B %-d", "Thursday, March 5"),
        ("%%d is 100%% of %d", "%d is 100% of 05"),
        ("%D|%F|%T|%j", "03/05/26|2026-03-05|00:00:00|064"),
        ("today", "today"),
    ],
)
def test_a_template_shows_one_day_for_as_long_as_a_renderer_lives(how: str, shown: str) -> None:
    tokenizer = tokenizer_with(dated(how))
    renderer = renderer_of(tokenizer, day=date(2026, 3, 5))
    plain = rendered(tokenizer_with(dated("today")), QUESTION, opened=True)
    assert decoded(tokenizer, renderer.prompt((QUESTION,))) == plain.replace("today", shown)
    assert renderer.prompt((QUESTION,)) == renderer.prompt((QUESTION,))


def test_without_a_day_it_is_the_one_on_which_the_renderer_was_made() -> None:
    tokenizer = tokenizer_with(dated("%Y-%m-%d %f"))
    days = {date.today().isoformat()}
    renderer = renderer_of(tokenizer)
    days.add(date.today().isoformat())
    assert any(f"{day} 000000" in decoded(tokenizer, renderer.prompt((QUESTION,))) for day in days)


def test_a_run_keeps_the_day_on_which_it_began() -> None:
    config = load_config([], [])
    begun = begun_on(config, date(2026, 3, 5))
    assert (config.prompts.day, begun.prompts.day) == (None, date(2026, 3, 5))
    resumed = config_from_json(config_to_json(begun))
    assert begun_on(resumed, date(2026, 3, 6)) == begun
    for setting in ("prompts.date=2026-03-05", 'prompts.date="2026-03-05"'):
        assert begun_on(load_config([], [setting]), date(2026, 3, 6)) == begun


@pytest.mark.parametrize("day", ["tomorrow", "2026-13-01", '"2026-02-30"'])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(UserError, match=r"prompts\.date: .* is no day; write it as 2026-11-27"):
        load_config([], [f"prompts.date={day}"])


def test_the_day_is_in_a_runs_record_and_in_its_prompts_also_after_a_resume(tiny_model: Path, tmp_path: Path) -> None:
    template = (tiny_model / "chat_template.jinja").read_text()
    (tmp_path / "dated.jinja").write_text("{{ strftime_now('%Y-%m-%d') }}" + template)
    model = (f"engine.model={tiny_model}", "engine.chat_template=dated.jinja", "trainer.save_every=1")
    before = date.today()
    rltf("train", *SMALL, *model, "--run-dir", "a", cwd=tmp_path)
    recorded = json.loads((tmp_path / "a" / "config.json").read_text())["prompts"]["date"]
    assert before <= date.fromisoformat(recorded) <= date.today()
    rltf("train", *SMALL, *model, "prompts.date=2001-02-03", "--run-dir", "b", cwd=tmp_path)
    rltf("train", *SMALL, *model, "prompts.date=2001-02-03", "--run-dir", "c", cwd=tmp_path)
    # As if c had been stopped behind its first step: only its record knows the day.
    (tmp_path / "c" / "summary.json").unlink()
    shutil.rmtree(tmp_path / "c" / "checkpoints" / "step-000002")
    rltf("train", "--resume", "c", cwd=tmp_path)
    runs = {run: (tmp_path / run / "metrics.jsonl").read_text() for run in "abc"}
    assert runs["b"] == runs["c"] != runs["a"]


# Ends of turns

ENDINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "gemma": (
        "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        {"eos": "<eos>", "special": ("<eos>", "<start_of_turn>", "<end_of_turn>")},
        "<end_of_turn>",
    ),
    "a base model with ChatML": (CHAT + OPEN, {"eos": "<|endoftext|>"}, "<|im_end|>"),
    "an end of turn that is a word": (
        CHAT.replace("im_end", "fin") + OPEN,
        {"eos": "<|endoftext|>", "words": ("<|fin|>",)},
        "<|fin|>",
    ),
    "white space before the end": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} </s>"
        "{% endif %}{% endfor %}",
        {"eos": "</s>", "special": ("</s>", "[INST]", "[/INST]")},
        "</s>",
    ),
    "the last turn left open": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if not loop.last or m.role == 'user' %}"
        "<|im_end|>\n{% endif %}{% endfor %}" + OPEN,
        {"eos": "<|endoftext|>"},
        "<|im_end|>",
    ),
    "another end for the last turn": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if loop.last and m.role == 'assistant' %}"
        "<|return|>{% else %}<|im_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% endif %}",
        {"eos": "<|endoftext|>", "special": ("<|return|>",)},
        "<|return|>",
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_completion_ends_as_the_template_ends_a_turn_and_that_end_stops_sampling(name: str) -> None:
    template, settings, end = ENDINGS[name]
    tokenizer = tokenizer_with(template, **settings)
    renderer = renderer_of(tokenizer)
    tokens = renderer.completion("The Rhine.")
    assert tokens[-1] == tokenizer.convert_tokens_to_ids(end)
    assert renderer.stop_tokens == tuple(dict.fromkeys((tokens[-1], tokenizer.eos_token_id)))
    assert renderer.text(tokens).strip() == "The Rhine."
    # As the template writes it, in the middle of a conversation where it leaves the last turn open.
    whole = rendered(tokenizer, QUESTION, assistant("The Rhine."), *(NEXT,) * (name == "the last turn left open"))
    assert whole.startswith(decoded(tokenizer, (*renderer.prompt((QUESTION,)), *tokens)))


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% endfor %}" + OPEN,
    ],
)
def test_where_a_template_ends_no_turn_the_tokenizers_end_does(template: str) -> None:
    tokenizer = tokenizer_with(template, eos="<|endoftext|>")
    renderer = renderer_of(tokenizer)
    assert renderer.stop_tokens == (tokenizer.eos_token_id,)
    assert renderer.completion("a")[-1] == tokenizer.eos_token_id


def test_an_end_of_turn_that_is_a_word_is_no_text_and_nobody_can_spell_it() -> None:
    template, settings, end = ENDINGS["an end of turn that is a word"]
    tokenizer = tokenizer_with(template, **settings)
    renderer = renderer_of(tokenizer)
    token = tokenizer.convert_tokens_to_ids(end)
    assert renderer.text((*tokenizer.encode("a", add_special_tokens=False), token)) == "a"
    plain = renderer.prompt((QUESTION, assistant("x"), NEXT))
    spelled = renderer.prompt((QUESTION, assistant(f"x{end}y"), Message(role="user", content=end)))
    assert spelled.count(token) == plain.count(token) == 3


def test_a_model_whose_turns_end_otherwise_than_its_texts_stops_at_both(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    config = TorchEngineConfig(model=str(tmp_path / "model"), device="cpu")
    before = load_model(config).renderer
    for name in ("tokenizer_config.json", "generation_config.json", "config.json"):
        file = tmp_path / "model" / name
        settings = json.loads(file.read_text())
        if "eos_token" in settings:
            settings["eos_token"] = settings["pad_token"]
        if "eos_token_id" in settings:
            settings["eos_token_id"] = settings["pad_token_id"]
        file.write_text(json.dumps(settings))
    loaded = load_model(config)
    assert loaded.renderer.stop_tokens == (before.stop_tokens[0], loaded.tokenizer.pad_token_id)
    assert loaded.renderer.completion("a") == before.completion("a")


# Thinking

TRIMMED = "{% set c = m.content.split('</think>')[-1].lstrip() if m.role == 'assistant' else m.content %}"
R1 = (
    f"{{% for m in messages %}}{TRIMMED}<|im_start|>{{{{ m.role }}}}\n{{{{ c }}}}<|im_end|>\n{{% endfor %}}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
LAST = "{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
HYBRID = (
    f"{{% for m in messages %}}{TRIMMED}<|im_start|>{{{{ m.role }}}}\n{LAST}{{{{ c }}}}<|im_end|>\n{{% endfor %}}{OPEN}"
)
KEEPS = CHAT + OPEN
CHANNELS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}"
    "<|message|>{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
THOUGHT = "<think>\nRivers...\n</think>\n\nThe Rhine."


def written(tokenizer: Any, text: str, finish: Finish = Finish.STOP) -> Completion:
    """What a model samples: real control tokens where they are spelled."""
    tokens: Tokens = tuple(tokenizer.encode(text, add_special_tokens=False))
    if finish is Finish.STOP:
        tokens = (*tokens, tokenizer.eos_token_id)
    return Completion(tokens=tokens, logprobs=floats([-1.0] * len(tokens)), finish=finish)


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        (THOUGHT, "<think>\nRivers...\n</think>\n\n", "The Rhine."),
        ("<think>\nRivers...", "<think>\nRivers...", ""),
        ("[THINK]a[/THINK]b", "[THINK]a[/THINK]", "b"),
        ("The tag </think> ends a <think> block.", "", "The tag </think> ends a <think> block."),
        ("<think>a</think>b</think>c", "<think>a</think>", "b</think>c"),
        ("", "", ""),
    ],
)
def test_a_thinking_block_is_told_from_the_answer(text: str, thinking: str, answer: str) -> None:
    assert split_thinking(text) == (thinking, answer)


def test_a_block_that_the_prompt_opens_is_whole_in_the_text() -> None:
    tokenizer = tokenizer_with(R1)
    renderer = renderer_of(tokenizer)
    assert decoded(tokenizer, renderer.prompt((QUESTION,))).endswith("<think>\n")
    assert renderer.text(written(tokenizer, "Rivers...\n</think>\n\nThe Rhine.").tokens) == THOUGHT


def test_thinking_tags_that_are_control_tokens_stand_in_the_text() -> None:
    tokenizer = tokenizer_with(CHAT + OPEN, special=("[THINK]", "[/THINK]"))
    tokens = written(tokenizer, "[THINK]Rivers...[/THINK]The Rhine.").tokens
    assert renderer_of(tokenizer).text(tokens) == "[THINK]Rivers...[/THINK]The Rhine."


@pytest.mark.parametrize(
    ("template", "logged", "expected"),
    [
        (R1, "The Rhine.", "<think>\n\n</think>\n\nThe Rhine.<|im_end|>"),
        (R1, THOUGHT, THOUGHT + "<|im_end|>"),
        (R1, "<think>Rivers...</think>The Rhine.", "<think>\nRivers...</think>The Rhine.<|im_end|>"),
        (HYBRID, "The Rhine.", "<think>\n\n</think>\n\nThe Rhine.<|im_end|>"),
        (HYBRID, THOUGHT, THOUGHT + "<|im_end|>"),
        (KEEPS, "The Rhine.", "The Rhine.<|im_end|>"),
        (KEEPS, THOUGHT, THOUGHT + "<|im_end|>"),
        (CHANNELS, "The Rhine.", "<|channel|>final<|message|>The Rhine.<|im_end|>"),
        (CHANNELS, THOUGHT, "<|channel|>final<|message|>The Rhine.<|im_end|>"),
    ],
)
def test_a_logged_response_is_learned_as_the_template_has_answers(template: str, logged: str, expected: str) -> None:
    tokenizer = tokenizer_with(template, special=("<|channel|>", "<|message|>"))
    renderer = renderer_of(tokenizer)
    whole = (*renderer.prompt((QUESTION,)), *renderer.completion(logged, thinking=True))
    assert decoded(tokenizer, whole).partition("assistant")[2].removeprefix("\n") == expected
    assert tokenizer.convert_tokens_to_ids("<think>") in whole or "<think>" not in expected


def test_a_feedbacks_thinking_tags_are_text() -> None:
    tokenizer = tokenizer_with(KEEPS)
    tokens = renderer_of(tokenizer).completion("<think>No.</think>")
    assert tokenizer.convert_tokens_to_ids("<think>") not in tokens
    assert decoded(tokenizer, tokens) == "<think>No.</think><|im_end|>"


def test_channels_are_read_as_thinking_and_answer() -> None:
    tokenizer = tokenizer_with(CHANNELS, special=("<|channel|>", "<|message|>", "<|start|>"))
    renderer = renderer_of(tokenizer)
    said = "<|channel|>analysis<|message|>Rivers...<|start|>assistant<|channel|>final<|message|>The Rhine."
    thinking, answer = split_thinking(renderer.text(written(tokenizer, said).tokens))
    assert ("Rivers..." in thinking, answer) == (True, "The Rhine.")
    cut = written(tokenizer, "<|channel|>analysis<|message|>Rivers", Finish.LENGTH)
    assert split_thinking(renderer.text(cut.tokens))[1] == ""
    again = decoded(tokenizer, renderer.prompt((QUESTION, assistant(thinking + answer), NEXT)))
    assert "Rivers" not in again and "final<|message|>The Rhine.<|im_end|>" in again


def test_thoughts_in_a_channel_are_kept_as_they_were_written_where_a_setting_says_so() -> None:
    tokenizer = tokenizer_with(CHANNELS, special=("<|channel|>", "<|message|>"))
    keeping = renderer_of(tokenizer, keep_thinking=True)
    first = keeping.prompt((QUESTION,))
    thoughts = "Rivers, <|im_end|> and the <|channel|>?"
    said = (
        *tokenizer.encode("<|channel|>analysis<|message|>", add_special_tokens=False),
        *keeping.completion(thoughts)[len(keeping.completion("")) - 1 : -1],
        *tokenizer.encode(
            "<|im_end|><|im_start|>assistant<|channel|>final<|message|>The Rhine.", add_special_tokens=False
        ),
        tokenizer.eos_token_id,
    )
    text = keeping.text(said)
    assert split_thinking(text) == (f"<think>\n{thoughts}\n</think>\n\n", "The Rhine.")
    again = keeping.prompt((QUESTION, assistant(text), NEXT))
    # The second prompt goes on where the first answer ended, token for token.
    assert again[: len(first) + len(said)] == (*first, *said)
    # A block that is not kept, and an answer without one, are as the template has them.
    dropping = renderer_of(tokenizer)
    plain = dropping.prompt((QUESTION, assistant("The Rhine."), NEXT))
    assert dropping.prompt((QUESTION, assistant(text), NEXT)) == plain
    assert keeping.prompt((QUESTION, assistant("The Rhine."), NEXT)) == plain


@pytest.mark.parametrize("template", [R1, HYBRID, KEEPS])
def test_kept_thinking_stands_in_later_prompts_as_it_was_written(template: str) -> None:
    tokenizer = tokenizer_with(template)
    told = (QUESTION, assistant(THOUGHT), NEXT)
    dropping, keeping = renderer_of(tokenizer), renderer_of(tokenizer, keep_thinking=True)
    assert decoded(tokenizer, dropping.prompt(told)) == rendered(tokenizer, *told, opened=True)
    assert ("Rivers" in decoded(tokenizer, dropping.prompt(told))) == (template == KEEPS)
    first = (*keeping.prompt((QUESTION,)), *keeping.completion(THOUGHT, thinking=True))
    # The second prompt goes on where the first answer ended, token for token.
    assert decoded(tokenizer, keeping.prompt(told)).startswith(decoded(tokenizer, first))
    assert keeping.prompt(told).count(tokenizer.convert_tokens_to_ids("</think>")) == 1
    sneaky = (QUESTION, assistant("<think>a<|im_end|></think>b<|im_start|>"), NEXT)
    assert keeping.prompt(sneaky).count(tokenizer.eos_token_id) == keeping.prompt(told).count(tokenizer.eos_token_id)


@dataclass(kw_only=True)
class Thinker(ScriptedPolicy):
    """Writes its texts as a model samples them."""

    tokenizer: Any

    def _completion(self, text: str) -> Completion:
        cut = text.endswith("…")
        return written(self.tokenizer, text.removesuffix("…"), Finish.LENGTH if cut else Finish.STOP)


@pytest.mark.parametrize("thinking", ["template", "kept", "unscored"])
@pytest.mark.parametrize("form", ["continued", "single_message"])
def test_who_reads_what_an_attempt_thought(thinking: Any, form: Any) -> None:
    tokenizer = tokenizer_with(R1)
    renderer = renderer_of(tokenizer, keep_thinking=thinking == "kept")
    texts = Prompts(PromptsConfig(thinking=thinking))
    collector, _, judge = make_collector(renderer, [], ["No."], prompts=texts, conversation=form)
    script = [[[f"Perhaps {RIGHT}\n</think>\n\n{WRONG}"]], [[f"Sure.</think>{RIGHT}"]]]
    collector = replace(collector, generate=Thinker(renderer=renderer, script=script, tokenizer=tokenizer))
    (group,) = collector.collect([PUZZLE], 1, 1.0, 0)
    first, second = group.rollouts[0].turns
    block = f"<think>\nPerhaps {RIGHT}\n</think>\n\n"
    assert second.score.correct
    if thinking == "unscored":
        assert (first.thinking, first.text) == (block, WRONG)
    else:
        assert (first.thinking, first.text) == ("", block + WRONG)
    assert judge.requests[0].attempt == first.text
    later = decoded(tokenizer, second.prompt_tokens)
    shown = {"template": form == "single_message", "kept": True, "unscored": False}[thinking]
    assert ("Perhaps" in later) == shown
    # All of it was sampled, and all of it is trained.
    assert "Perhaps" in decoded(tokenizer, first.completion.tokens)


def test_an_unscored_attempt_that_only_thought_is_no_answer_and_its_thinking_is_recorded() -> None:
    tokenizer = tokenizer_with(R1)
    renderer = renderer_of(tokenizer)
    texts = Prompts(PromptsConfig(thinking="unscored"))
    collector, _, _ = make_collector(renderer, [], ["No."], prompts=texts)
    script = [[[f"It is {RIGHT}"]], [["Hm…"]]]
    collector = replace(collector, generate=Thinker(renderer=renderer, script=script, tokenizer=tokenizer))
    (group,) = collector.collect([PUZZLE], 1, 1.0, 0)
    first, second = group.rollouts[0].turns
    assert (first.text, first.score.correct, first.score.well_formed) == ("", False, False)
    assert [turn.thinking for turn in rollout_record(group.rollouts[0]).turns] == [
        f"<think>\nIt is {RIGHT}",
        "<think>\nHm",
    ]
    assert second.score.explanation.startswith("The attempt was cut")


def test_what_the_policy_thinks_about_an_attempt_is_no_feedback() -> None:
    tokenizer = tokenizer_with(R1)
    renderer = renderer_of(tokenizer)
    script = [[["Hm.</think>Too long."], ["Hm.</think>"]]]
    thinker = Thinker(renderer=renderer, script=script, tokenizer=tokenizer)
    source = SelfSource(
        thinker,
        renderer,
        Prompts(PromptsConfig()),
        SamplingParams(max_tokens=9),
        9999,
    )
    score = Score(reward=0.0, correct=False, well_formed=True, answer=None, explanation="")
    request = FeedbackRequest(problem=PROBLEM, attempt="y", score=score, messages=(QUESTION,))
    said, nothing = source.feedback([request, request], 7)
    assert not isinstance(said, FeedbackFailure) and said.text == "Too long."
    assert isinstance(nothing, FeedbackFailure) and nothing.cause == "empty"


# System messages

REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
IGNORING = CHAT.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
PREPENDING = (
    "{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}"
    "{% set ns.s = m.content + '\n' %}{% else %}<|im_start|>{{ m.role }}\n{{ ns.s }}{{ m.content }}<|im_end|>\n"
    "{% set ns.s = '' %}{% endif %}{% endfor %}"
)


@pytest.fixture
def model_with(tiny_model: Path, tmp_path: Path) -> Any:
    """The settings of a model with another template, in the words of the built-in model's tokenizer."""

    def settings(template: str) -> TorchEngineConfig:
        file = tmp_path / "template.jinja"
        marked = re.sub(r"<\|im_start\|>\{\{ m.role \}\}\n", "<|{{ m.role }}|>", template)
        file.write_text(marked.replace("<|im_end|>", "<|end|>").replace("<|im_start|>assistant\n", "<|assistant|>"))
        return TorchEngineConfig(model=str(tiny_model), chat_template=str(file), device="cpu")

    return settings


@pytest.mark.parametrize("load", [load_model, load_for_prompts])
def test_a_system_prompt_that_the_template_does_not_take_is_found_before_the_run(model_with: Any, load: Any) -> None:
    prompts = PromptsConfig(system="Be terse.")
    with pytest.raises(UserError, match=r"^prompts\.system: .* takes no system message \(System role not supported\)"):
        load(model_with(REFUSING + CHAT + OPEN), prompts)
    with pytest.raises(UserError, match=r"^prompts\.system: .* leaves the system message out; remove it"):
        load(model_with(IGNORING + OPEN), prompts)
    for template in (REFUSING + CHAT, IGNORING):
        load(model_with(template + OPEN), PromptsConfig())
    load(model_with(PREPENDING + OPEN), prompts)


def test_the_dry_run_says_what_a_template_refuses(model_with: Any, tmp_path: Path) -> None:
    engine = model_with(REFUSING + CHAT + OPEN)
    settings = [*SMALL, f"engine.model={engine.model}", f"engine.chat_template={engine.chat_template}"]
    assert "prompts: good" in rltf("train", "--dry-run", *settings, cwd=tmp_path).stdout
    asked = rltf("train", "--dry-run", *settings, "prompts.system=Be terse.", cwd=tmp_path, status=1).stdout
    assert "takes no system message (System role not supported)" in " ".join(asked.split())
    entries = [entry(i) for i in range(3)]
    entries[2] = replace(entries[2], messages=(Message(role="system", content="Be brief."), *entries[2].messages))
    write_log(tmp_path / "log.jsonl", entries)
    logged = rltf("train", "--dry-run", *settings, "log.path=log.jsonl", cwd=tmp_path, status=1).stdout
    assert "entry 3 of the log: the model's chat template refuses it: System role not supported" in " ".join(
        logged.split()
    )
