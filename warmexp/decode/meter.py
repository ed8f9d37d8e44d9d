"""The meter: the only way to run a backbone forward, so NFE cannot be miscounted.

One ledger row per forward says what was computed for which question. Everything that is reported (NFE, full-forward equivalents,
token-forwards, auxiliary forwards, seconds) is a sum over the ledger; nothing counts anything anywhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from warmexp.decode.state import Canvas
from warmexp.errors import UserError
from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import Window
from warmexp.models.shadow import leave_one_out
from warmexp.models.wanted import download, upload

KINDS = ("full", "window", "block", "aux")
# Positions that are computed at once; a forward of more goes through the backbone in groups of rows, which bounds its activations. On a
# CPU arithmetic takes the time whatever the group, and a small one stays in its caches; a GPU needs some thousand positions to be busy.
POSITIONS = {"cpu": 352, "cuda": 8192}


@dataclass
class Forward:
    """One forward, asked for: which positions are computed and which hidden states go through the head.

    ids: [B, T] long, right-padded rows (prompt, then canvas), or where a window is given the part of them that is computed.
    lengths, computed: [B] long, true row lengths and how many positions of each are computed. row, position: [R] long, the logits that
    are wanted, row by row. All four on the host. embeddings: [B, T, d_model] or None; replaces ids when given. window: kept keys and
    values.
    """

    ids: Tensor
    lengths: Tensor
    computed: Tensor
    row: Tensor
    position: Tensor
    embeddings: Tensor | None = None
    kind: str = "full"
    window: Window | None = None
    hidden: Tensor | None = None  # [R] bool on the host, wanted tokens that what predicts them may not see (models/shadow.py)
    mixed: Tensor | None = None  # [B, T] bool, where `embeddings` are not those of ids

    def mix(self, backbone: Backbone, canvas: Canvas, mixture: Tensor, match: bool = False) -> None:
        """Feed (1-w)·e_M + w·E(x̂) where w > 0 (Eq. 6). mixture: w, [B, L] in [0, 1]. match: give it the length of e_M."""
        ids = self.ids
        start = self.window.starts if self.window else torch.zeros_like(self.lengths)
        prompts = self.lengths - canvas.ids.shape[1]
        columns = upload((start - prompts).numpy()[:, None], ids.device) + torch.arange(ids.shape[1], device=ids.device)
        inside = (columns >= 0) & (columns < canvas.ids.shape[1])
        columns = columns.clamp(0, canvas.ids.shape[1] - 1)
        weight = mixture.gather(1, columns)
        active = inside & (weight > 0)
        embeddings = backbone.embed(ids)
        w = weight[..., None].to(embeddings.dtype)
        mask = backbone.embed(torch.full((), backbone.mask_id, device=ids.device))
        blend = (1 - w) * mask + w * backbone.embed(canvas.prior.gather(1, columns))
        if match:
            blend = blend * (mask.norm() / blend.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(blend.dtype).tiny))
        self.embeddings, self.mixed = torch.where(active[..., None], blend, embeddings), active

    def hide(self, hidden: Tensor, copies: int) -> None:
        """Read these of the wanted tokens from shadows, each of which is so many more positions to compute."""
        self.hidden = hidden
        self.computed = self.computed + copies * self.row[hidden].bincount(minlength=len(self.lengths))

    def groups(self, positions: int) -> Iterator[tuple[slice | Tensor, Forward]]:
        """The same in groups of rows, each a single row or at most so many positions, and which of the R logits every group has.

        On the CPU rows of one length go together where nothing is kept: no keys are padded then, on which the order of attention's sums
        depends, and what is said of a row is the same to the last bit whatever its neighbours are.
        """
        length = (self.lengths << 32) + self.computed
        if self.ids.is_cpu and self.window is None and bool((length != length[0]).any()):
            order = length.argsort(stable=True)
            for alike in order.split(length[order].unique_consecutive(return_counts=True)[1].tolist()):
                for rows in alike.split(max(1, positions // int(self.computed[alike[0]]))):
                    yield self.of(rows)
            return
        count = max(1, positions // int(self.computed.max()))
        if count >= len(self.lengths):
            yield slice(None), self
            return
        for first in range(0, len(self.lengths), count):
            yield self.of(slice(first, first + count))

    def of(self, rows: slice | Tensor) -> tuple[slice | Tensor, Forward]:
        """Some of its rows, a slice or (where there is no window) [n] long in ascending order, and which of the R logits they have."""
        place = torch.full_like(self.lengths, -1)
        place[rows] = torch.arange(len(self.lengths[rows]))
        wanted: slice | Tensor = (place[self.row] >= 0).nonzero()[:, 0]
        if isinstance(rows, slice):
            wanted = slice(int(wanted[0]), int(wanted[-1]) + 1) if len(wanted) else slice(0, 0)
        part = (rows, slice(int(self.computed[rows].max())))
        return wanted, replace(
            self,
            ids=self.ids[part],
            lengths=self.lengths[rows],
            computed=self.computed[rows],
            row=place[self.row[wanted]],
            position=self.position[wanted],
            hidden=None if self.hidden is None else self.hidden[wanted],
            embeddings=None if self.embeddings is None else self.embeddings[part],
            mixed=None if self.mixed is None else self.mixed[part],
            window=self.window and self.window.of(rows, self.lengths[rows]),
        )


@dataclass(frozen=True)
class Said:
    """What a forward said about R tokens that it was asked about.

    token: [R] long, the token asked about, or the most probable one (the first of equals) where that was the mask. probability: [R]
    float64, its softmax probability.
    """

    token: Tensor
    probability: Tensor

    @classmethod
    def of(cls, logits: Tensor, token: Tensor) -> Said:
        """The tokens' probabilities. logits: [R, V] float64."""
        # In pieces: the exponentials of all rows at once would take as much memory again as the logits.
        total = torch.cat([piece.logsumexp(-1) for piece in logits.split(64)])
        return cls(token, (logits.gather(1, token[:, None])[:, 0] - total).exp())


