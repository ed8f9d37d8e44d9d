"""The slow decoder: one question, one position at a time, one forward of the whole sequence per iteration.

It states what decoding means and is compared with the package's loop, decision by decision. It shares with the package
only the question and the keyed uniform draws (which are part of the contract: a draw depends on seed, question, purpose
and step alone).

A policy is a plain dict, `{"name": ..., field: value}`:

- init: `mask`; `token_inject` rho; `embed_interp` lam, p, duration in (first, masked, fade), fade_forwards, by_trust,
  by_entropy, norm in (none, match); `verified` theta, weight,
  cap, score in (visible, halves, shadow), keep_rule in (prefix, each)
- unmask: `threshold` tau, temperature; `agreement` tau, low, temperature; `bonus` tau, beta, strength, cap, wins,
  temperature; `product` tau, w, cap, wins, temperature; `topk` steps_per_block, temperature
- remask: `none`; `linear` bias, slope, scope; `exponential` bias, floor, base, span, scope; `budget` threshold, most,
  score in (visible, shadow), scope; scope in (injected, decoded, all)
- anchor: `none`; `edit` window, within, reach, abort, verify
- cache: `none`; `exact` commit (separate, fused), first_token (commit, window), for a model that sees blocks; `prefix`, `dual` refresh (block, revocation, or a number), first_token (refresh, window); `freecache`
  settle

Sources: LLaDA (arXiv 2502.09992) for blocks and top-k; Fast-dLLM (2505.22618) for the threshold rule; Context-Aware
Initialization (2512.19004) for injection, embedding interpolation and the remask rate; FlashDLM (2505.21467) for
FreeCache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from tests.reference.transformer import Kept, ReferenceTransformer
from warmexp.decode.canvas import Question
from warmexp.rng import bits, uniform

MASK = "mask"
INJECTED = "injected"
DECODED = "decoded"


@dataclass
class Forward:
    """What one iteration did: its index, its block, how many eligible positions it had, what it committed (position,
    token, confidence)."""

    n: int
    block: int
    masked: int
    committed: list[tuple[int, int, float]]
    margin: float  # distance of the closest decision to its boundary


@dataclass
class Answer:
    """One decoded question. All lists have the canvas's length L; a revocation is (n, position, token, source, n of its
    commit)."""

    ids: list[int]
    commit_iteration: list[int]
    source: list[str]
    confidence: list[float | None]
    revocations: list[tuple[int, int, int, str, int]] = field(default_factory=list)
    nfe: int = 0
    forwards: list[Forward] = field(default_factory=list)
    token_forwards: int = 0
    silent: int = 0  # forwards besides these that read nothing


def softmax(z: np.ndarray) -> np.ndarray:
    """[V] -> [V]."""
    e = np.exp(z - z.max())
    return e / e.sum()


def entropy(z: np.ndarray) -> float:
    """Of softmax(z), as a share of the largest that a distribution over the tokens can have."""
    p = softmax(z)[np.isfinite(z)]
    return float(-(p * np.log(p)).sum() / np.log(len(p)))


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
    cache: dict | None = None,
    anchor: dict | None = None,
) -> Answer:
    """Decode one question on `canvas` response positions in blocks of `block_length`."""
    sees = model.sizes.attention_block if isinstance(model, ReferenceTransformer) else 0
    memory = Memory(cache or {"name": "none"}, len(question.prompt), canvas, block_length, shifted, sees)
    answer = Answer(
        ids=[mask_id] * canvas, commit_iteration=[-1] * canvas, source=[MASK] * canvas, confidence=[None] * canvas
    )
    # position -> the author's tokens that are mixed in while the position is masked, and the part of each
    soft: dict[int, list[tuple[int, float]]] = {}
    share: dict[int, float] = {}  # position -> what the prior's weight is scaled by
    doubt: dict[int, float] = {}  # position -> entropy when it was last read, as a share of the largest
    original, readings, entered = question, 0, None

    def begin(question: Question, first: int, read: bool) -> bool:
        """What init makes of the proposal from position `first` on; whether it was verified for that."""
        proposal = dict(enumerate(question.proposal[:canvas]))
        injected: dict[int, int] = {}
        forwards = 0
        soft.clear()
        if init["name"] == "token_inject":
            u = uniform(seed, question.id, "inject", canvas)
            injected = {i: token for i, token in proposal.items() if u[i] < init["rho"]}
        if init["name"] == "embed_interp":
            u = uniform(seed, question.id, "dropout", canvas)
            soft.update({i: told(question, i, init) for i in proposal if i >= first and u[i] >= init["p"]})
            share.update(enumerate(question.trust) if init.get("by_trust") else ())
        read = read and math.prod(question.trust[: question.written + 1]) >= init.get("whole", 0)
        if init["name"] == "verified" and read:
            kept, forwards, margin = verify(model, question, init, canvas, mask_id, shifted, first)
            memory.costs += [len(question.prompt) + canvas] * forwards
            if init["score"] == "shadow":
                memory.costs[-1] += (1 + shifted) * (len(proposal) - first)
            answer.forwards += [Forward(answer.nfe + n, -1, 0, [], margin) for n in range(forwards)]
            injected = {i: proposal[i] for i in kept}
        answer.nfe += forwards
        for i in range(first, canvas):
            if answer.source[i] == INJECTED and answer.ids[i] == injected.get(i):
                continue
            if answer.source[i] == INJECTED:
                answer.revocations.append((answer.nfe - 1, i, answer.ids[i], INJECTED, answer.commit_iteration[i]))
            answer.ids[i], answer.source[i] = (injected[i], INJECTED) if i in injected else (mask_id, MASK)
            answer.commit_iteration[i] = answer.nfe - 1 if i in injected and first else -1
        return forwards > 0

    begin(question, 0, bool(question.proposal))
    # Blocks are counted from the canvas's first position; those of attention from the prompt's.
    ahead = len(question.prompt) % block_length if sees else 0
    for block in range(-(-(canvas + ahead) // block_length)):
        begins = block * block_length - ahead
        positions = range(max(0, begins), min(canvas, begins + block_length))
        k = 0
        while True:
            masked = [i for i in positions if answer.ids[i] == mask_id]
            revocable = [i for i in positions if i not in masked and in_scope(remask, answer.source[i])]
            worth_a_look = k == 0 and bool(revocable) and (remask["name"] == "budget" or remask_bias(remask, 0) > -1)
            if not masked and not worth_a_look:
                break
            entered = positions.start if entered is None else entered
            if anchor and anchor["name"] == "edit" and k == 0 and positions.start > entered:
                entered = positions.start
                question = moved(original, answer.ids, entered, block_length, anchor)
                read = init["name"] == "verified" and len(question.proposal) > entered and readings < anchor["verify"]
                read = read and question.proposal[entered:] != original.proposal[entered:]
                readings += begin(question, entered, read)
                continue
            n = answer.nfe
            weight = {
                i: soft_weight(init, n) * share.get(i, 1.0) * doubt.get(i, 1.0)
                for i in soft
                if answer.ids[i] == mask_id
            }
            if memory.cache["name"] == "exact":
                for first, last in memory.finished(positions.start, answer.ids, mask_id):
                    embedded = model.embed([*question.prompt, *answer.ids])
                    model.logits(embedded[first:last], first, memory.kept)
                    memory.costs.append(last - first)
                    answer.silent += 1
                first, last, only = memory.beside(positions.start, answer.ids, mask_id)
            else:
                first, last, only = memory.span(block, k, answer.ids, mask_id, weight)
            memory.costs.append(last - first)
            match = init.get("norm") == "match"
            logits = response_logits(
                model, question.prompt, answer.ids, soft, weight, match, mask_id, shifted, first, last, memory.kept
            )
            masked = [i for i in masked if i in logits][: 1 if only else None]
            if init.get("by_entropy"):
                doubt |= {i: entropy(logits[i]) for i in masked}
            revocable = [i for i in revocable if i in logits]
            committed, margin = choose(logits, masked, positions, unmask, question.id, seed, n, k, question)
            if remask["name"] == "budget":
                scores = {i: logits[i] for i in revocable}
                if remask["score"] == "shadow":
                    memory.costs[-1] += (1 + shifted) * len(revocable)
                    rest = (weight, match, mask_id, shifted, first, last, {})
                    scores = {
                        i: response_logits(model, question.prompt, hide(answer.ids, i, mask_id), leave(soft, i), *rest)[
                            i
                        ]
                        for i in revocable
                    }
                revoked, other = worst(scores, answer, remask, len(committed) if masked else None)
            else:
                revoked, other = revoke(logits, answer.ids, revocable, remask, question.id, seed, n, k, block_length)
            for i in revoked:
                answer.revocations.append((n, i, answer.ids[i], answer.source[i], answer.commit_iteration[i]))
                answer.ids[i], answer.source[i], answer.commit_iteration[i], answer.confidence[i] = (
                    mask_id,
                    MASK,
                    -1,
                    None,
                )
            for i, token, sure in committed:
                answer.ids[i], answer.source[i], answer.commit_iteration[i], answer.confidence[i] = (
                    token,
                    DECODED,
                    n,
                    sure,
                )
            answer.forwards.append(Forward(n, block, len(masked), committed, min(margin, other)))
            answer.nfe += 1
            k += 1
    answer.token_forwards = sum(memory.costs)
    return answer


def hide(ids: list[int], i: int, mask_id: int) -> list[int]:
    """The canvas with a mask at i."""
    return [*ids[:i], mask_id, *ids[i + 1 :]]


def told(question: Question, i: int, init: dict) -> list[tuple[int, float]]:
    """What stands in the prior of position i: the proposal's token, or the k likeliest of the author's and the part of
    each, which are 1 together."""
    found = question.likely[i][: init["k"]] if init.get("k", 1) > 1 and question.likely else ()
    total = sum(p for _, p in found)
    return [(token, p / total) for token, p in found] if total > 0 else [(question.proposal[i], 1.0)]


def leave(soft: dict[int, list[tuple[int, float]]], i: int) -> dict[int, list[tuple[int, float]]]:
    """Soft priors without that of i."""
    return {j: tokens for j, tokens in soft.items() if j != i}


def worst(
    scores: dict[int, np.ndarray], answer: Answer, remask: dict, committed: int | None
) -> tuple[list[int], float]:
    """The tokens of lowest probability below the threshold, fewer than were committed; all of them if nothing was
    masked (None)."""
    times = {i: sum(event[1] == i for event in answer.revocations) for i in scores}
    q = {i: float(softmax(scores[i])[answer.ids[i]]) for i in scores if times[i] < remask["most"]}
    ranked = sorted((i for i in q if q[i] < remask["threshold"]), key=lambda i: (q[i], i))
    count = len(ranked) if committed is None else min(len(ranked), max(0, committed - 1))
    margin = min((abs(p - remask["threshold"]) for p in q.values()), default=math.inf)
    if 0 < count < len(ranked):
        margin = min(margin, q[ranked[count]] - q[ranked[count - 1]])
    return ranked[:count], margin


def moved(question: Question, ids: list[int], s: int, width: int, anchor: dict) -> Question:
    """The question with `ids` up to s and, behind them, its proposal from the best anchor on."""
    proposal = list(question.proposal)

    def place(s: int) -> int | None:
        found, best = ids[max(0, s - anchor["window"]) : s], None
        for j in range(len(proposal) + 1):
            if abs(s - j) <= anchor["reach"]:
                off = min(distance(found, proposal[i:j]) for i in range(j + 1))
                best = min(best or (off, abs(s - j), j), (off, abs(s - j), j))
        return best[2] if best and best[0] <= anchor["within"] * len(found) else None

    j = place(s)
    if anchor["abort"] and any(place(boundary) is None for boundary in range(width, s, width)):
        j = None
    if not proposal:
        return question
    rest = [] if j is None else list(range(j, len(proposal)))
    if j is not None and question.written < len(proposal):
        rest = ([*rest, *[len(proposal) - 1] * len(proposal)])[: max(0, len(proposal) - s)]
    slots = [min(i, len(proposal) - 1) for i in [*range(s), *rest]]
    trust = question.trust and tuple(question.trust[i] for i in slots)
    likely = question.likely and tuple(question.likely[i] for i in slots)
    written = s + max(0, question.written - j) if rest else s
    laid = (*ids[:s], *(proposal[i] for i in rest))
    return replace(question, proposal=laid, trust=trust, written=written, likely=likely)


def distance(a: list[int], b: list[int]) -> int:
    """Edit distance: insertions, deletions, substitutions."""
    if not a or not b:
        return len(a) + len(b)
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            same = table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            table[i, j] = min(same, table[i - 1, j] + 1, table[i, j - 1] + 1)
    return table[len(a), len(b)]


def verify(
    model: ReferenceTransformer,
    question: Question,
    init: dict,
    canvas: int,
    mask_id: int,
    shifted: bool,
    given: int = 0,
) -> tuple[list[int], int, float]:
    """Which proposal positions from `given` on are kept, in how many forwards, how close the nearest decision was to
    its boundary."""
    proposal = question.proposal[:canvas]
    whole = [*proposal, *[mask_id] * (canvas - len(proposal))]
    everything = set(range(given, len(proposal)))
    even = {i for i in everything if i % 2 == 0}
    readings = {
        "visible": [(set(), everything)],
        "halves": [(even, even), (everything - even, everything - even)],
        "shadow": [({i}, {i}) for i in everything],  # in one layer the row's keys and values know nothing of each other
    }[init["score"]]
    q: dict[int, float] = {}
    for hidden, read in readings:
        ids = [mask_id if i in hidden else token for i, token in enumerate(whole)]
        first = len(question.prompt) - (1 if shifted else 0)
        rows = model.logits(model.embed([*question.prompt, *ids]))[first : first + canvas].copy()
        rows[:, mask_id] = -np.inf
        q |= {i: float(softmax(rows[i])[proposal[i]]) for i in read}
    kept, margin, failed = [], math.inf, False
    for i in range(given, len(proposal)):
        trust = question.trust[i] if question.trust else 1.0
        odds = logit(q[i], 1e-6) + init["weight"] * logit(min(trust, init["cap"]), 1e-4)
        margin = min(margin, abs(odds - logit(init["theta"], 0)))
        failed = odds < logit(init["theta"], 0) or (failed and init["keep_rule"] == "prefix")
        if not failed:
            kept.append(i)
    return kept, 2 if init["score"] == "halves" else 1, margin


def logit(p: float, edge: float) -> float:
    """ln p/(1-p), with p moved at least `edge` from 0 and 1."""
    p = min(max(p, edge), 1 - edge)
    return math.log(p / (1 - p))


@dataclass
class Memory:
    """What is kept between forwards, and which positions of the sequence the next one computes."""

    cache: dict
    prompt: int
    canvas: int
    width: int
    shifted: bool
    sees: int = 0
    kept: Kept = field(default_factory=dict)
    age: int = 0  # forwards since the last full one, itself included
    seen: set[int] = field(default_factory=set)  # response positions that were visible in it
    fed: dict[int, float] = field(default_factory=dict)  # the prior's weights in it
    block: int = 0  # of the last forward
    costs: list[int] = field(default_factory=list)  # positions computed, per forward
    settled: int | None = None  # exact: so many positions of the sequence have keys and values that stay

    def reads_first(self, start: int, ids: list[int], mask_id: int) -> bool:
        """Whether the block's first token, at `start`, is to be read from the state before the block alone."""
        published = self.shifted and self.cache["commit"] == "separate" and self.cache["first_token"] == "commit"
        return published and (self.prompt + start) % self.sees == 0 and ids[start] == mask_id

    def finished(self, start: int, ids: list[int], mask_id: int) -> list[tuple[int, int]]:
        """What has to be computed, once its tokens stand, before the block that holds response position `start`, when
        nothing is to be read from it."""
        block = (self.prompt + start) // self.sees * self.sees
        waits = self.settled is not None and self.settled < block and self.cache["commit"] == "separate"
        if not waits or self.reads_first(start, ids, mask_id):
            return []
        begin, self.settled = self.settled, block
        return [(begin, block)]

    def beside(self, start: int, ids: list[int], mask_id: int) -> tuple[int, int, bool]:
        """As `span`, for exact keys and values."""
        block = (self.prompt + start) // self.sees * self.sees
        end = min(block + self.sees, self.prompt + self.canvas)
        before, self.settled = self.settled, block
        alone = self.reads_first(start, ids, mask_id)
        if before is None:
            return (0, block, True) if alone and block else (0, end, False)
        if before < block:
            return (before, block, True) if self.cache["commit"] == "separate" else (before, end, False)
        always = self.shifted and (self.cache["commit"] == "fused" or self.cache["first_token"] == "window")
        return max(0, block - (alone or always)), end, False

    def span(self, block: int, k: int, ids: list[int], mask_id: int, weight: dict[int, float]) -> tuple[int, int, bool]:
        """First position, the one after the last, and whether only the block's first position may be committed."""
        name, end = self.cache["name"], self.prompt + self.canvas
        if name == "none":
            self.kept = {}
            return 0, end, False
        begin = self.prompt + block * self.width
        first_masked = ids[block * self.width] == mask_id
        published = self.shifted and self.cache.get("first_token") == "refresh" and self.cache["refresh"] != 1
        visible = {i for i, token in enumerate(ids) if token != mask_id}
        if name == "freecache":
            full = not self.costs
        else:
            full = (
                k == 0
                or (self.cache["refresh"] == "revocation" and not self.seen <= visible)
                or (isinstance(self.cache["refresh"], int) and self.age == self.cache["refresh"])
                or (
                    name == "dual"
                    and any(w != self.fed.get(i, 0.0) for i, w in weight.items() if i >= (block + 1) * self.width)
                )
                or (published and first_masked)
            )
        came_from, self.block = self.block, block
        self.age += 1
        if full:
            self.kept, self.age, self.seen, self.fed = {}, 1, visible, weight
            return 0, end, published and first_masked
        if name == "freecache" and self.cache["settle"]:
            begin = self.prompt + came_from * self.width  # once more, now that the block is finished
        left = begin - 1 if self.shifted and not published else begin
        return left, begin + self.width if name == "dual" else end, False


