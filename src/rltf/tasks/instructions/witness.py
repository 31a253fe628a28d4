"""Builds an answer that meets some constraints at once: the proof that they can be met together.

The answer is grammatical in parts only. What counts is that the checkers, which know nothing of how it was built, find
no fault with it; where they do after some tries, the constraints count as contradictory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from heapq import heapify, heapreplace
from itertools import pairwise
from random import Random

from rltf.tasks.instructions.kinds import Kind
from rltf.tasks.instructions.lexicon import languages, word_list
from rltf.tasks.instructions.plan import Plan
from rltf.tasks.instructions.text import fold, words

_TRIES = 12
_SLOTS = ("the", "adjectives", "nouns", "verbs", "the", "adjectives", "nouns", "adverbs", "function")
_LARGEST = 20_000
"""Words that an answer is built with at most."""


class _Stuck(Exception):
    """This try leads nowhere."""


def build(kinds: Sequence[Kind], rng: Random) -> str | None:
    """An answer that meets all of them; None where none was found."""
    layouts = {kind.lays_out for kind in kinds if kind.lays_out is not None}
    if len(layouts) > 1:
        return None
    for _ in range(_TRIES):
        plan = Plan()
        plan.form = next(iter(layouts), "prose")
        for kind in kinds:
            kind.plan(plan)
        try:
            texts = _texts(plan, rng)
        except _Stuck:
            continue
        for text in texts:
            for _, change in sorted(plan.finish, key=lambda step: step[0]):
                text = change(text)
            if not any(kind.fault(text) for kind in kinds):
                return text
    return None


def _texts(plan: Plan, rng: Random) -> list[str]:
    """Answers to try."""
    match plan.form:
        case "name":
            return rng.sample(plan.candidates, len(plan.candidates))
        case "foreign":
            return [languages()[plan.language][1]] if plan.language in languages() else []
        case "json":
            return [_json(plan, _Fillers(plan, rng))]
        case "table":
            return [_table(plan, _Fillers(plan, rng))]
        case _:
            return [_laid_out(plan, _units(plan, rng))]


class _Fillers:
    """Words that no constraint asks for, and none forbids."""

    def __init__(self, plan: Plan, rng: Random) -> None:
        self._plan, self._rng = plan, rng
        asked = [*plan.include, *(word for words_ in plan.choices for word in words_), *plan.unit_ends]
        taken = {fold(word) for phrase in asked for word in words(phrase)}
        taken |= {fold(word) for phrase in (*plan.begin, *plan.end, *plan.in_unit.values()) for word in words(phrase)}
        names = ("adjectives", "nouns", "verbs", "adverbs", "function")
        self._pools = {
            name: [word for word in word_list(name) if fold(word) not in taken and self.allowed(word)] for name in names
        }
        self._pools["the"] = [word for word in ("the",) if word not in taken and self.allowed(word)]
        self._slot = 0

    def allowed(self, word: str) -> bool:
        """Whether no constraint forbids it."""
        return all(fits(part) for fits in self._plan.filters for part in word.split())

    def choose(self, options: Sequence[str]) -> str:
        """One of the options that is allowed."""
        fitting = [option for option in options if self.allowed(option)]
        if not fitting:
            raise _Stuck
        return self._rng.choice(fitting)

    def next(self, initial: str = "") -> str:
        """Another word; with an initial, one that begins with it."""
        for _ in range(len(_SLOTS)):
            pool = self._pools[_SLOTS[self._slot % len(_SLOTS)]]
            self._slot += 1
            if initial:
                pool = [word for name in self._pools for word in self._pools[name] if fold(word).startswith(initial)]
            if pool:
                return self._taken(self._pick(pool))
        raise _Stuck

    def last(self) -> str:
        """Another word, a noun or adverb if there is one, as sentences end in."""
        pool = [*self._pools["nouns"], *self._pools["adverbs"]]
        return self._taken(self._pick(pool)) if pool else self.next()

    def _pick(self, pool: Sequence[str]) -> str:
        favourite = self._plan.favourite
        if not favourite:
            return self._rng.choice(pool)
        return max(self._rng.sample(pool, min(12, len(pool))), key=lambda word: fold(word).count(favourite))

    def _taken(self, word: str) -> str:
        if self._plan.distinct:
            for pool in self._pools.values():
                if word in pool:
                    pool.remove(word)
        return word


def _units(plan: Plan, rng: Random) -> list[list[str]]:
    """The words of each sentence, item or line."""
    fillers = _Fillers(plan, rng)
    count = max(plan.units.least, plan.paragraphs.least, *(place + 1 for place in plan.in_unit), 1)
    least = plan.words.least - plan.extra_words
    if plan.unit_words.most < least:
        count = max(count, -(-least // plan.unit_words.most))
    elif plan.form == "prose" and plan.units.most > count:
        count = min(plan.units.most, max(count, min(least // 12, _LARGEST)))
    if count > plan.units.most:
        raise _Stuck
    heads = [plan.in_unit.get(i, "").split() for i in range(count)]
    heads[0] = plan.begin + heads[0]
    tails: list[list[str]] = [[] for _ in range(count)]
    if plan.unit_ends:
        usable = [word for word in plan.unit_ends if fillers.allowed(word)]
        if len(usable) < count:
            raise _Stuck
        tails = [[word] for word in rng.sample(usable, count)]
    tails[-1] = tails[-1] + plan.end
    for i, initial in enumerate(_initials(plan, count)):
        first = (heads[i] or tails[i] or [""])[0] if heads[i] else ""
        if initial and not fold(first).startswith(initial):
            heads[i].insert(0, fillers.next(initial))
    phrases = [phrase.split() for phrase in (*plan.include, *(fillers.choose(options) for options in plan.choices))]
    places = sorted(rng.randrange(count) for _ in phrases)
    middles: list[list[list[str]]] = [[] for _ in range(count)]
    for place, phrase in zip(places, phrases, strict=True):
        middles[place].append(phrase)
    units = _filled(plan, rng, fillers, heads, middles, tails)
    return sorted(units, key=lambda unit: " ".join(map(fold, unit))) if plan.sorted_units else units


def _initials(plan: Plan, count: int) -> str:
    one = plan.unit_initials
    return one * count if len(one) == 1 else one


def _filled(
    plan: Plan,
    rng: Random,
    fillers: _Fillers,
    heads: list[list[str]],
    middles: list[list[list[str]]],
    tails: list[list[str]],
) -> list[list[str]]:
    """Each unit with other words between those asked for, so that lengths are as asked."""
    count = len(heads)
    fixed = [len(heads[i]) + sum(map(len, middles[i])) + len(tails[i]) for i in range(count)]
    most = plan.unit_words.most
    if max(fixed) > most or sum(fixed) + plan.extra_words > plan.words.most:
        raise _Stuck
    least, largest = max(1, plan.words.least - plan.extra_words), plan.words.most - plan.extra_words
    if max(least, count) > _LARGEST:  # A unit has a word at least.
        raise _Stuck
    wanted = [min(most, max(fixed[i], rng.randint(5, 9))) for i in range(count)]
    over = sum(wanted) - largest
    fullest = [(fixed[i] - wanted[i], i) for i in range(count)]
    heapify(fullest)
    for _ in range(over):
        i = fullest[0][1]
        if wanted[i] <= max(1, fixed[i]):
            raise _Stuck
        wanted[i] -= 1
        heapreplace(fullest, (fixed[i] - wanted[i], i))
    under = least - sum(wanted)
    shortest = [(wanted[i], i) for i in range(count)]
    heapify(shortest)
    for _ in range(under):
        i = shortest[0][1]
        if wanted[i] >= most:
            raise _Stuck
        wanted[i] += 1
        heapreplace(shortest, (wanted[i], i))
    units: list[list[str]] = []
    for i in range(count):
        more = [fillers.next() for _ in range(wanted[i] - fixed[i] - 1)]
        more += [fillers.last()] * (wanted[i] > fixed[i])
        cuts = sorted(rng.randint(0, len(more)) for _ in middles[i])
        unit = list(heads[i])
        start = 0
        for cut, phrase in zip(cuts, middles[i], strict=True):
            unit += more[start:cut] + phrase
            start = cut
        units.append(unit + more[start:] + tails[i])
    return units


def _laid_out(plan: Plan, units: list[list[str]]) -> str:
    said = [" ".join(unit) for unit in units]
    said = [text[:1].upper() + text[1:] for text in said]
    match plan.form:
        case "bullets":
            return "\n".join(f"- {text}" for text in said)
        case "numbered":
            return "\n".join(f"{i}. {text}" for i, text in enumerate(said, 1))
        case "commas":
            return ", ".join(said)
        case "verse":
            return "\n".join(said)
        case _:
            marked = [text + plan.mark for text in said]
            parts = min(len(marked), max(1, plan.paragraphs.least))
            bounds = [len(marked) * i // parts for i in range(parts + 1)]
            return plan.divider.join(" ".join(marked[a:b]) for a, b in pairwise(bounds))


def _json(plan: Plan, fillers: _Fillers) -> str:
    asked = " ".join([*plan.include, *(fillers.choose(options) for options in plan.choices)])
    values: dict[str, object] = {}
    for i, (key, kind) in enumerate(plan.keys):
        if kind == "text":
            values[key], asked = f"{asked} {fillers.next()}".strip(), ""
        else:
            values[key] = {"number": 3 + i, "truth": True, "list": [fillers.next()]}[kind]
    if asked:
        raise _Stuck
    return json.dumps(values)


def _table(plan: Plan, fillers: _Fillers) -> str:
    asked = " ".join([*plan.include, *(fillers.choose(options) for options in plan.choices)])
    rows = [[fillers.next() for _ in plan.columns] for _ in range(plan.units.least)]
    rows[0][0] = f"{asked} {rows[0][0]}".strip()
    head = [list(plan.columns), ["---"] * len(plan.columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (*head, *rows))
