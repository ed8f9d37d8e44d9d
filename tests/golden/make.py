"""Write records.json anew: python -m tests.golden.make. Only for a change of behaviour that is meant, and said in
CHANGELOG.md."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import torch

from tests.golden.compositions import COMPOSITIONS, FILE, load, records
from warmexp.api import planned
from warmexp.runs.run import _proposals, _question

N = 3


def asked() -> list[dict]:
    """Questions of the lab with both authors' proposals."""
    made: dict[str, dict] = {}
    for author in ("weak", "strong"):
        plan = planned(
            [
                "init=token_inject",
                "proposer.tail=eos",
                f"proposer=lab_{author}",
                f"task.limit={N}",
                "outputs=outputs/golden",
            ]
        )
        proposals = _proposals(plan, partial(print, file=sys.stderr))
        for task in plan.questions:
            question = _question(plan, task, proposals[task.id])
            stored = made.setdefault(question.id, {"id": question.id, "prompt": list(question.prompt)})
            fields = ("proposal", "trust", "written", "numeric")
            stored[author] = {name: getattr(question, name) for name in fields}
    return list(made.values())


def main(only: list[str]) -> None:
    backbone = planned(["backbone.dtype=float64", "task.limit=1"]).backbone.load(torch.device("cpu"))
    old = load() if FILE.exists() else {"questions": asked(), "records": {}}
    stored = {"questions": old["questions"], "records": {}}
    for name in COMPOSITIONS:
        known = name in old["records"] and name not in only
        stored["records"][name] = old["records"][name] if known else records(backbone, old, name)
        print(name, [r["nfe"] for r in stored["records"][name]])
    lines = [json.dumps(q, separators=(",", ":")) for q in stored["questions"]]
    text = '{"questions": [\n' + ",\n".join(lines) + '\n],\n"records": {\n'
    text += (
        ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in stored["records"].items())
        + "\n}}\n"
    )
    Path(FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
