"""The table of a front: the front is marked and comes first, a narrow terminal drops columns and breaks no number, and
every run has a name of its own."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tests.analysis.conftest import write_run
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.report.table import markdown, print_table


@pytest.fixture
def front(tmp_path):
    for i, (tau, nfe, correct) in enumerate(((0.9, 10, 80), (0.5, 4, 60), (0.7, 7, 70))):
        write_run(tmp_path / f"lab-mask-{i}0aaaaaaaa", tau=tau, nfe=nfe, correct=correct)
    author = {"init": "verified", "proposer": "oracle", "oracle": True, "tau": 0.7}
    for i, (corruption, kind) in enumerate((c, k) for c in (0, 0.1, 0.25, 0.5) for k in ("replace", "swap")):
        keys = {"corruption": corruption, "kind": kind, "path": f"p{corruption}", "words": f"w{kind}"}
        write_run(tmp_path / f"lab-verified-oracle-{i}0bbbbbbbb", proposer_keys=keys, nfe=4 + i, **author)
    write_run(tmp_path / "lab-token_inject-c0cccccccc", init="token_inject", init_keys={"rho": 0.5}, nfe=5, correct=78)
    return analyse(collect(tmp_path)[0])


def printed(front, width: int) -> list[str]:
    out = io.StringIO()
    print_table(front, Console(file=out, width=width))
    return out.getvalue().splitlines()


def test_the_front_is_marked_and_comes_first_without_a_terminal(front):
    lines = [line for line in printed(front, 200) if re.match(r" ?[* ] (mask|token_inject|verified)", line)]
    rows = lines[: len(front.runs)]
    on_front = sum(run.on_front for run in front.runs)
    assert on_front >= 2 and all("*" in row[:3] for row in rows[:on_front])
    assert not any("*" in row[:3] for row in rows[on_front:])
    costs = [float(re.search(r"(\d+\.\d\d) \[", row)[1]) for row in rows]
    assert costs[:on_front] == sorted(costs[:on_front])
    assert all("oracle" in row for row in rows[-8:]) and costs[-8:] == sorted(costs[-8:])


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 160])
def test_a_narrow_terminal_drops_columns_and_never_digits(front, width):
    lines = printed(front, width)
    assert all(len(line) <= width for line in lines[:40])
    text = "\n".join(lines)
    assert "…" not in text and "Not shown, the terminal is narrow: " in " ".join(lines)
    for run in front.runs:
        low, high = (f"{limit:.2f}" for limit in run.point.nfe_ci95)
        assert f"{run.point.nfe:.2f}" in text and f"[{low},\u00a0{high}]" in text
        assert f"{100 * run.point.accuracy:.1f}" in text


def test_every_run_has_a_name_of_its_own(front):
    labels = [run.point.label for run in front.runs]
    assert len(set(labels)) == len(labels)
    names = [tuple(line.split(" | ")[:3]) for line in markdown(front).splitlines() if "verified" in line]
    assert len(names) >= 8 and len(set(names)) == 8
    assert all("corruption=" in name[0] and "kind=" in name[0] and "path" not in name[0] for name in names)


def test_runs_that_differ_in_nothing_that_is_known_have_their_hashes(tmp_path):
    for letter in "ab":
        write_run(tmp_path / f"lab-mask-{letter * 10}", model=letter, run_id=f"lab-mask-{letter * 10}")
    labels = {point.label for point in collect(tmp_path)[0]}
    assert labels == {"mask τ=0.9 (aaaaaaaa)", "mask τ=0.9 (bbbbbbbb)"}
