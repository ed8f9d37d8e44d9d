"""`make demo` on a handful of questions: every kind of run, a table, a picture."""

from __future__ import annotations

import re

from warmexp.api import composed
from warmexp.studies import demo


def test_the_demo_shows_what_it_promises(capfd, quiet_home):
    """Cold start, injection and interpolation, each with and without remasking, from both proposers; the oracle;
    trusted priors."""
    cfg, _ = composed(["+sweep=demo"])
    assert cfg.task.limit == 256 and cfg.study.baseline == "init=mask remask=none"
    demo.main(["--limit", "2", "--outputs", "out"])
    said = capfd.readouterr().out
    lines = [line for line in said.splitlines() if re.match(r"\[\d+/", line)]
    assert len(lines) == 18 and all(line.endswith(" % right") for line in lines)  # several processes: in any order
    assert any(line.startswith("[1/18] init=mask tau=0.5: ") for line in lines)
    for proposer in ("lab_weak", "lab_strong"):
        for init in ("token_inject", "embed_interp"):
            mine = [line for line in lines if f"init={init}" in line and f"proposer={proposer}" in line]
            assert any("remask=linear" in line for line in mine) and any("remask=linear" not in line for line in mine)
    cold = [line for line in lines if "init=mask" in line]
    assert any("remask=linear" in line for line in cold) and sum("tau=" in line for line in cold) >= 3
    assert sum("experiment=trusted" in line for line in lines) == 2
    assert sum("proposer=oracle" in line for line in lines) == 1
    assert "18 runs in" in said and "out/demo.png" in said
    assert (quiet_home / "out" / "demo.png").read_bytes()[:4] == b"\x89PNG"
    assert (quiet_home / "out" / "demo.md").read_text().count("\n| ") >= 19
