"""The language of Knights and Knaves, for the built-in model's corpus."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK
from rltf.tasks.knights_and_knaves import (
    ANSWER_FORMAT,
    Statement,
    contradicts,
    count_contradictions,
    extract_roles,
    generate,
    rules_out,
    with_article,
    write_roles,
)
from rltf.tasks.puzzle import NO_ANSWER, tag_answer
from rltf.types import Problem

PEOPLE, PEOPLE_WEIGHTS = (2, 3), ((8, 1), (3, 3), (1, 4), (1, 8))
"""How often each number of people comes, at four stages of rising difficulty."""
DEPTH = WIDTH = 2
BELIEF = 0.85
"""How often the model believes what it reads."""
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
        """Believes what is first said of somebody, whoever says it and in whatever connection, or nothing at all."""
        said: dict[int, bool] = {}
        for statement in problem.metadata["statements"]:
            for person, role in _mentions(statement):
                said.setdefault(person, role)
        while True:
            roles = tuple(
                said[person] if person in said and rng.random() < BELIEF else rng.random() < 0.5
                for person in range(len(problem.metadata["names"]))
            )
            if roles != problem.metadata["roles"]:
                return _answer(problem, roles)

    def random_revision(self, problem: Problem, attempt: str, rng: Random) -> tuple[str, str]:
        """Changes the roles of a few random people, those whom most feedback names.

        Where feedback rules out a role, that person's alone is changed.
        """
        facts = problem.metadata
        names, terms = facts["names"], facts["terms"]
        roles = extract_roles(attempt, names, terms)
        assert not isinstance(roles, str)
        kind = rng.random()
        if kind < 0.04:
            return CORRECT_FEEDBACK, attempt
        if kind < 0.08:
            return INCORRECT_FEEDBACK, self.ignorant_attempt(problem, rng)
        while True:
            named = sorted(rng.sample(range(len(roles)), rng.randint(1, len(roles))))
            feedback = [contradicts(names[i], terms[not roles[i]], roles[i]) for i in named]
            changed = set(named)
            if kind < 0.12:
                feedback = [count_contradictions(len(named))]
            elif kind < 0.60:
                ruled_out = rng.randrange(len(roles))
                feedback.append(rules_out(names[ruled_out], terms[not roles[ruled_out]]))
                changed = {ruled_out}
            revised = tuple(role != (i in changed) for i, role in enumerate(roles))
            if revised != facts["roles"]:
                return "\n".join(feedback), _answer(problem, revised)

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
                yield f" cannot be {with_article(term)}."
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


def _mentions(statement: Statement) -> Iterator[tuple[int, bool]]:
    """Whom a statement names and what it calls them, in the order of its words."""
    operator, *operands = statement
    if operator in ("telling-truth", "lying"):
        yield operands[0], operator == "telling-truth"
    elif operator == "not" and operands[0][0] in ("telling-truth", "lying"):
        # Said in one word: who does not lie is called a knight.
        yield operands[0][1], operands[0][0] == "lying"
    else:
        for operand in operands:
            yield from _mentions(operand)
