"""What every method has to hold to: the contracts of the loop, and results that depend on question, configuration and
seed alone.

Each check is a function of a problem that returns nothing, or raises Broken with what it found.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from warmexp.check_method.problems import CANVAS, MASK, VOCABULARY, Endless, Problem, problems
from warmexp.config.keys import LISTS
from warmexp.decode.batch import Decoded
from warmexp.decode.strategy import Strategy


class Broken(Exception):
    """A method does not hold to something; the text says what was expected and what came."""


def facts(done: Decoded) -> tuple[Any, ...]:
    """What may not depend on anything but the question, the configuration and the seed."""
    cost = done.cost
    return (
        done.ids,
        done.commit_iteration,
        done.source,
        done.revocations,
        done.notes,
        cost.nfe,
        cost.aux_forwards,
        cost.token_forwards,
        cost.guide_forwards,
        cost.guide_token_forwards,
    )


def same(found: Sequence[Decoded], expected: Sequence[Decoded], what: str) -> None:
    by_id = {one.id: one for one in found}
    for one in expected:
        if one.id not in by_id:
            raise Broken(f"{what}: question {one.id} is missing")
        if facts(by_id[one.id]) != facts(one):
            raise Broken(
                f"{what}: question {one.id} takes {by_id[one.id].cost.nfe} forwards to {by_id[one.id].ids}, not"
                f" {one.cost.nfe} to {one.ids}"
            )


def finishes(problem: Problem) -> None:
    """Every question ends, with a canvas full of tokens, in a bounded number of forwards."""
    resizes = problem.strategies().length.resizes
    for one in problem.alone:
        fits = 1 <= len(one.ids) <= CANVAS if resizes else len(one.ids) == CANVAS
        if not fits or not all(0 <= token < VOCABULARY and token != MASK for token in one.ids):
            raise Broken(
                f"question {one.id} ends as {one.ids}: {CANVAS} tokens were expected, none of them the mask ({MASK})"
            )


def edits_are_lawful(problem: Problem) -> None:
    """Commits are of forwards that were run; nothing is revoked in the forward that committed it."""
    for one in problem.alone:
        late = [n for n in one.commit_iteration if n >= one.cost.nfe]
        if late:
            raise Broken(f"question {one.id}: a commit in forward {late[0]}, of {one.cost.nfe}")
        for iteration, position, _, source, committed in one.revocations:
            if source == "decoded" and committed >= iteration:
                raise Broken(
                    f"question {one.id}: position {position} is revoked in forward {iteration}, in which it was"
                    " committed"
                )
            if source == "fixed":
                raise Broken(f"question {one.id}: the fixed token at {position} is revoked")


def neighbours_do_not_matter(problem: Problem) -> None:
    """Alone, in batches of two, all together and in the other order."""
    for batch in (2, len(problem.questions)):
        same(
            problem.decode(problem.strategies(), batch=batch), problem.alone, f"in a batch of {batch} instead of alone"
        )
    same(problem.decode(problem.strategies(), problem.questions[::-1]), problem.alone, "in the other order")


def one_object_serves_all(problem: Problem) -> None:
    """Used again, and used after a batch that was broken off, as happens when memory runs out; and it keeps nothing
    between calls."""
    made = problem.strategies()
    before = [pickle.dumps(vars(one)) for one in made]
    expected = problem.decode(made)
    same(problem.decode(made), expected, "decoded a second time by the same object")
    done = list(islice(problem.stream(made, None, len(problem.questions)), 1))
    left = [question for question in problem.questions if question.id not in {one.id for one in done}]
    same([*done, *problem.decode(made, left, batch=2)], expected, "after a batch that was broken off and halved")
    for one, kept in zip(made, before, strict=True):
        if pickle.dumps(vars(one)) != kept:
            name = type(one).__name__
            raise Broken(f"{name} changes itself while it decodes: a strategy keeps no state, the canvas does")


def plain_engine_agrees(problem: Problem) -> None:
    """The forward without caches' buffers, groups and views says the same."""
    same(problem.decode(problem.strategies(), batch=1, plain=True), problem.alone, "with engine=plain")


CHECKS: tuple[Callable[[Problem], None], ...] = (
    finishes,
    edits_are_lawful,
    neighbours_do_not_matter,
    one_object_serves_all,
    plain_engine_agrees,
)


def described(method: Strategy) -> None:
    """It says what it does, and its curve is one of its keys."""
    name = type(method).__name__
    if not (type(method).__doc__ or "").strip() or (type(method).__doc__ or "").startswith(f"{name}("):
        raise Broken(f"{name} has no docstring: say what it does, with its equation and its source")
    keys = {field.name for field in dataclasses.fields(method)}
    foreign = [key for key in (*method.symbols, *filter(None, [method.curve])) if key not in keys]
    if foreign:
        raise Broken(
            f"{name} shows {foreign[0]!r} (curve, symbols), which is none of its keys: {', '.join(sorted(keys))}"
        )
    method.shown()


def conform(
    nodes: dict[str, Any],
    group: str,
    seeds: Sequence[int] = range(4),
    checks: Sequence[Callable[[Problem], None]] = CHECKS,
) -> Iterator[tuple[str, str | None]]:
    """Each check's sentence and, where it fails, what was found.

    Args:
        nodes: the configuration of every method group. group: the one whose method is looked at. seeds: of the
        problems. checks: which of them.
    """
    tried = list(problems(nodes, seeds))
    chosen = getattr(tried[0].strategies(), group)
    for one in chosen if group in LISTS else (chosen,):
        yield _outcome(described, one)
    for check in checks:
        outcomes = [_outcome(check, problem) for problem in tried]
        yield next((outcome for outcome in outcomes if outcome[1]), outcomes[0])


def _outcome(check: Callable[[Any], None], subject: Any) -> tuple[str, str | None]:
    sentence = (check.__doc__ or "").split("\n")[0]
    try:
        check(subject)
    except (Broken, Endless) as found:
        return sentence, str(found)
    return sentence, None
