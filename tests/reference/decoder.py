"""The slow decoder: one question, one position at a time, one forward of the whole sequence per iteration.

It states what decoding means and is compared with the package's loop, decision by decision. It shares with the package only the
question and the keyed uniform draws (which are part of the contract: a draw depends on seed, question, purpose and step alone).

A policy is a plain dict, `{"name": ..., field: value}`:

- init: `mask`; `token_inject` rho; `embed_interp` lam, p, duration in (first, masked, fade), fade_forwards
- unmask: `threshold` tau, temperature; `topk` steps_per_block, temperature
- remask: `none`; `linear` bias, slope, scope; `exponential` bias, floor, base, span, scope; scope in (injected, decoded, all)

Sources: LLaDA (arXiv 2502.09992) for blocks and top-k; Fast-dLLM (2505.22618) for the threshold rule; Context-Aware Initialization
(2512.19004) for injection, embedding interpolation and the remask rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tests.reference.transformer import ReferenceTransformer
from warmexp.decode.state import Question
from warmexp.rng import uniform

MASK = "mask"
INJECTED = "injected"
DECODED = "decoded"


@dataclass
class Forward:
    """What one iteration did: its index, its block, how many eligible positions it had, what it committed (position, token, confidence)."""

    n: int
    block: int
    masked: int
    committed: list[tuple[int, int, float]]
    margin: float  # distance of the closest decision to its boundary


@dataclass
class Answer:
    """One decoded question. All lists have the canvas's length L; a revocation is (n, position, token, source, n of its commit)."""

    ids: list[int]
    commit_iteration: list[int]
    source: list[str]
    confidence: list[float | None]
    revocations: list[tuple[int, int, int, str, int]] = field(default_factory=list)
    nfe: int = 0
    forwards: list[Forward] = field(default_factory=list)


def softmax(z: np.ndarray) -> np.ndarray:
    """[V] -> [V]."""
    e = np.exp(z - z.max())
    return e / e.sum()


def remask_bias(remask: dict, k: int) -> float:
    """b_k, k = forwards already run in the block."""
    if remask["name"] == "linear":
        return remask["bias"] - remask["slope"] * k
    if remask["name"] == "exponential":
        return (remask["bias"] - remask["floor"]) * remask["base"] ** (k / remask["span"]) + remask["floor"]
    return -1.0


def in_scope(remask: dict, source: str) -> bool:
    """May a visible token of this source be revoked?"""
    if remask["name"] == "none":
        return False
    return source in {"injected": [INJECTED], "decoded": [DECODED], "all": [INJECTED, DECODED]}[remask["scope"]]


def soft_weight(init: dict, n: int) -> float:
    """The share of the proposal's embedding at a masked position with a soft prior, at the question's forward n."""
    if init["duration"] == "first":
        return init["lam"] if n == 0 else 0.0
    if init["duration"] == "masked":
        return init["lam"]
    return init["lam"] * max(0.0, 1 - n / init["fade_forwards"])


