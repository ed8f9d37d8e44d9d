"""Leave-one-out scores in one forward: WINO's shadow block (arXiv 2507.18578)."""

from __future__ import annotations

import torch
from torch import Tensor

from warmexp.backbone.backbone import Backbone
from warmexp.backbone.wanted import Wanted


@torch.inference_mode()
def leave_one_out(backbone: Backbone, ids: Tensor, lengths: Tensor, row: Tensor, position: Tensor) -> Tensor:
    """Distributions of tokens that are hidden from the query that predicts them, though the rest of the row sees them.

    Behind the row stands, for each wanted token, a mask with that token's position, which sees everything but the token. Where logits are
    shifted there is also a copy of the token before it, which sees that mask instead of the token and is what is read. The row itself sees
    none of this, and no shadow sees another's; WINO's do, but then they are all in one block. What a deep layer says about the other
    tokens has seen the hidden one: it is left out of the query, not of the world. With one layer the two are the same.

    Args: as Backbone's, on the host but for ids. Costs R more positions than the row has, 2R where logits are shifted.
    Returns:
        [R, embedding_size] logits in the weights' dtype.
    """
    device, (rows, width) = ids.device, ids.shape
    wanted = Wanted.of(row.cpu(), position.cpu(), rows).to(device)
    slots, count = wanted.columns, wanted.columns.shape[1]
    copies = 1 + backbone.shift
    before = (slots - 1).clamp(min=0)
    shadows = [torch.full_like(slots, backbone.mask_id), ids.gather(1, before)][:copies]
    places = torch.cat([torch.arange(width, device=device).expand(rows, -1), *[slots, before][:copies]], 1)

    column = torch.arange(width, device=device)
    there = (column < lengths.to(device)[:, None])[:, None]
    others = there & (column != slots[..., None])
    alone = torch.eye(count, dtype=torch.bool, device=device)
    sees = torch.zeros(rows, places.shape[1], places.shape[1], dtype=torch.bool, device=device)
    sees[:, :width, :width] = there
    sees[:, width : width + count, :width] = others
    sees[:, width : width + count, width : width + count] = alone
    if backbone.shift:
        reads = slice(width + count, None)
        sees[:, reads, :width] = others & (column != before[..., None])
        sees[:, reads, width : width + count] = alone
        sees[:, reads, reads] = alone
    hidden = backbone.transformer(backbone.embed(torch.cat([ids, *shadows], 1)), sees[:, None], places)
    return backbone.transformer.head(hidden[:, -count:].flatten(0, 1)[wanted.flat])
