"""What a layout is: how one family's config.json is read, and which of its tensors is which of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from warmexp.errors import UserError
from warmexp.models.fields import Fields
from warmexp.models.transformer import ModelConfig


@dataclass(frozen=True, eq=False)
class Layout:
    """How one family publishes its checkpoints.

    logits: the family's alignment (backbone.py). model_type, architecture: how config.json says that it is this one.
    required: config.json fields without which nothing can be built. fixed: fields that may only have this value, or be
    absent (null). refused: fields that may not be there at all (null, false, 0).
    sizes: config.json -> ModelConfig's fields. tensors: names outside the blocks, ours -> theirs; block: the prefix of
    block {n}; parts: names inside a block, ours -> theirs, without `.weight` or `.bias` unless ours has it. Several of
    ours with one name of theirs are its rows, one after the other; {e} in theirs are experts, which ours has in one.
    grouped: those rows are in groups instead, for each key head the queries that look at it, its key and its value.
    head_lacks: how many of the embedding table's rows, the last, the head has not: nothing says them. mask_name: where
    the published tokenizer has no mask, the name under which it is added to it.
    """

    name: str
    logits: str
    model_type: str
    architecture: str
    required: tuple[str, ...]
    fixed: dict[str, Any]
    sizes: Callable[[Fields], dict[str, Any]]
    tensors: dict[str, str]
    block: str
    parts: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    grouped: bool = False
    head_lacks: int = 0
    mask_name: str | None = None

    def published(self, name: str) -> str:
        """The published name of one of the Transformer's tensors, e.g. `blocks.3.q_proj.weight`."""
        stem, _, kind = name.rpartition(".")
        if stem.startswith("blocks."):
            _, n, part = stem.split(".", 2)
            if f"{part}.{kind}" in self.parts:
                return f"{self.block.format(n=n)}{self.parts[f'{part}.{kind}']}"
            return f"{self.block.format(n=n)}{self.parts[part]}.{kind}"
        return f"{self.tensors[stem]}.{kind}"

    def config(self, raw: dict[str, Any], where: str) -> ModelConfig:
        """ModelConfig from a parsed config.json; `where` names the checkpoint in messages.

        Raises:
            UserError: a field is missing, or has a value that this transformer does not implement.
        """
        fields = Fields(raw, where)
        for name, value in self.fixed.items():
            if name in fields and raw[name] != value:
                raise fields.refuse(name, f"only {value!r} is implemented")
        for name in (*_PLAIN, *self.refused):
            if raw.get(name):  # null and false are absence
                raise fields.refuse(name, "which is not implemented")
        missing = [name for name in self.required if name not in fields]
        if missing:
            raise UserError(
                f"{where}: config.json lacks {', '.join(missing)}: give a checkpoint in {self.name}'s published layout."
            )
        config = ModelConfig(**self.sizes(fields))
        divides = config.head_size or config.d_model % config.n_heads == 0
        if not divides or config.n_heads % config.n_kv_heads or config.head_dim % 2 or config.rotary_dim % 2:
            raise UserError(
                f"{where}: config.json has {config.n_heads} heads and {config.n_kv_heads} key-value heads for a width"
                f" of {config.d_model}, which do not divide: check the checkpoint."
            )
        if fields.whole("head_dim", config.head_dim) != config.head_dim:
            raise fields.refuse("head_dim", f"only its width divided by its heads, {config.head_dim}, is implemented")
        if config.experts is not None:
            self._check_experts(config, fields)
        if config.vocab_size > config.embedding_size:
            raise fields.refuse(
                "vocab_size", f"which is more than the {config.embedding_size} rows of its embedding table: check it"
            )
        ends = (config.eos_token_id, *config.end_token_ids)
        if config.mask_token_id in ends:
            raise fields.refuse("mask_token_id", "which is also the end of text: check the checkpoint")
        if max(ends) >= config.vocab_size:
            raise fields.refuse(
                "eos_token_id", f"which is beyond its vocab_size={config.vocab_size}: check the checkpoint"
            )
        return config

    def _check_experts(self, config: ModelConfig, fields: Fields) -> None:
        e = config.experts
        assert e is not None
        of = e.count // e.groups
        if (
            e.count % e.groups
            or e.chosen_groups > e.groups
            or e.chosen > of * e.chosen_groups
            or (e.groups > 1 and of < 2)
        ):
            raise fields.refuse(
                "num_experts_per_tok",
                f"which cannot be chosen of {e.count} experts in {e.groups} groups of which {e.chosen_groups} are"
                " taken: check the checkpoint",
            )


