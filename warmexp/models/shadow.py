"""Leave-one-out scores in one forward: WINO's shadow block (arXiv 2507.18578)."""

from __future__ import annotations

import torch
from torch import Tensor

from warmexp.models.backbone import Backbone
from warmexp.models.wanted import Wanted, upload


@torch.inference_mode()
def leave_one_out(
    backbone: Backbone,
    ids: Tensor,
    lengths: Tensor,
    row: Tensor,
    position: Tensor,
    hidden: Tensor,
    embeddings: Tensor | None = None,
    block: tuple[Tensor, int] | None = None,
) -> Tensor:
    """One forward that predicts ordinary tokens, and hidden ones from a query that does not see them though the rest of
    the row does.

    Behind the row stands, for each hidden token, a mask with that token's position, which sees everything but the
    token. Where logits are shifted there is also a copy of the token before it, which sees that mask instead of the
    token and is what is read. The row itself sees none of this, and no shadow sees another's. With a block,
    every position of it has such a mask, hidden or not, and these see each other, as WINO's do. What a deep layer says
    about the other tokens has seen the hidden one: it is left out of the query, not of the world. With one layer the
    two are the same.

    Args: as Backbone's, on the host but for ids and embeddings. hidden: [R] bool, at least one. block: [B] long, where
        it begins in each row, and how long it is; all hidden tokens are in it. Costs as many positions more than the
        row has as tokens are hidden (as the block has), twice as many where logits are shifted.
    Returns:
        [R, embedding_size] logits in the weights' dtype.
    """
    device, (rows, width) = ids.device, ids.shape
    if block is None:
        shadows = Wanted.of(row[hidden], position[hidden], rows, torch.device("cpu"))
        columns, place = shadows.columns, shadows.flat - row[hidden] * shadows.columns.shape[1]
    else:
        columns, place = block[0][:, None] + torch.arange(block[1]), position[hidden] - block[0][row[hidden]]
    count = columns.shape[1]
    slots = upload(columns.numpy(), device)
    before = (slots - 1).clamp(min=0)
    states = backbone.embed(ids) if embeddings is None else embeddings
    masks = backbone.embed(torch.full_like(slots, backbone.mask_id))
    neighbours = states.gather(1, before[..., None].expand(-1, -1, states.shape[-1]))
    copies = 1 + backbone.shift
    places = torch.cat([torch.arange(width, device=device).expand(rows, -1), *[slots, before][:copies]], 1)

    column = torch.arange(width, device=device)
    there = (column < upload(lengths.numpy(), device)[:, None])[:, None]
    others = there & (column != slots[..., None])
    alone = torch.eye(count, dtype=torch.bool, device=device)
    masked = alone if block is None else torch.ones_like(alone)
    sees = torch.zeros(rows, places.shape[1], places.shape[1], dtype=torch.bool, device=device)
    sees[:, :width, :width] = there
    sees[:, width : width + count, :width] = others
    sees[:, width : width + count, width : width + count] = masked
    if backbone.shift:
        reads = slice(width + count, None)
        sees[:, reads, :width] = others & (column != before[..., None])
        sees[:, reads, width : width + count] = masked & (slots[:, None] != before[..., None])
        sees[:, reads, reads] = alone
    read = position - backbone.shift
    read[hidden] = width + backbone.shift * count + place
    states = backbone.transformer(
        torch.cat([states, *[masks, neighbours][:copies]], 1), sees[:, None], places, reach=width
    )
    return backbone.transformer.head(states[upload(row.numpy(), device), upload(read.numpy(), device)])
