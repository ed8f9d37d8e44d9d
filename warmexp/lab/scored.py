"""A batch for a backbone and its loss: what is seen, which hidden states predict which tokens, and how much each
counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.lab.states import States
from warmexp.models.transformer import Transformer


@dataclass(frozen=True)
class Scored:
    """ids: what the model sees, [B, T]. where: flat indices into [B x T] of the hidden states that predict, [N]; the
    one at i-1 predicts token i. target: the tokens to predict, [N]. weight: of each in the loss, [N].

    soft_ids, soft_weight: [B, T], positions see (1 - weight) e_ids + weight e_soft; None for nowhere. padding: [B] how
    many positions at the left of a row are nothing; None where there are none.
    """

    ids: np.ndarray
    where: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    soft_ids: np.ndarray | None = None
    soft_weight: np.ndarray | None = None
    padding: np.ndarray | None = None


def next_tokens(ids: np.ndarray, scored: np.ndarray, shown: np.ndarray | None = None) -> Scored:
    """Every token of `scored` ([B, T] bool) counts alike. shown: what is seen instead of `ids`."""
    where = np.flatnonzero(scored[:, 1:])
    row, column = np.divmod(where, ids.shape[1] - 1)
    flat = row * ids.shape[1] + column
    return Scored(ids if shown is None else shown, flat, ids[row, column + 1], np.ones(len(flat), dtype=np.float32))


def canvases(prompt: np.ndarray, clean: np.ndarray, s: States, padding: np.ndarray | None = None) -> Scored:
    """States [B, L] behind prompts [B, P]."""
    first = prompt.shape[1]
    row, column = np.nonzero(s.weight)
    soft = {}
    if s.soft_weight.any():
        nothing = np.zeros_like(prompt)
        soft = {
            "soft_ids": np.concatenate((nothing, s.soft_ids), 1),
            "soft_weight": np.concatenate((nothing.astype(np.float32), s.soft_weight), 1),
        }
    ids = np.concatenate((prompt, s.ids), 1)
    where = row * ids.shape[1] + first + column - 1
    return Scored(ids, where, clean[row, column], s.weight[row, column], **soft, padding=padding)


def weighted_loss(net: Transformer, b: Scored, mask: Tensor | None = None) -> Tensor:
    """Weighted mean of the cross-entropies. mask: of attention, boolean; padding is hidden beside it."""
    device = net.wte.weight.device
    x = net.embed(put(b.ids, device).long())
    if b.soft_ids is not None and b.soft_weight is not None:
        w = put(b.soft_weight, device)[..., None]
        x = x * (1 - w) + net.embed(put(b.soft_ids, device).long()) * w
    if b.padding is not None and b.padding.any():
        real = torch.arange(b.ids.shape[1], device=device) >= put(b.padding, device)[:, None]
        mask = real[:, None, None] if mask is None else mask & real[:, None, None]
    hidden = net(x, mask).flatten(0, 1)[put(b.where, device).long()]
    loss = F.cross_entropy(net.head(hidden).float(), put(b.target, device).long(), reduction="none")
    w = put(b.weight, device)
    return (loss * w).sum() / w.sum()


def put(array: np.ndarray, device: torch.device) -> Tensor:
    """On the device, without waiting for it."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
