"""The language of Knights and Knaves, for the built-in model's corpus."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random

from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK
from rltf.tasks.knights_and_knaves import (
    ANSWER_FORMAT,
    contradicts,
    count_contradictions,
    extract_roles,
    generate,
    with_article,
    write_roles,
)
from rltf.tasks.puzzle import NO_ANSWER, tag_answer
from rltf.types import Problem

PEOPLE, PEOPLE_WEIGHTS = (2, 3), ((8, 1), (3, 3), (1, 4), (1, 8))
"""How often each number of people comes, at four stages of rising difficulty."""
DEPTH = WIDTH = 2
_STREAM = 0x5EED
"""The stream of puzzles, of which each question is a random position."""


class PeopleSpeaker:
    """Puzzles, random roles, random changes and their description."""

    def question(self, rng: Random, difficulty: float) -> Problem:
        """A puzzle of the generator; who is who is there only to be avoided."""
        (people,) = rng.choices(PEOPLE, PEOPLE_WEIGHTS[min(3, int(4 * difficulty))])
        while True:
            problem = generate(people, DEPTH, WIDTH, _STREAM, rng.randrange(2**31))
            if problem is not None:
                return problem

    def ignorant_attempt(self, problem: Problem, rng: Random) -> str:
        """Anybody is anything, whatever was said."""
        while True:
            roles = tuple(rng.random() < 0.5 for _ in problem.metadata["names"])
            if roles != problem.metadata["roles"]:
                return _answer(problem, roles)

    def random_revision(self, problem: Problem, attempt: str, rng: Random) -> tuple[str, str]:
        """Changes the roles of a few random people, those whom most feedback names."""
        facts = problem.metadata
        roles = extract_roles(attempt, facts["names"], facts["terms"])
        assert not isinstance(roles, str)
        kind = rng.random()
        if kind < 0.04:
            return CORRECT_FEEDBACK, attempt
        if kind < 0.08:
            return INCORRECT_FEEDBACK, self.ignorant_attempt(problem, rng)
        people = range(len(roles))
        changes = [
            changed
            for size in range(1, len(roles) + 1)
            for changed in itertools.combinations(people, size)
            if tuple(role != (i in changed) for i, role in enumerate(roles)) != facts["roles"]
        ]
        changed = rng.choice(changes)
        revision = _answer(problem, tuple(role != (i in changed) for i, role in enumerate(roles)))
        if kind < 0.14:
            return count_contradictions(len(changed)), revision
        named = [contradicts(facts["names"][i], facts["terms"][not roles[i]], roles[i]) for i in changed]
        return "\n".join(named), revision

    def vocabulary(self) -> Iterator[str]:
        """Fragments of the puzzles' sentences, each a token; a name stands on its own, so that it is one everywhere."""
        from reasoning_gym.logic.knights_knaves import (
            COMMON_NAMES,
            KNIGHT_KNAVE_PAIRS,
            POSTFIX,
            PREFIX,
            TEMPLATES,
        )

        yield from COMMON_NAMES
        for a_knight, a_knave in KNIGHT_KNAVE_PAIRS:
            knight, knave = a_knight.split()[1], a_knave.split()[1]
            terms = {"knight": knight, "knave": knave, "a_knight": a_knight, "a_knave": a_knave}
            terms |= {"Knight": knight.capitalize(), "Knave": knave.capitalize()}
            yield PREFIX.format(**terms)
            yield " " + POSTFIX.format(**terms)
            for term in (knight, knave):
                yield f" is {with_article(term)}"
            yield f" is a {knight}/{knave}"
        for number in range(2, 8):
            yield f"You meet {number} inhabitants: "
        for template in TEMPLATES:
            yield from (part for part in template.replace("{", "}").split("}") if part not in ("name", "content", ""))
        yield from (", ", ", and ", ". ", '." ', '" ', " and ", " or ", "if ", " then ", " if and only if ")
        yield from ("it is not the case that ", "(", ")", ' (Format your answer like: "', '")')
        # As the feedback has them.
        yield from ("You say ", ", but then what ", " said is true.", " said is false.")
        yield from (" said is true.\n", " said is false.\n", " said is true.\n\n", " said is false.\n\n")
        yield from (ANSWER_FORMAT, CORRECT_FEEDBACK, INCORRECT_FEEDBACK, NO_ANSWER)
        for number in range(1, 8):
            yield count_contradictions(number)
            yield count_contradictions(number) + "\n\n" + NO_ANSWER


def _answer(problem: Problem, roles: tuple[bool, ...]) -> str:
    return tag_answer(write_roles(problem.metadata["names"], problem.metadata["terms"], roles))
