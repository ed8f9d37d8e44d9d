"""The seams of the loop: one base class for each kind of strategy, with every attribute and hook and its default.

A strategy is a short dataclass whose fields are its YAML group's keys; it inherits from one of these classes and says
what differs. It is a pure function of what it is given and of keyed draws, and keeps no state between calls, so one
instance serves every question of a run; what it has to remember is in columns of the canvas. Nothing is found out by
looking: what a class does not say is what its base class says.

What strategies see are NumPy arrays on the host (decode/view.py, decode/reading.py), [n, W]: n questions, windows of W
positions. Logits stay where they were computed; who needs them reads them in `measure`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.canvas import DECODED, INJECTED, Canvas, Question, Size, Start
from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit, Replacement, Resize
from warmexp.decode.lanes import Chosen, Lanes
from warmexp.decode.mixture import Mixture
from warmexp.decode.reading import Reading, Word
from warmexp.decode.view import Span, View
from warmexp.errors import UserError
from warmexp.models.keys_values import position_bytes

if TYPE_CHECKING:
    from warmexp.decode.guided import Asking
    from warmexp.decode.meter import Meter
    from warmexp.decode.sight import Sight
    from warmexp.models.backbone import Backbone
    from warmexp.models.transformer import ModelConfig


@dataclass(frozen=True)
class Setup:
    """What a run is composed of, for the checks of its methods.

    parts: the object of every group; of evidence, the tuple of its objects. names: the option chosen in it. options:
    those that a group has.
    """

    parts: Mapping[str, Any]
    names: Mapping[str, str]
    options: Callable[[str], Sequence[str]]

    @property
    def width(self) -> int:
        """How many positions a window has."""
        return self.parts["schedule"].width(self.parts["length"])

    @property
    def attention_block(self) -> int:
        """How many positions of the backbone see each other and nothing behind them; 0: all see all."""
        backbone = self.parts.get("backbone")
        return 0 if backbone is None else backbone.config.attention_block

    def said(self, group: str) -> str:
        """How a user writes what was chosen."""
        name = self.names[group]
        return f"{group}=[{name.replace('+', ',')}]" if group in LISTS else f"{group}={name}"


class Texts(Protocol):
    """Text as a backbone's tokens, and the answer as a task finds it. It can be pickled.

    end: the token that ends a response. stop: strings that do.
    """

    @property
    def end(self) -> int: ...
    @property
    def stop(self) -> Sequence[str]: ...

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, none of them special."""

    def pieces(self) -> Mapping[int, str]:
        """The text of every token that has one."""

    def special(self) -> Sequence[int]:
        """Tokens that are no text."""

    def answer(self, ids: Sequence[int], kind: str) -> tuple[str, int, int] | None:
        """The answer in a response and where it stands, first position and past the last; None without one. kind: which
        of the task's filters, `strict` or `flexible`."""


class Strategy:
    """What all kinds have in common.

    curve: the field along which a front draws an unmasking policy's curve, or None. symbols: the fields that a label
    shows, each with the sign that is written for it. columns: what it remembers, by name; a property where that depends
    on its fields. reads_logits: whether its `measure` is asked.
    """

    curve: ClassVar[str | None] = None
    symbols: ClassVar[Mapping[str, str]] = MappingProxyType({})
    columns: Mapping[str, Column] = MappingProxyType({})
    reads_logits: bool = False

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        """What it has to know of the logits: by name, [R] tensors where `word.logits` are, which come to the host as
        `reading.measured`. Also the place to recall and return a column with a vocabulary: what is named like one is
        stored, [R, V], and not read back."""
        return {}

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        """The columns that change: [n, W] or [n, L] of one per position, [n] of one per row. The edit is about to be
        applied; a column that resets then begins anew where a token goes."""
        return {}

    def bind(self, texts: Texts, length: int) -> None:
        """Told once, while the configuration is checked, what text and an answer are to this backbone and task, and how
        many positions a canvas has; for those that have to know."""

    def replays(self, setup: Setup) -> bool:
        """Whether what it does on a canvas follows from the canvas and one forward of it alone, and not from the number
        of the forward, a draw or what it remembers: what a draft may foresee. Asked of what acts before a commit."""
        return not self.columns

    def shown(self) -> str:
        """What labels say of it besides its name, such as `ρ=0.5`."""
        return " ".join(f"{sign}={vars(self)[name]:.4g}" for name, sign in self.symbols.items())

    def identity(self) -> dict[str, Any]:
        """What of it changes results: its fields. One that reads a file has what is in it in the place of its path."""
        return asdict(self)  # type: ignore[call-overload]  # every strategy is a dataclass

    def check(self, setup: Setup) -> None:
        """Raise a UserError, in one sentence with a remedy, where this cannot be combined with what else was chosen."""

    def vacuous(self, setup: Setup) -> str | None:
        """A sentence, where this could never do anything beside what else was chosen."""
        return None


