"""Makes tests/data/instructions/made.jsonl: texts that are built to meet, or to break, a constraint.

Whether they do is known from how they are built: this file imports nothing of the package.

    python tests/instruction_pairs.py > tests/data/instructions/made.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

NAMES = ["fox", "hen", "owl", "cat", "dog", "rat", "bat", "cow", "pig", "ant", "bee", "elk"]
VERBS = ["saw", "met", "led", "fed", "hid", "won", "lit", "cut", "hit", "got"]
Pair = tuple[dict[str, Any], str, bool]


def plain(rng: Random, words: int) -> str:
    """So many words of three letters, all different, none of them `zinc`."""
    return " ".join(rng.sample(NAMES + VERBS, words))


def sentence(rng: Random, words: int) -> str:
    text = plain(rng, words)
    return text[0].upper() + text[1:] + rng.choice(".!?")


def pairs(rng: Random) -> Iterator[Pair]:
    for number in (3, 5, 8, 13, 20):
        for there in (number - 2, number - 1, number, number + 1, number + 2):
            text = plain(rng, there)
            yield {"kind": "word_count", "number": number}, text, there == number
            yield {"kind": "word_count", "number": number, "relation": "at least"}, f"({text})", there >= number
            yield {"kind": "word_count", "number": number, "relation": "at most"}, text + " ...", there <= number
            yield {"kind": "letter_count", "number": 3 * number}, text, there >= number
            yield {"kind": "character_count", "number": 4 * number - 1}, text, there <= number
    for number in (1, 2, 4):
        for there in range(1, number + 3):
            text = " ".join(sentence(rng, 4) for _ in range(there))
            yield {"kind": "sentence_count", "number": number}, text, there == number
            yield {"kind": "sentence_count", "number": number, "relation": "at most"}, text, there <= number
            yield (
                {"kind": "bullet_list", "number": number},
                "\n".join(f"- {plain(rng, 2)}" for _ in range(there)),
                (there == number),
            )
            items = "\n".join(f"{i + 1}. {plain(rng, 2)}" for i in range(there))
            yield {"kind": "numbered_list", "number": number}, items, there == number
            apart = "\n\n".join(plain(rng, 3) for _ in range(there))
            yield {"kind": "paragraph_count", "number": number}, apart, there == number
            starred = "\n***\n".join(plain(rng, 3) for _ in range(there))
            yield {"kind": "paragraph_count", "number": number, "divider": "stars"}, starred, there == number
            brackets = " ".join(f"[{name}]" for name in NAMES[:there])
            yield {"kind": "placeholders", "number": number}, f"so {brackets}", there >= number
            stars = " ".join(f"*{name}* x" for name in NAMES[:there])
            yield {"kind": "highlights", "number": number}, stars, there >= number
            digits = " and ".join(str(10 + i) for i in range(there))
            yield {"kind": "has_number", "number": number}, f"see {digits}", there >= number
            loud = " ".join([name.upper() for name in NAMES[:there]] + VERBS[:3])
            yield {"kind": "capital_words", "number": number, "relation": "exactly"}, loud, there == number
    for number in (2, 3, 6):
        for there in (number - 1, number, number + 1):
            yield {"kind": "comma_list", "number": number}, ", ".join(NAMES[:there]), there == number
            rows = "\n".join(f"| {name} | 1 |" for name in NAMES[:there])
            table = f"| who | age |\n|---|---|\n{rows}"
            yield {"kind": "table", "columns": ["who", "age"], "rows": number}, table, there == number
            keys = NAMES[:there]
            yield (
                {"kind": "json_object", "keys": NAMES[:number], "types": ["number"] * number},
                json.dumps(dict.fromkeys(keys, 1)),
                there == number,
            )
    for word in ("zinc", "amber", "tent"):
        for times in range(4):
            said = plain(rng, 6).split()
            for _ in range(times):
                said.insert(rng.randint(0, len(said)), word)
            text = " ".join(said)
            yield {"kind": "use_words", "words": [word]}, text, times > 0
            yield {"kind": "avoid_words", "words": [word]}, text, times == 0
            yield {"kind": "word_times", "word": word, "times": 2, "relation": "exactly"}, text, times == 2
            yield {"kind": "word_times", "word": word, "times": 2, "relation": "at least"}, text, times >= 2
            yield {"kind": "no_repeated_word"}, text, times <= 1
            yield {"kind": "one_of_words", "words": [word, "quartz"]}, text, times > 0
            yield {"kind": "longest_word", "letters": 3}, text, times == 0
        for text in (plain(rng, 5), plain(rng, 7)):
            yield {"kind": "first_word", "word": word}, f"{word} {text}.", True
            yield {"kind": "first_word", "word": word}, f"{text} {word}.", False
            yield {"kind": "last_word", "word": word}, f"{text} {word}!", True
            yield {"kind": "last_word", "word": word}, f"{word} {text}!", False
            yield {"kind": "same_ends"}, f"{word} {text} {word}", True
            yield {"kind": "same_ends"}, f"{word} {text}", False
            yield {"kind": "begin_with", "phrase": f"so {word}"}, f"So {word}, {text}.", True
            yield {"kind": "begin_with", "phrase": f"so {word}"}, f"{text} so {word}.", False
            yield {"kind": "end_with", "phrase": f"so {word}"}, f"{text}: so {word}.", True
            yield {"kind": "end_with", "phrase": f"so {word}"}, f"So {word}: {text}.", False
            yield {"kind": "adjacent_words", "first": word, "second": "quartz"}, f"{text} {word} quartz", True
            yield {"kind": "adjacent_words", "first": word, "second": "quartz"}, f"quartz {text} {word}", False
            yield {"kind": "word_order", "words": [word, "quartz"]}, f"{word} {text} quartz", True
            yield {"kind": "word_order", "words": [word, "quartz"]}, f"quartz {text} {word}", False
            yield {"kind": "word_in_sentence", "word": word, "sentence": 2}, f"{text}. A {word}.", True
            yield {"kind": "word_in_sentence", "word": word, "sentence": 2}, f"A {word}. {text}.", False
    for _ in range(4):
        text = sentence(rng, 6)
        yield {"kind": "lowercase"}, text.lower(), True
        yield {"kind": "lowercase"}, text, False
        yield {"kind": "uppercase"}, text.upper(), True
        yield {"kind": "uppercase"}, text, False
        yield {"kind": "title_case"}, text.title(), True
        yield {"kind": "title_case"}, text, False
        yield {"kind": "quotation"}, f'"{text}"', True
        yield {"kind": "quotation"}, text, False
        yield {"kind": "title"}, f"<<{text[:-1]}>>\n{text}", True
        yield {"kind": "title"}, text, False
        yield {"kind": "question"}, text[:-1] + "?", True
        yield {"kind": "question"}, text[:-1] + ".", False
        yield {"kind": "exclamation"}, text[:-1] + "!", True
        yield {"kind": "exclamation"}, text[:-1] + ".", False
        yield {"kind": "avoid_sign", "sign": ","}, text, True
        yield {"kind": "avoid_sign", "sign": ","}, text.replace(" ", ", ", 1), False
        yield {"kind": "no_digits"}, text, True
        yield {"kind": "no_digits"}, f"{text} 4", False
        yield {"kind": "avoid_letter", "letter": "z"}, text, True
        yield {"kind": "avoid_letter", "letter": "z"}, f"{text} Zoo", False
        yield {"kind": "postscript"}, f"{text}\n\nP.S. {text}", True
        yield {"kind": "postscript"}, text, False
        yield {"kind": "two_answers"}, f"{text}\n******\n{text} Yes.", True
        yield {"kind": "two_answers"}, f"{text}\n******\n{text}", False
        ordered = sorted(rng.sample(NAMES, 4))
        yield {"kind": "sorted_items"}, "\n".join(f"- {name}" for name in ordered), True
        yield {"kind": "sorted_items"}, "\n".join(f"- {name}" for name in reversed(ordered)), False
        yield {"kind": "item_length", "words": 2}, "\n".join(f"- the {name}" for name in ordered), True
        yield {"kind": "item_length", "words": 2}, "\n".join(f"- the old {name}" for name in ordered), False
        initial = rng.choice(NAMES)
        yield {"kind": "word_initials", "letter": "b"}, "bat bee", True
        yield {"kind": "word_initials", "letter": "b"}, f"bat bee {initial.replace('b', 'c')}", False
        yield {"kind": "sentence_length", "number": 6}, f"{text} {sentence(rng, 5)}", True
        yield {"kind": "sentence_length", "number": 6}, f"{text} {sentence(rng, 7)}", False


if __name__ == "__main__":
    seen: set[str] = set()
    for constraint, text, met in pairs(Random(7)):
        line = json.dumps({**constraint, "text": text, "met": met}, ensure_ascii=False)
        if line not in seen:
            print(line)
        seen.add(line)