@dataclass(frozen=True)
class Place:
    """Where a part of a published tensor belongs. name: our tensor. rows: these of the published one. index: as which
    of our stacked ones; None: ours is not stacked. lacking: so many of our rows, the last, are not published: zeros."""

    name: str
    rows: slice | Tensor
    index: int | None = None
    lacking: int = 0


@dataclass
class Target:
    """A published tensor: its shape and what it holds of ours."""

    shape: tuple[int, ...]
    places: list[Place]


def targets(layout: Layout, shapes: Mapping[str, Sequence[int]], groups: int = 1) -> dict[str, Target]:
    """What is published for a transformer, by published name. shapes: of our tensors. groups: its key heads."""
    made: dict[str, Target] = {}
    for name, shape in shapes.items():
        published = layout.published(name)
        if "{e}" in published:
            for e in range(shape[0]):
                made[published.format(e=e)] = Target(tuple(shape[1:]), [Place(name, slice(0, shape[1]), e)])
            continue
        target = made.setdefault(published, Target((0, *shape[1:]), []))
        first, lacking = target.shape[0], layout.head_lacks if name == "ff_out.weight" else 0
        until = first + shape[0] - lacking
        target.places.append(Place(name, slice(first, until), lacking=lacking))
        target.shape = (until, *shape[1:])
    if layout.grouped:
        for target in made.values():
            if len(target.places) > 1:
                target.places = _grouped(target.places, groups)
    return made


def _grouped(places: Sequence[Place], groups: int) -> list[Place]:
    """The same parts of one tensor, of which each of so many groups of rows has its share, in the same order."""
    sizes = [(place.rows.stop - place.rows.start) // groups for place in places if isinstance(place.rows, slice)]
    rows = torch.arange(groups * sum(sizes)).view(groups, -1).split(sizes, dim=1)
    return [Place(place.name, part.flatten()) for place, part in zip(places, rows, strict=True)]


# Fields of any family that would make it another network, or its stored numbers other numbers.
_PLAIN = ("clip_qkv", "use_mrope", "quantization_config")


def common_fields(
    c: Fields, rows: int, mask: int | None = None, eos: int | None = None, rotary_share: float = 1
) -> dict[str, Any]:
    """What all families call the same. eos_token_id may be a list: the first fills up a response, each of them ends it.

    mask, eos: where the family's config.json says nothing of them. rotary_share: the share of a head that turns.
    """
    first, *others = c.tokens("eos_token_id", rows, eos)
    return {
        "mask_token_id": c.token("mask_token_id", rows, mask),
        "eos_token_id": first,
        "end_token_ids": tuple(others),
        "rope_theta": c.rope_theta(rotary_share),
        "rms_norm_eps": c.real("rms_norm_eps", 0, 1),
    }


# Names of transformers' Qwen2, which most families have taken over.
QWEN = {"wte": "model.embed_tokens", "ln_f": "model.norm", "ff_out": "lm_head"}
QWEN_ATTENTION = {
    "attn_norm": "input_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_norm": "post_attention_layernorm",
}
QWEN_FEED_FORWARD = {"ff_proj": "mlp.gate_proj", "up_proj": "mlp.up_proj", "ff_out": "mlp.down_proj"}
QWEN_REQUIRED = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings", "rms_norm_eps",
)  # fmt: skip


def qwen_sizes(c: Fields, inner: str = "intermediate_size", rotary_share: float = 1, **ids: int) -> dict[str, Any]:
    """ModelConfig's fields from those that transformers' Qwen2 and Qwen3 have. inner: the field of the feed-forward's
    inner width. rotary_share, ids: as for `common_fields`."""
    rows, kinds = c.whole("vocab_size"), c.raw.get("layer_types")
    if kinds is not None and (not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds)):
        raise c.refuse("layer_types", "only full_attention is implemented")
    return {
        "d_model": c.whole("hidden_size"),
        "n_layers": c.whole("num_hidden_layers"),
        "n_heads": c.whole("num_attention_heads"),
        "n_kv_heads": c.whole("num_key_value_heads", c.whole("num_attention_heads")),
        "mlp_hidden_size": c.whole(inner),
        "vocab_size": rows,
        "embedding_size": rows,
        "max_sequence_length": c.whole("max_position_embeddings"),
        "weight_tying": c.flag("tie_word_embeddings", False),
        **common_fields(c, rows, rotary_share=rotary_share, **ids),
    }