@dataclass(frozen=True)
class LedgerRow:
    """What one forward did. Tuples run over its questions.

    query_tokens: positions computed (padding is the batch's affair and not counted); kv_tokens: positions attended to;
    no_op: the forward could change nothing for that question. seconds: inside the backbone; choosing: then spent on what it said, where
    the meter does that. remembered: nothing was computed, and the seconds are those of the forward whose answer was taken (memory.py).
    """

    kind: str
    questions: tuple[str, ...]
    query_tokens: tuple[int, ...]
    kv_tokens: tuple[int, ...]
    no_op: tuple[bool, ...]
    seconds: float
    choosing: float = 0.0
    remembered: bool = False


@dataclass
class Meter:
    """Runs forwards, keeps the ledger, and reads what the loop has to know from the device.

    `seconds` of a row run from the call to the return; what a GPU is still busy with then is waited for in `fetch`, which is nobody's
    forward: whoever fetches charges it. spent: seconds that have passed in forwards and in choosing.
    """

    backbone: Backbone
    ledger: list[LedgerRow] = field(default_factory=list)
    spent: float = 0.0
    _sums: dict[str, QuestionSums] = field(default_factory=dict)
    # Of forwards whose logits nobody has looked at yet: how long the ledger was then, and of R logits the row (host) and the sum (device).
    _doubted: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)

    @torch.inference_mode()
    def forward(self, request: Forward, questions: tuple[str, ...], no_op: tuple[bool, ...] | None = None) -> Tensor:
        """Run one forward for `questions` (one per row of the request) and enter it in the ledger.

        Returns:
            [R, vocabulary] float64 logits with minus infinity for what is never committed: the mask, and ids that no token has.
        Raises:
            UserError: the logits are not finite; where the device is asynchronous, the next `fetch` says so.
        """
        started = time.perf_counter()
        device, vocabulary = self.backbone.device, self.backbone.transformer.wte.weight.shape[0]
        logits = torch.empty(len(request.row), vocabulary, dtype=torch.float64, device=device)
        for wanted, group in request.groups(POSITIONS.get(device.type, POSITIONS["cuda"])):
            logits[wanted] = self._run(group).double()
        seconds = time.perf_counter() - started
        computed, lengths = tuple(request.computed.tolist()), tuple(request.lengths.tolist())
        self._enter(LedgerRow(request.kind, questions, computed, lengths, no_op or (False,) * len(questions), seconds))
        self._doubted.append((len(self.ledger), request.row, logits.sum(-1)))  # one NaN or infinity, and the sum is one
        if logits.is_cpu:
            self.fetch([])
        return self.backbone.rule_out(logits)

    def fetch(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors on the host, and with them, in the same copy, whether what forwards have said since the last time was finite.

        Raises:
            UserError: it was not. Nothing that follows from such a forward has been given out yet.
        """
        doubted, self._doubted = self._doubted, []
        values = download([*tensors, *(total for *_, total in doubted)])
        for (length, row, _), total in zip(doubted, values[len(tensors) :], strict=True):
            if not total.isfinite().all():
                question = self.ledger[length - 1].questions[int(row[~total.isfinite()][0])]
                n = sum(question in one.questions for one in self.ledger[:length])
                raise UserError(_not_finite(question, n, self.backbone.dtype))
        return values[: len(tensors)]

    @torch.inference_mode()
    def read(self, request: Forward, questions: tuple[str, ...], asked: Tensor) -> Said:
        """As `forward`, for who needs no logits. asked: [R] long, tokens, or the mask for the most probable one."""
        logits = self.forward(request, questions)
        started = time.perf_counter()
        said = Said.of(logits, torch.where(asked == self.backbone.mask_id, logits.argmax(-1), asked))
        self._chose(time.perf_counter() - started)
        return said

    def clock(self) -> float:
        """Seconds on a clock that stands still in forwards and in choosing."""
        return time.perf_counter() - self.spent

    def _run(self, r: Forward) -> Tensor:
        if r.hidden is not None and bool(r.hidden.any()):
            return leave_one_out(self.backbone, r.ids, r.lengths, r.row, r.position, r.hidden, r.embeddings)
        return self.backbone(r.ids, r.lengths, r.row, r.position, r.embeddings, r.window)

    def _enter(self, row: LedgerRow) -> None:
        self.ledger.append(row)
        if not row.remembered:
            self.spent += row.seconds
        for i, question in enumerate(row.questions):
            self._sums.setdefault(question, QuestionSums()).add(row, i)

    def _chose(self, seconds: float) -> None:
        """Enter what the last forward's logits took, or took more."""
        row = self.ledger[-1] = replace(self.ledger[-1], choosing=self.ledger[-1].choosing + seconds)
        self.spent += seconds
        for question in row.questions:
            self._sums[question].choosing_seconds += seconds / len(row.questions)

    def cost(self, question: str) -> QuestionSums:
        """The sums over the ledger that a record stores; they go on growing with it."""
        return self._sums.get(question, QuestionSums())


def _not_finite(question: str, n: int, dtype: torch.dtype) -> str:
    if dtype == torch.float16:
        remedy = "float16 ends at 65504 and larger numbers are infinite in it: choose backbone.dtype=bfloat16 or float32"
    else:
        remedy = "the checkpoint's weights or the numbers in its config.json (such as rope_theta) are damaged: get it again, or another"
    return f"{question}: the backbone's logits at its forward {n} are not finite; {remedy}. What was decoded before is kept."


@dataclass
class QuestionSums:
    """nfe: backbone forwards of the decode loop (every kind but aux); no_op: those among them that could change nothing;
    full_forward_equivalents: Σ query tokens / full row length; token_forwards: Σ query tokens; aux_forwards: the rest, which also counts
    in those two sums; forward_seconds: the question's shares of the time inside the backbone, aux left out (its time is part of the
    seconds of whatever asked for it, such as a proposal's); choosing_seconds: of the time spent on logits by the meter; remembered: how
    many of all these forwards were answered from memory."""

    nfe: int = 0
    no_op: int = 0
    aux_forwards: int = 0
    token_forwards: int = 0
    full_forward_equivalents: float = 0.0
    forward_seconds: float = 0.0
    choosing_seconds: float = 0.0
    remembered: int = 0

    def add(self, row: LedgerRow, i: int) -> None:
        if row.kind == "aux":
            self.aux_forwards += 1
        else:
            self.nfe += 1
            self.forward_seconds += row.seconds / len(row.questions)
            self.choosing_seconds += row.choosing / len(row.questions)
        self.remembered += int(row.remembered)
        self.no_op += int(row.no_op[i])
        self.token_forwards += row.query_tokens[i]
        self.full_forward_equivalents += row.query_tokens[i] / row.kv_tokens[i]