def decode_one(
    model: ReferenceTransformer,
    question: Question,
    init: dict,
    unmask: dict,
    remask: dict,
    canvas: int,
    block_length: int,
    mask_id: int,
    shifted: bool = False,
    seed: int = 0,
) -> Answer:
    """Decode one question on `canvas` response positions in blocks of `block_length`."""
    answer = Answer(ids=[mask_id] * canvas, commit_iteration=[-1] * canvas, source=[MASK] * canvas, confidence=[None] * canvas)
    soft: dict[int, int] = {}  # position -> the proposal's token that is mixed in while the position is masked

    if init["name"] == "token_inject":
        u = uniform(seed, question.id, "inject", canvas)
        for i, token in enumerate(question.proposal):
            if u[i] < init["rho"]:
                answer.ids[i], answer.source[i] = token, INJECTED
    if init["name"] == "embed_interp":
        u = uniform(seed, question.id, "dropout", canvas)
        soft = {i: token for i, token in enumerate(question.proposal) if u[i] >= init["p"]}

    for block in range(canvas // block_length):
        positions = range(block * block_length, (block + 1) * block_length)
        k = 0
        while True:
            masked = [i for i in positions if answer.ids[i] == mask_id]
            revocable = [i for i in positions if i not in masked and in_scope(remask, answer.source[i])]
            worth_a_look = k == 0 and bool(revocable) and remask_bias(remask, 0) > -1
            if not masked and not worth_a_look:
                break
            n = answer.nfe
            logits = response_logits(model, question.prompt, answer.ids, soft, init, n, mask_id, shifted)
            committed, margin = choose(logits, masked, positions, unmask, question.id, seed, n, k)
            revoked, other = revoke(logits, answer.ids, revocable, remask, question.id, seed, n, k, block_length)
            for i in revoked:
                answer.revocations.append((n, i, answer.ids[i], answer.source[i], answer.commit_iteration[i]))
                answer.ids[i], answer.source[i], answer.commit_iteration[i], answer.confidence[i] = mask_id, MASK, -1, None
            for i, token, sure in committed:
                answer.ids[i], answer.source[i], answer.commit_iteration[i], answer.confidence[i] = token, DECODED, n, sure
            answer.forwards.append(Forward(n, block, len(masked), committed, min(margin, other)))
            answer.nfe += 1
            k += 1
    return answer


def response_logits(
    model: ReferenceTransformer,
    prompt: tuple[int, ...],
    ids: list[int],
    soft: dict[int, int],
    init: dict,
    n: int,
    mask_id: int,
    shifted: bool,
) -> np.ndarray:
    """[L, V]: row i holds the logits of response position i, the mask token's at -inf."""
    embeddings = model.embed([*prompt, *ids]).copy()
    for i, token in soft.items():
        if ids[i] == mask_id:
            w = soft_weight(init, n)
            embeddings[len(prompt) + i] = (1 - w) * model.embed([mask_id])[0] + w * model.embed([token])[0]
    first = len(prompt) - 1 if shifted else len(prompt)
    logits = model.logits(embeddings)[first : first + len(ids)].copy()
    logits[:, mask_id] = -np.inf
    return logits


def choose(
    logits: np.ndarray, masked: list[int], positions: range, unmask: dict, question: str, seed: int, n: int, k: int
) -> tuple[list[tuple[int, int]], float]:
    """What to commit now: (position, token, confidence), and how close the nearest decision was to its boundary.

    threshold: every eligible position with conf ≥ tau, else the most confident one. topk: the ceil(m / max(1, s-k)) most confident.
    Ties go to the lowest index, of tokens and of positions.
    """
    if not masked:
        return [], math.inf
    margin = math.inf
    token, confidence = {}, {}
    gumbel = None
    if unmask["temperature"] > 0:
        u = uniform(seed, question, "gumbel", (len(positions), logits.shape[1]), step=n)
        gumbel = -np.log(-np.log(u))
    for i in masked:
        score = logits[i] if gumbel is None else logits[i] / unmask["temperature"] + gumbel[i - positions.start]
        token[i] = int(np.argmax(score))
        confidence[i] = float(softmax(logits[i])[token[i]])
        best, second = sorted(score, reverse=True)[:2]
        margin = min(margin, float(best - second))
    ranked = sorted(masked, key=lambda i: (-confidence[i], i))
    if unmask["name"] == "threshold":
        margin = min(margin, *(abs(confidence[i] - unmask["tau"]) for i in masked))
        chosen = [i for i in masked if confidence[i] >= unmask["tau"]] or ranked[:1]
    else:
        chosen = ranked[: math.ceil(len(masked) / max(1, unmask["steps_per_block"] - k))]
    if len(chosen) < len(ranked):
        margin = min(margin, confidence[ranked[len(chosen) - 1]] - confidence[ranked[len(chosen)]])
    return [(i, token[i], confidence[i]) for i in sorted(chosen)], margin


def revoke(
    logits: np.ndarray, ids: list[int], revocable: list[int], remask: dict, question: str, seed: int, n: int, k: int, block_length: int
) -> tuple[list[int], float]:
    """Which visible tokens go back to the mask: u_i < clip(1 - c_i + b_k, 0, 1), never from iteration 4W of a block on."""
    b = remask_bias(remask, k)
    if k >= 4 * block_length or b <= -1:
        return [], math.inf
    u = uniform(seed, question, "remask", len(ids), step=n)
    chosen, margin = [], math.inf
    for i in revocable:
        rate = min(1.0, max(0.0, 1 - float(softmax(logits[i])[ids[i]]) + b))
        if u[i] < rate:
            chosen.append(i)
        margin = min(margin, abs(float(u[i]) - rate))
    return chosen, margin
