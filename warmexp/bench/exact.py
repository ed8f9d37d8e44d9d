"""Float64 agreement of the decode loop with the plain decoder, on small random backbones: with every cache, it has to
be 100 %."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from warmexp.bench.compare import divergence
from warmexp.bench.plain import CACHES, Rule
from warmexp.bench.speed import ours, plain
from warmexp.bench.subject import Subject, random_backbone, random_prompts
from warmexp.methods.length.fixed import FixedLength

RULES = (Rule(0.3), Rule(0.9), Rule(steps=3))


def exact(caches: Sequence[str], seeds: int, questions: int = 3, batch: int = 2) -> list[dict[str, Any]]:
    """A row per cache and alignment: how many canvases have the same tokens, committed in the same forwards."""
    rows = []
    for cache, logits in itertools.product([c for c in caches if c in CACHES], ("aligned", "shifted")):
        canvases, found = 0, []
        for seed, rule in itertools.product(range(seeds), RULES):
            backbone = random_backbone("tiny", torch.float64, torch.device("cpu"), seed, logits)
            subject = Subject("tiny", backbone, FixedLength(24, 8), rule, random_prompts(backbone, seed))
            asked = subject.questions(questions)
            pairs = zip(
                asked, plain(subject, asked, cache, trace=True), ours(subject, asked, cache, batch), strict=True
            )
            found += [
                d
                for q, p, a in pairs
                if (d := divergence(f"seed {seed}, question {q.id}", p, a.ids, a.commit_iteration, rule))
            ]
            canvases += len(asked)
        rows.append(
            {
                "cache": cache,
                "logits": logits,
                "canvases": canvases,
                "identical": canvases - len(found),
                "divergences": found,
            }
        )
    return rows
