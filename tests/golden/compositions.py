"""The compositions whose records may not change: a name, a proposer's proposals, and the words of a command line.

A rebuilt engine has to give the tokens, NFE, commit iterations, sources and revocations that are stored in
records.json. They were made in float64, in which two orders of the same sums have not been seen to decide differently.
"""

from __future__ import annotations

import json
from pathlib import Path

from warmexp.api import composed
from warmexp.config.instantiate import parts
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.decode.strategy import BASES, Strategies

FILE = Path(__file__).parent / "records.json"
SHOWN = ("ids", "commit_iteration", "source")

COMPOSITIONS: dict[str, tuple[str, str]] = {
    "cold": ("none", ""),
    "cold, tau 0.5": ("none", "tau=0.5"),
    "cold, one token per forward": ("none", "tau=1.1 length.canvas_length=32"),
    "cold, one block": ("none", "length.block_length=48"),
    "cold, blocks of 8": ("none", "length.block_length=8"),
    "cold, topk": ("none", "unmask=topk unmask.steps_per_block=4"),
    "cold, eos_stop": ("none", "length=eos_stop"),
    "cold, eos_stop, topk": ("none", "length=eos_stop unmask=topk"),
    "cold, linear on decoded": ("none", "remask=linear remask.scope=decoded remask.bias=0"),
    "cold, linear on decoded, published bias": ("none", "remask=linear remask.scope=decoded length.canvas_length=32"),
    "cold, exponential on decoded": ("none", "remask=exponential remask.scope=decoded remask.bias=0"),
    "cold, budget on decoded": ("none", "remask=budget remask.scope=decoded tau=0.5"),
    "cold, budget, shadow": ("none", "remask=budget remask.scope=decoded remask.score=shadow tau=0.5"),
    "cold, budget, eos_stop": ("none", "remask=budget remask.scope=decoded tau=0.5 length=eos_stop"),
    "cold, prefix": ("none", "cache=prefix"),
    "cold, dual": ("none", "cache=dual"),
    "cold, dual, windows": ("none", "cache=dual cache.first_token=window"),
    "cold, dual, refresh 2": ("none", "cache=dual cache.refresh=2"),
    "cold, freecache": ("none", "cache=freecache"),
    "cold, freecache as released": ("none", "cache=freecache cache.settle=false"),
    "cold, prefix, budget, refresh on revocation": (
        "none",
        "cache=prefix cache.refresh=revocation remask=budget remask.scope=all",
    ),
    "inject": ("weak", "init=token_inject"),
    "inject all": ("weak", "init=token_inject rho=1"),
    "inject, no digits": ("weak", "init=token_inject init.digits=mask rho=1"),
    "inject, linear": ("weak", "init=token_inject remask=linear"),
    "inject, linear on all": ("weak", "init=token_inject remask=linear remask.scope=all remask.bias=0"),
    "inject, exponential": ("weak", "init=token_inject remask=exponential"),
    "inject, budget": ("weak", "init=token_inject rho=1 remask=budget"),
    "inject, budget, dual": ("weak", "init=token_inject rho=1 remask=budget cache=dual cache.refresh=revocation"),
    "inject, linear, prefix": ("weak", "init=token_inject remask=linear cache=prefix"),
    "inject, linear, freecache": ("weak", "init=token_inject remask=linear cache=freecache"),
    "inject, linear, topk": ("weak", "init=token_inject remask=linear unmask=topk"),
    "inject, edit": ("weak", "init=token_inject anchor=edit"),
    "inject by trust": ("strong", "init=trust_inject init.back=2"),
    "inject by trust, floor, budget on all": (
        "weak",
        "init=trust_inject init.floor=0.9 remask=budget remask.scope=all",
    ),
    "mixed": ("weak", "init=embed_interp"),
    "mixed while masked": ("weak", "init=embed_interp init.duration=masked lambda=0.6"),
    "mixed, fading": ("strong", "init=embed_interp init.duration=fade init.fade_forwards=4 p=0"),
    "mixed, by trust and entropy": (
        "strong",
        "init=embed_interp init.duration=masked init.by_trust=true init.by_entropy=true init.norm=match p=0",
    ),
    "mixed, fading, dual": ("strong", "init=embed_interp init.duration=fade cache=dual"),
    "mixed, linear on decoded": ("weak", "init=embed_interp remask=linear remask.scope=decoded remask.bias=0"),
    "mixed while masked, edit": ("weak", "init=embed_interp init.duration=masked anchor=edit anchor.abort=false"),
    "mixed, agreement": ("strong", "init=embed_interp unmask=agreement"),
    "length hint": ("weak", "init=length_hint proposer.tail=eos"),
    "length hint, eos_stop": ("strong", "init=length_hint proposer.tail=eos length=eos_stop"),
    "trusted": ("strong", "experiment=trusted"),
    "trusted, weak author": ("weak", "experiment=trusted"),
    "trusted, eos_stop": ("strong", "experiment=trusted length=eos_stop"),
    "trusted, dual": ("weak", "experiment=trusted cache=dual"),
    "trusted, edit": ("weak", "experiment=trusted anchor=edit"),
    "trusted, edit, eos_stop, prefix": ("weak", "experiment=trusted anchor=edit length=eos_stop cache=prefix"),
    "verified, each, halves": ("weak", "init=verified init.keep_rule=each init.score=halves"),
    "verified, shadow": ("weak", "init=verified init.score=shadow"),
    "verified, whole, agreement": ("weak", "init=verified init.whole=0.05 unmask=agreement"),
    "verified, budget on all": ("strong", "init=verified init.theta=0.5 remask=budget remask.scope=all"),
    "agreement": ("strong", "init=token_inject rho=0 unmask=agreement"),
    "bonus": ("strong", "init=token_inject rho=0 evidence=[bonus]"),
    "bonus by trust, most": (
        "weak",
        "init=token_inject rho=0.3 evidence=[bonus] evidence.bonus.strength=trust evidence.bonus.wins=most",
    ),
    "bonus, linear": ("strong", "init=token_inject evidence=[bonus] remask=linear"),
    "product": ("strong", "init=token_inject rho=0 evidence=[product]"),
    "product, most, dual": (
        "strong",
        "init=token_inject rho=0 evidence=[product] evidence.product.wins=most cache=dual",
    ),
}


def strategies(words: str) -> Strategies:
    """What the words of a command line compose."""
    cfg, _ = composed(words.split())
    return Strategies(**parts(cfg, BASES))


def questions(stored: dict, author: str) -> list[Question]:
    """The stored questions, with the proposals of one author."""
    made = []
    for q in stored["questions"]:
        told = {name: tuple(value) if isinstance(value, list) else value for name, value in q.get(author, {}).items()}
        made.append(Question(q["id"], tuple(q["prompt"]), **told))
    return made


def records(backbone, stored: dict, name: str, batch: int | None = None) -> list[dict]:
    """What the engine makes of a composition, question by question."""
    author, words = COMPOSITIONS[name]
    asked = questions(stored, author)
    made = strategies(words)
    size = batch or len(asked)
    done = [one for i in range(0, len(asked), size) for one in decode(backbone, asked[i : i + size], made)]
    return [
        {
            "id": one.id,
            "nfe": one.cost.nfe,
            "token_forwards": one.cost.token_forwards,
            **{key: list(getattr(one, key)) for key in SHOWN},
            "revocations": [list(event) for event in one.revocations],
        }
        for one in done
    ]


def load() -> dict:
    return json.loads(FILE.read_text(encoding="utf-8"))
