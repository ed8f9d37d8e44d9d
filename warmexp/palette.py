"""The colours of every picture: Okabe and Ito's (2008), distinguishable with the common colour-vision deficiencies."""

from __future__ import annotations

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, GREY, PALE, WARNING = "#222222", "#8C8C8C", "#DEDEDE", "#A40000"
# They are made for white; on dark ground each has a lighter sister.
ON_DARK = dict(
    zip((*PALETTE, GREY), ("#4AA8E0", "#F0803C", "#2FBF8F", "#D98FC0", "#F0B73F", "#8CCDF4", "#A0A0A0"), strict=True)
)


def by_proposer(names: set[str]) -> dict[str, str]:
    """A colour for each proposer, the same in every picture that shows the same ones; ink for `none`."""
    return {"none": INK} | {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(sorted(names - {"none"}))}