def response_logits(
    model: ReferenceTransformer,
    prompt: tuple[int, ...],
    ids: list[int],
    soft: dict[int, list[tuple[int, float]]],
    weight: dict[int, float],
    match: bool,
    mask_id: int,
    shifted: bool,
    first: int,
    last: int,
    kept: Kept,
) -> dict[int, np.ndarray]:
    """Response position -> its logits [V], the mask token's at -inf, for those that the positions first … last-1 of the
    sequence tell."""
    embeddings = model.embed([*prompt, *ids]).copy()
    for i, tokens in soft.items():
        if ids[i] == mask_id:
            mask = model.embed([mask_id])[0]
            other = sum(part * model.embed([token])[0] for token, part in tokens)
            mixed = (1 - weight[i]) * mask + weight[i] * other
            if match and weight[i] > 0:
                mixed *= np.linalg.norm(mask) / np.linalg.norm(mixed)
            embeddings[len(prompt) + i] = mixed
    rows = model.logits(embeddings[first:last], first, kept).copy()
    rows[:, mask_id] = -np.inf
    tells = ((i, len(prompt) + i - shifted - first) for i in range(len(ids)))
    return {i: rows[row] for i, row in tells if 0 <= row < last - first}


def choose(
    logits: dict[int, np.ndarray],
    masked: list[int],
    positions: range,
    unmask: dict,
    question: str,
    seed: int,
    n: int,
    k: int,
    asked: Question | None = None,
) -> tuple[list[tuple[int, int]], float]:
    """What to commit now: (position, token, confidence), and how close the nearest decision was to its boundary.

    bonus, product: as threshold, after the proposal of `asked` has had its say in the logits.
    agreement: as threshold, with a lower one per position where the proposal of `asked` says the same.
    threshold: every eligible position with conf ≥ tau, else the most confident one. topk: the ceil(m / max(1, s-k))
    most confident. Ties go to the lowest index, of tokens and of positions.
    """
    if not masked:
        return [], math.inf
    margin = math.inf
    token, confidence = {}, {}
    gumbel = None
    if unmask["temperature"] > 0:
        states = bits(seed, question, "gumbel", positions.stop, step=n)[positions.start :]
        u = np.array([[splitmix64(int(state), v) for v in range(len(logits[masked[0]]))] for state in states])
        gumbel = -np.log(-np.log(u))
    for i in masked:
        score = logits[i] if gumbel is None else logits[i] / unmask["temperature"] + gumbel[i - positions.start]
        token[i] = int(np.argmax(score))
        confidence[i] = float(softmax(logits[i])[token[i]])
        best, second = sorted(score, reverse=True)[:2]
        margin = min(margin, float(best - second))
        if unmask["name"] in ("bonus", "product") and i < len(asked.proposal):
            said = asked.proposal[i]
            changed, speaks = heard(logits[i], said, asked.trust[i] if asked.trust else 1.0, unmask)
            best, second = sorted(changed, reverse=True)[:2]
            margin = min(margin, float(best - second))
            if token[i] == said:
                confidence[i] = max(confidence[i], float(softmax(changed)[said]))
            elif unmask["wins"] == "most" and int(np.argmax(changed)) == said and speaks:
                token[i], confidence[i] = said, float(softmax(changed)[said])
    ranked = sorted(masked, key=lambda i: (-confidence[i], i))
    if unmask["name"] != "topk":
        needed = dict.fromkeys(masked, unmask["tau"])
        if unmask["name"] == "agreement":
            for i in masked:
                if i < len(asked.proposal) and asked.proposal[i] == token[i]:
                    needed[i] -= (unmask["tau"] - unmask["low"]) * (asked.trust[i] if asked.trust else 1.0)
        margin = min(margin, *(abs(confidence[i] - needed[i]) for i in masked))
        chosen = [i for i in masked if confidence[i] >= needed[i]] or ranked[:1]
    else:
        chosen = ranked[: math.ceil(len(masked) / max(1, unmask["steps_per_block"] - k))]
    if len(chosen) < len(ranked):
        margin = min(margin, confidence[ranked[len(chosen) - 1]] - confidence[ranked[len(chosen)]])
    return [(i, token[i], confidence[i]) for i in sorted(chosen)], margin