class Init(Strategy, ABC):
    """How a canvas starts.

    reads_proposal: whether a proposer has to run at all. reads_likely: whether it uses what else the author might have
    written. injects: whether it writes revocable tokens. verifies: whether `prepare` runs forwards that read what it
    injects. needs_tail: what has to follow a proposal (proposer.tail), or None. tells: whether it puts the proposal
    into the prompt. rules_out: tokens that no forward may write on its canvases. norm: `match` gives mixtures of
    embeddings the length of the mask's. fixes: whether it lays tokens that stay where they are.
    """

    reads_proposal: bool = False
    reads_likely: bool = False
    injects: bool = False
    verifies: bool = False
    needs_tail: str | None = None
    tells: bool = False
    rules_out: Sequence[int] = ()
    norm: str = "none"
    fixes: bool = False

    @abstractmethod
    def start(self, question: Question, length: int, seed: int) -> Start:
        """One question's canvas of `length` positions."""

    def prepare(
        self, meter: Meter, questions: Sequence[Question], starts: Sequence[Start], given: Sequence[int] | None = None
    ) -> list[Start]:
        """The starts after forwards of its own, which count like all others.

        Args:
            given: how many of each start's positions, from the first on, are not in question (0 by default).
        """
        return list(starts)

    def replays(self, setup: Setup) -> bool:
        return True

    def mixture(self, view: View) -> np.ndarray | None:
        """[n, L] float64, the share of the prior's embedding in the next forward's input; None if this init mixes no
        embeddings."""
        return None

    def priors(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that this share is of, [n, L, k] int64, and of each the part, [n, L, k] float64, which are 1
        together: the proposal's own token by default."""
        own = view.whole("prior")[..., None]
        return own, np.ones(own.shape)

    def told(self, turns: Sequence[str], proposal: str) -> tuple[str, ...]:
        """A conversation, the user's turn last, with the proposal's text told in it; asked of an init that `tells`."""
        return tuple(turns)

    def longer(self, tokenizer: Any, canvas_length: int) -> int:
        """How many tokens a prompt may grow by."""
        return 0

    def check(self, setup: Setup) -> None:
        proposer = setup.parts["proposer"]
        if self.reads_proposal and not proposer.proposes:
            others = ", ".join(name for name in setup.options("proposer") if name != setup.names["proposer"])
            raise UserError(
                f"{setup.said('init')} needs a proposal but {setup.said('proposer')}: choose proposer={others}."
            )
        if self.needs_tail and proposer.tail != self.needs_tail:
            raise UserError(
                f"{setup.said('init')} uses what follows a proposal: set proposer.tail={self.needs_tail} (it is"
                f" {proposer.tail})."
            )


class Feed(Strategy):
    """What masked positions are fed besides the mask, from what earlier forwards said of them. Where an init mixes a
    prior in, too, this stands in its place.

    feeds: whether it ever does anything.
    """

    feeds: bool = False

    def mixture(self, view: View) -> Mixture | None:
        """For the next forward; None: the mask alone, everywhere."""
        return None


class Unmask(Strategy, ABC):
    """Which masked positions a forward commits.

    temperature: of the proposed tokens; confidence is untempered. reads_prior: whether it has no use without a
    proposal. reads_accepted: whether it has none without evidence that says which tokens pass. idles: whether a row may
    go without a commit though something is masked; the loop still ends it, by committing in every forward of a window
    that has had four times as many as it has positions.
    """

    temperature: float = 0.0
    reads_prior: bool = False
    reads_accepted: bool = False
    idles: bool = False

    def drawn_from(self, logits: Tensor) -> Tensor:
        """[R, V] float64, the logits of [R, V] that tokens are drawn from above temperature 0, which it divides: -inf
        where a token may not be drawn."""
        return logits

    def replays(self, setup: Setup) -> bool:
        return super().replays(setup) and not self.idles and self.temperature == 0

    @abstractmethod
    def select(self, view: View, reading: Reading) -> np.ndarray:
        """[n, W] bool, which of `view.masked` to commit. Where a row selects none, the loop commits its most confident
        position."""

    def check(self, setup: Setup) -> None:
        if self.reads_prior and not setup.parts["init"].reads_proposal:
            raise UserError(
                f"{setup.said('unmask')} compares with a proposal and {setup.said('init')} reads none:"
                " choose init=token_inject rho=0 for a cold canvas, or unmask=threshold."
            )
        if self.reads_accepted and not any(one.accepts for one in setup.parts["evidence"]):
            raise UserError(
                f"{setup.said('unmask')} commits what a guide lets pass and {setup.said('evidence')} asks none: choose"
                " evidence=[flashdlm] guide=self, or unmask=threshold."
            )


class Evidence(Strategy, ABC):
    """What else speaks for a token than the backbone: evidence=[a,b], asked in that order.

    Every one sees what the one before has made of the backbone's word. reads_prior: whether it has no use without a
    proposal. consults: whether it asks a guide; then `consult` is called in the place of `weigh`. accepts: whether it
    says which tokens pass (Word.accepted), which unmask=accepted commits.
    """

    reads_prior: bool = False
    consults: bool = False
    accepts: bool = False
    reads_logits = True

    @abstractmethod
    def weigh(self, view: View, word: Word) -> Word:
        """Other tokens and confidences in the place of the backbone's, [R] each, on the device."""

    def consult(self, view: View, word: Word, guide: Asking) -> Word:
        """The same, of one that asks a guide: `guide(token)` takes [R] long, a token for every position that
        is read, and gives [R, V] float64, the natural logarithms of the probabilities of every token there when the
        masked positions before it hold these tokens and all others what the canvas holds (zeros where nothing is
        masked). Each call is a forward of the guide."""
        return self.weigh(view, word)

    def check(self, setup: Setup) -> None:
        if self.consults:
            self._check_guide(setup)
        if self.reads_prior and not setup.parts["init"].reads_proposal:
            raise UserError(
                f"{setup.said('evidence')} speaks for a proposal and {setup.said('init')} reads none:"
                " choose init=token_inject rho=0 for a cold canvas, or evidence=[]."
            )

    def _check_guide(self, setup: Setup) -> None:
        if not setup.parts["guide"].guides:
            raise UserError(f"{setup.said('evidence')} consults a guide and {setup.said('guide')}: choose guide=self.")
        if setup.parts["draft"].several:
            raise UserError(
                f"{setup.said('evidence')} consults a guide about one canvas, and {setup.said('draft')} reads several"
                " of a question at once: choose draft=none."
            )
        if self.accepts and not setup.parts["unmask"].reads_accepted:
            raise UserError(
                f"{setup.said('evidence')} says which tokens a guide lets pass, which {setup.said('unmask')} does not"
                " look at: choose unmask=accepted."
            )
        if self.accepts and sum(one.accepts for one in setup.parts["evidence"]) > 1:
            raise UserError(
                f"{setup.said('evidence')} has two that say which tokens a guide lets pass: choose one of them."
            )


class Guide(Strategy):
    """An autoregressive model that evidence may consult about the tokens that the backbone proposes (decode/guided.py).

    guides: whether there is one. Its forwards are in the ledger under a kind of their own and never in NFE.
    """

    guides: bool = False

    def model(self, backbone: Backbone) -> Backbone:
        """It, loaded, where the backbone is, with the backbone's vocabulary."""
        return backbone.read_causally()

    def needs(self, backbone: ModelConfig, dtype: torch.dtype, positions: int) -> int:
        """Bytes for the keys and values of so many positions, and for weights of its own. dtype: the backbone's."""
        return positions * position_bytes(backbone, dtype) if self.guides else 0

    @property
    def most_positions(self) -> int | None:
        """How many positions it can read; None: as many as the backbone."""
        return None

    def check(self, setup: Setup) -> None:
        if self.guides and not any(one.consults for one in setup.parts["evidence"]):
            raise UserError(
                f"{setup.said('guide')} is consulted by nothing chosen here: choose evidence=[flashdlm]"
                " unmask=accepted, or guide=none."
            )


class Consulting(Evidence):
    """Evidence that asks a guide."""

    consults = True

    def weigh(self, view: View, word: Word) -> Word:
        return word

    @abstractmethod
    def consult(self, view: View, word: Word, guide: Asking) -> Word: ...


class Remask(Strategy, ABC):
    """Which visible positions a forward revokes or replaces.

    revises: whether it ever does. shadows: whether revocable tokens are to be read from masked queries that do not see
    them (models/shadow.py). together: whether these see each other, and every position of the window has one. scope:
    what may be revised, `injected` tokens, `decoded` ones, `all`, or `none`.
    """

    revises: bool = True
    shadows: bool = False
    together: bool = False
    scope: str = "none"

    def candidates(self, source: np.ndarray) -> np.ndarray:
        """Which visible positions may be revised, given where their tokens came from. Same shape, bool."""
        return in_scope(source, self.scope)

    def may_fire(self, visits: np.ndarray) -> np.ndarray:
        """[n] bool, whether anything can be revised in the (visits+1)-th forward of a window."""
        return np.ones(visits.shape, dtype=bool)

    def again(self, view: View) -> np.ndarray:
        """[n] bool, whether a window in which nothing is masked any more is to be read once more. A window that was
        full when it was entered is read once in any case."""
        return np.zeros(len(view.rows), dtype=bool)

    @abstractmethod
    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        """[n, W] bool, which of `view.revocable` to put the mask back to. commit: [n, W] bool, what the same forward
        commits."""

    def replace(self, view: View, reading: Reading, commit: np.ndarray) -> Replacement | None:
        """Visible tokens of `view.revocable` that become others at once; None: none. What it needs of the logits it
        measures."""
        return None

    def further(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray | None:
        """[n, W] bool, masked positions that are committed besides `commit`, in exchange for what `select` revokes;
        None: none."""
        return None

    def hides(self, view: View) -> np.ndarray | None:
        """[n, W] bool, which of `view.revocable` the next forward reads as masks, so that what it says there has not
        seen the token; None: none. The canvas keeps it."""
        return None

    def check(self, setup: Setup) -> None:
        if self.shadows and setup.attention_block:
            raise UserError(
                f"{setup.said('remask')} reads tokens from masks beside the row, which is defined where every position"
                f" sees every position, and {setup.said('backbone')} has blocks: choose another remask."
            )
        if self.shadows and setup.parts["cache"].keeps:
            raise UserError(
                f"{setup.said('remask')} reads tokens from masks beside the row, for which {setup.said('cache')} keeps"
                " no place: choose cache=none."
            )

    def vacuous(self, setup: Setup) -> str | None:
        if self.scope != "injected" or setup.parts["init"].injects:
            return None
        return (
            f"{setup.said('remask')} with remask.scope=injected revokes injected tokens and {setup.said('init')}"
            " injects none: choose remask.scope=decoded, or remask=none."
        )


def in_scope(source: np.ndarray, scope: str) -> np.ndarray:
    """Where the token came from what `scope` names. Same shape, bool."""
    if scope == "injected":
        return source == INJECTED
    if scope == "decoded":
        return source == DECODED
    return (source == INJECTED) | (source == DECODED) if scope == "all" else np.zeros(source.shape, dtype=bool)


class Schedule(Strategy, ABC):
    """Which positions are eligible: a window of fixed width that moves over the canvas."""

    def check(self, setup: Setup) -> None:
        size, width = setup.attention_block, setup.width
        if size and size % width:
            at_most = [n for n in range(1, size + 1) if size % n == 0]
            raise UserError(
                f"{setup.said('backbone')} sees blocks of {size} positions, and {setup.said('schedule')} makes windows"
                f" of {width} that do not divide them: choose schedule=blocks with length.block_length={size}, or for"
                f" parts of a block one of {', '.join(map(str, at_most[:-1]))}."
            )

    @abstractmethod
    def width(self, length: Length) -> int:
        """W, in tokens, at most the canvas. Where the backbone sees blocks (Setup.attention_block), it divides
        these."""

    @abstractmethod
    def advance(self, start: np.ndarray, todo: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """[n] int64, where the windows begin now, and [n] bool, whether there is anything left to do.

        Args:
            start: [n] int64, where they began. todo: [n, L] bool, what is masked, or waits for a look by the remask
            policy. Where the backbone sees blocks both begin with a block, so there is nothing to do in front of the
            canvas and behind it.
        """


class Cache(Strategy):
    """Which positions a forward computes. keeps: whether keys and values are kept from one forward to the next at all.
    blocks: whether what it keeps are the blocks of a backbone that sees nothing behind them, and no other's."""

    keeps: bool = False
    blocks: bool = False

    def check(self, setup: Setup) -> None:
        if self.keeps and self.blocks != bool(setup.attention_block):
            kind = "sees blocks" if setup.attention_block else "has no blocks: every position sees every position"
            other = "exact" if setup.attention_block else "prefix, dual, freecache, dkv, window"
            raise UserError(
                f"{setup.said('backbone')} {kind}, for which {setup.said('cache')} is not made: choose"
                f" cache=none, {other}."
            )

    def plan(self, view: View) -> Span:
        """What the next forward computes in each row. Rows that need everything get it before the others go on."""
        return Span.of(0, view.row_length, len(view.rows))


class Attention(Strategy):
    """Whether a position attends to everything, or to tiles of positions that are found once (models/tiles.py).

    sparse: whether it ever does the latter. tile: positions of a tile. share: of the tiles that is kept.
    """

    sparse: bool = False
    tile: int = 1
    share: float = 1.0

    def plan(self, view: View) -> np.ndarray:
        """[n] int64, how each row attends in its next forward: tiles.DENSE, FIND or SPARSE."""
        return np.zeros(len(view.rows), dtype=np.int64)

    def replays(self, setup: Setup) -> bool:
        return not self.sparse

    def check(self, setup: Setup) -> None:
        if not self.sparse:
            return
        for group, why, instead in (
            ("cache", setup.parts["cache"].keeps, "cache=none"),
            ("draft", setup.parts["draft"].several, "draft=none"),
            ("remask", setup.parts["remask"].shadows, "another remask"),
        ):
            if why:
                raise UserError(
                    f"{setup.said('attention')} computes whole rows, one of each question, and {setup.said(group)} does"
                    f" not: choose {instead}, or attention=full."
                )
        if setup.attention_block:
            raise UserError(
                f"{setup.said('backbone')} sees blocks, for which {setup.said('attention')} is not made: choose"
                " attention=full."
            )


class Length(Strategy):
    """How long a canvas is and where decoding stops: has canvas_length and block_length, in tokens.

    stops: whether a question can be finished before its canvas is full. resizes: whether a canvas may begin with fewer
    positions than canvas_length, which is then the most it may have, and positions come and go. reads_prior: whether it
    has no use without a proposal.
    """

    canvas_length: int
    block_length: int
    stops: bool = False
    resizes: bool = False
    reads_prior: bool = False

    def begins(self, question: Question) -> int:
        """With how many positions a question's canvas begins; an init lays these."""
        return self.canvas_length

    def prepare(self, meter: Meter, questions: Sequence[Question], canvases: Sequence[np.ndarray]) -> list[Size]:
        """How many positions the canvases have before the first forward of the loop, after forwards of its own, which
        count like all others. canvases: [positions] int64 each, as an init has laid them."""
        return [Size(len(canvas), len(canvas)) for canvas in canvases]

    def asks(self, view: View) -> np.ndarray | None:
        """As Draft.asks, for `resize`."""
        return None

    def resize(self, view: View, reading: Reading, edit: Edit) -> Resize | None:
        """Positions that appear or go after the edit, counted as they stand now; None: none."""
        return None

    def check(self, setup: Setup) -> None:
        if self.resizes and setup.attention_block:
            raise UserError(
                f"{setup.said('length')} reads the end of the canvas while its beginning is decoded, and"
                f" {setup.said('backbone')} does not see so far: choose length=fixed, or another backbone."
            )
        if self.resizes:
            for group, why, instead in _MOVES_NOT:
                if why(setup.parts[group]):
                    raise UserError(
                        f"{setup.said('length')} moves positions, and {setup.said(group)} counts on where they are:"
                        f" choose {instead}, or length=fixed."
                    )
        if self.reads_prior and not setup.parts["init"].reads_proposal:
            raise UserError(
                f"{setup.said('length')} begins with the length of a proposal and {setup.said('init')} reads none:"
                " choose length.initial=64, or another init."
            )

    def finished(self, ends: np.ndarray, final: np.ndarray) -> np.ndarray:
        """[n] bool, which questions are.

        Args:
            ends: [n, L] bool, an end token stands there. final: [n, L] bool, nothing can change it any more.
        """
        return np.zeros(len(ends), dtype=bool)


# What cannot go on when positions move: a group, how to tell, and what to choose instead.
_MOVES_NOT: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("cache", lambda cache: cache.keeps, "cache=none"),
    ("remask", lambda remask: remask.revises, "remask=none"),
    ("anchor", lambda anchor: anchor.moves, "anchor=none"),
    ("draft", lambda draft: draft.several, "draft=none"),
    ("watch", lambda watch: watch.looks, "watch=none"),
    ("init", lambda init: init.fixes, "another init"),
    ("attention", lambda attention: attention.sparse, "attention=full"),
)


class Anchor(Strategy):
    """Where a proposal stands as decoding goes on.

    moves: whether it ever does anything. verify: how often an init that verifies may read a moved proposal.
    """

    moves: bool = False
    verify: int = 0

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]  # depends on the class
        """Where the window began that was entered last (-1: none was), and how often the moved proposal was
        verified."""
        return (
            {name: Column("row", "int64", fill) for name, fill in (("entered", -1), ("reread", 0))}
            if self.moves
            else {}
        )

    def moved(self, question: Question, decoded: Sequence[int], width: int) -> Question:
        """A question that enters a window, before which `decoded` stands, with the proposal that now stands for it; its
        first tokens are `decoded`. The init then makes of what follows them what it makes of any proposal."""
        return question

    def check(self, setup: Setup) -> None:
        if self.moves and not setup.parts["init"].reads_proposal:
            raise UserError(
                f"{setup.said('anchor')} moves a proposal and {setup.said('init')} reads none: choose anchor=none, or"
                " another init."
            )


class Draft(Strategy):
    """Several candidate canvases of a question in one forward, of which one becomes the canvas (decode/lanes.py).

    several: whether it ever has any. most: how many there are at most, the canvas as it is included. completes: whether
    it reads candidates in which nothing is masked. reads_canvas: whether it asks about more than the windows.
    reads_prior: whether it has no use without a proposal. combines: whether what one candidate's forward says depends
    on another's.
    """

    several: bool = False
    combines: bool = False
    completes: bool = False
    reads_canvas: bool = False
    reads_prior: bool = False

    @property
    def most(self) -> int:
        return 1

    def lanes(self, view: View) -> Lanes | None:
        """What is laid on candidates for the next forward, in which every question's canvas as it is takes part, too;
        None: nothing."""
        return None

    def asks(self, view: View) -> np.ndarray | None:
        """[n, L] int64, the tokens whose probability is read besides what is read in the windows (the mask's id: the
        most probable one), -1 where nothing is asked; None: nowhere. The answers are `reading.asked`."""
        return None

    def combine(self, view: View, logits: Tensor) -> Tensor:
        """[R, V] float64, the logits of all candidates (rows of `view`, positions `view.at`) in the place of those that
        the forward gave."""
        return logits

    def choose(self, view: View, reading: Reading, commit: np.ndarray) -> Chosen:
        """Which candidate each question goes on with. view, reading: of all candidates, a question's together, the
        canvas as it is first (`view.lane` is 0). commit: [n, W] bool, what the forward commits in each of them."""
        return Chosen(np.flatnonzero(view.lane == 0))

    def check(self, setup: Setup) -> None:
        if self.several and setup.parts["cache"].keeps:
            raise UserError(
                f"{setup.said('draft')} reads several canvases of a question at once, for which"
                f" {setup.said('cache')} keeps one place: choose cache=none."
            )
        if self.reads_canvas and setup.attention_block:
            raise UserError(
                f"{setup.said('draft')} reads what stands behind the block, which {setup.said('backbone')} does not see"
                " yet: choose draft=none, or another backbone."
            )
        if self.reads_prior and not setup.parts["init"].reads_proposal:
            raise UserError(
                f"{setup.said('draft')} reads a proposal and {setup.said('init')} reads none: choose"
                " init=token_inject rho=0 for a cold canvas, or draft=none."
            )


class Ensemble(Strategy):
    """One question decoded several times, above the loop: what the members are. Their answers are counted, and the cost
    is the sum (runs/members.py).

    several: whether there is more than one.
    """

    several: bool = False

    def members(self, strategies: Strategies, seed: int) -> Iterator[tuple[Strategies, int]]:
        """What each member is decoded with, and its seed. Members share their question's proposal."""
        yield strategies, seed


class Watch(Strategy):
    """Who looks at every forward of the whole canvas, at no forward's cost, and may record what it sees or finish a
    question.

    looks: whether it does. reads_visible: whether visible positions are read too, and not the masked ones alone. What
    it reads goes through the head, so a forward takes longer by that, and none is taken from memory.
    """

    looks: bool = False
    reads_visible: bool = False

    def wanted(self, view: View) -> np.ndarray:
        """[n, L] bool, what is read besides the window's positions."""
        masked = view.whole("masked")
        return np.ones_like(masked) if self.reads_visible else masked

    def finish(self, view: View, sight: Sight) -> np.ndarray:
        """[n] bool, whose masks are all filled with `sight.token` now, and which are then over."""
        return np.zeros(len(view.rows), dtype=bool)

    def note(self, view: View, sight: Sight) -> list[Any]:
        """Of each row something small that JSON has, which is kept until the question ends."""
        return [None] * len(view.rows)

    def conclude(self, notes: Sequence[Any]) -> str | None:
        """An answer from a question's notes, forward by forward; None: none."""
        return None

    def check(self, setup: Setup) -> None:
        if self.looks and setup.attention_block:
            raise UserError(
                f"{setup.said('watch')} reads the whole canvas in every forward, and {setup.said('backbone')} cannot"
                " read behind an unfinished block: choose watch=none."
            )
        if self.looks and setup.parts["cache"].keeps:
            raise UserError(
                f"{setup.said('watch')} reads the whole canvas in every forward, of which {setup.said('cache')}"
                " computes a part: choose cache=none."
            )


# The class that a group's classes derive from.
BASES: dict[str, type[Strategy]] = {
    "init": Init,
    "unmask": Unmask,
    "remask": Remask,
    "evidence": Evidence,
    "schedule": Schedule,
    "cache": Cache,
    "length": Length,
    "anchor": Anchor,
    "feed": Feed,
    "draft": Draft,
    "ensemble": Ensemble,
    "watch": Watch,
    "guide": Guide,
    "attention": Attention,
}
# Groups of which several options can be chosen at once.
LISTS = ("evidence",)


@dataclass(frozen=True)
class Strategies:
    """One of each, and any number of evidence: a decoding method."""

    init: Init
    unmask: Unmask
    remask: Remask
    schedule: Schedule
    cache: Cache
    length: Length
    anchor: Anchor
    evidence: tuple[Evidence, ...] = ()
    feed: Feed = field(default_factory=Feed)
    draft: Draft = field(default_factory=Draft)
    ensemble: Ensemble = field(default_factory=Ensemble)
    watch: Watch = field(default_factory=Watch)
    guide: Guide = field(default_factory=Guide)
    attention: Attention = field(default_factory=Attention)

    def __iter__(self) -> Iterator[Strategy]:
        yield from (
            self.init,
            self.unmask,
            self.remask,
            *self.evidence,
            self.schedule,
            self.cache,
            self.length,
            self.anchor,
            self.feed,
            self.draft,
            self.ensemble,
            self.watch,
            self.guide,
            self.attention,
        )

    @property
    def reads_logits(self) -> bool:
        """Whether a strategy needs more than the most probable tokens, the visible ones and their probabilities."""
        drawn = self.unmask.temperature > 0 or bool(self.init.rules_out) or self.draft.combines
        return drawn or any(one.reads_logits for one in self)

    @property
    def columns(self) -> dict[str, Column]:
        """What all of them remember.

        Raises:
            UserError: two of them use one name, or it is the canvas's, or what is declared is no column.
        """
        found: dict[str, Column] = {}
        for one in self:
            if not isinstance(one.columns, Mapping) or not all(
                isinstance(column, Column) for column in one.columns.values()
            ):
                raise UserError(f"{type(one).__name__}.columns has to be Columns by name; it is {one.columns!r}.")
            for name, column in one.columns.items():
                if name in (*Canvas.ARRAYS, "masked"):
                    raise UserError(
                        f"{type(one).__name__} remembers {name}, which the canvas has: give the column another name."
                    )
                if name in found:
                    raise UserError(
                        f"{type(one).__name__} and another method remember {name}: one of them needs another name."
                    )
                found[name] = column
        return found
