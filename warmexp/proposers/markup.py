"""What a chat model writes around its answer: thoughts, headers and ends of turns. None of it is the proposed response.

A template's special tokens are dropped when a model's ids become text, but `<think>` is an ordinary token of Qwen 3's,
and a file of proposals may hold whatever its maker's decoder left in. Put on a canvas, a thought takes the place of the
answer, and `<|im_end|>` is eleven characters of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from warmexp.proposers.likely import rewritten
from warmexp.proposers.proposal import Proposal

# A thought and the white space behind it; one that is not closed was cut, and goes on to the end.
_THOUGHT = re.compile(
    r"(?:\A\s*)?(?:<think(?:ing)?>|\[THINK\]).*?(?:</think(?:ing)?>\s*|\[/THINK\]\s*|(?P<cut>\Z))", re.DOTALL
)
# Where the template itself opens the thought, only its end is written.
_CLOSED = re.compile(r"\A.*(?:</think>|</thinking>|\[/THINK\])\s*", re.DOTALL)
_HEADER = re.compile(
    r"(?:\s*(?:<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<start_of_turn>\s*model|<\|assistant\|>"
    r"|<\|begin_of_text\|>|<\|startoftext\|>|<s>|<bos>|\[/INST\])\s*)+"
)
# The end of a turn, of the text, or the beginning of somebody else's turn.
_END = re.compile(r"<\|[A-Za-z0-9_]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</s>|<eos>|<(?:start|end)_of_turn>|\[/?INST\]")


def cleaned(proposal: Proposal) -> Proposal:
    """The same without thoughts, without a header before it, and cut at its first end of a turn; spans move along.

    Where it was cut, `end` is the log-probability of what it was cut at, None where the author said nothing about that.
    """
    made = _without(proposal, [match.span() for match in _THOUGHT.finditer(proposal.text)])
    for pattern in (_CLOSED, _HEADER):
        match = pattern.match(made.text)
        made = _without(made, [match.span()] if match else [])
    end = _END.search(made.text)
    if end is None:
        return made
    at = [p for a, b, p in made.tokens if a >= end.start() and b <= end.end()]
    cut = _without(made, [(end.start(), len(made.text))])
    return replace(cut, end=sum(at) if at else None)


def tell_cleaned(say: Callable[[str], None], texts: Sequence[str]) -> None:
    """Say what was taken out of proposals, once. texts: what they were before."""
    if texts:
        say(f"thoughts or turn markers were taken out of {len(texts)} proposals")
    cut = sum(any(match["cut"] is not None for match in _THOUGHT.finditer(text)) for text in texts)
    if cut:
        say(
            f"warning: {cut} proposals end before the thought that they began, so what they answer is not there: raise"
            " proposer.max_new_tokens, or set 'proposer.chat_template_kwargs={enable_thinking: false}' where the"
            " model knows it"
        )


def _without(proposal: Proposal, spans: Sequence[tuple[int, int]]) -> Proposal:
    """A proposal without some stretches of its text (in order, apart)."""
    if not spans:
        return proposal
    text = proposal.text
    ends = [0, *(b for _, b in spans)]
    starts = [*(a for a, _ in spans), len(text)]

    def moved(at: int) -> int:
        return at - sum(min(at, b) - min(at, a) for a, b in spans)

    gone = [any(a <= s and e <= b for a, b in spans) for s, e, _ in proposal.tokens]
    tokens = tuple((moved(s), moved(e), p) for (s, e, p), out in zip(proposal.tokens, gone, strict=True) if not out)
    kept = "".join(text[b:a] for b, a in zip(ends, starts, strict=True))
    told = zip(proposal.likely, proposal.tokens, gone, strict=True) if proposal.likely else ()
    likely = tuple(rewritten(some, text[s:e], kept[moved(s) : moved(e)]) for some, (s, e, _), out in told if not out)
    return replace(proposal, text=kept, tokens=tokens, likely=likely)