def splitmix64(state: int, v: int) -> float:
    """The v-th output (from 0) of the generator that starts at `state`, as the middle of one of 2^52 equal parts of (0,
    1)."""
    z = (state + (v + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return (2 * ((z ^ z >> 31) >> 12) + 1) / 2**53


def heard(z: np.ndarray, said: int, trust: float, unmask: dict) -> tuple[np.ndarray, bool]:
    """[V] logits after an author has given the token `said` the probability `trust`, and whether that says anything for
    the token.

    It never speaks against one.
    """
    z = z.copy()
    if unmask["name"] == "bonus":
        word = trust if unmask["strength"] == "trust" else max(0.0, logit(min(trust, unmask["cap"]), 0.0))
        z[said] += unmask["beta"] * word
        return z, word > 0
    others = np.isfinite(z).sum() - 1
    trust = min(max(trust, 1e-4), unmask["cap"])
    author = np.full(len(z), (1 - trust) / others)
    author[said] = max(trust, (1 - trust) / others)
    return unmask["w"] * z + (1 - unmask["w"]) * np.log(author), trust > (1 - trust) / others


def revoke(
    logits: dict[int, np.ndarray],
    ids: list[int],
    revocable: list[int],
    remask: dict,
    question: str,
    seed: int,
    n: int,
    k: int,
    block_length: int,
) -> tuple[list[int], float]:
    """Which visible tokens go back to the mask: u_i < clip(1 - c_i + b_k, 0, 1), never from iteration 4W of a block
    on."""
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
