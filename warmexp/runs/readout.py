"""What a canvas says while it is being decoded: the text that is visible after each forward, and whether it holds the
right answer.

A masked position has no text and is left out, so what stands on its two sides reads as one. The rest is read as a
response is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from warmexp.decode.batch import Decoded


def canvases(result: Decoded, proposal: Sequence[int] = ()) -> Iterator[tuple[int, list[int | None]]]:
    """(forwards run, canvas) at the start, after every forward that changed the canvas, and at the end; None where it
    is masked.

    Where an init verifies, the canvas at the start is all that was offered, and what it keeps after its forwards.

    Args:
        proposal: token ids, as they were offered to the init.
    """
    there = zip(result.ids, result.source, result.commit_iteration, strict=False)
    stays = [(committed, i, token) for i, (token, source, committed) in enumerate(there) if source != "mask"]
    written = [*stays, *((committed, position, token) for _, position, token, _, committed in result.revocations)]
    canvas: list[int | None] = [None] * len(result.source)
    edits: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
    for iteration, position, *_ in result.revocations:  # before what another proposal puts there at once
        edits[iteration + 1].append((position, None))
    for committed, position, token in written:
        if committed < 0:
            canvas[position] = token
        else:
            edits[committed + 1].append((position, token))
    for position, score in enumerate(result.columns.get("score", ())):
        if score is not None and canvas[position] is None:
            canvas[position] = proposal[position]
            edits[result.columns["verifying"]].append((position, None))
    yield 0, list(canvas)
    for forwards in sorted(edits):
        for position, token in edits[forwards]:
            canvas[position] = token
        yield forwards, list(canvas)
    yield result.cost.nfe, list(result.ids)  # what is masked when a question ends early has become end-of-text


def correct_after(
    result: Decoded, proposal: Sequence[int], correct: Callable[[list[int]], dict[str, bool]]
) -> dict[str, list[list[int | bool]]]:
    """By filter, [forwards, verdict] wherever the verdict on the visible tokens changes; the first one is of 0
    forwards.

    The last verdict is the response's.

    Args:
        correct: token ids without masks -> {filter: whether their answer is the target}.
    """
    changes: dict[str, list[list[int | bool]]] = {}
    for forwards, canvas in canvases(result, proposal):
        for name, right in correct([token for token in canvas if token is not None]).items():
            told = changes.setdefault(name, [])
            if not told or told[-1][1] != right:
                told.append([forwards, right])
    return changes
