"""`make demo` on a handful of questions: every kind of run, a table, a picture."""

from __future__ import annotations

from warmexp.config import sweeps_dir
from warmexp.lab import demo


def test_a_study_file_is_a_list_of_grids(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text('common: [task.limit=3]\nruns:\n  - [init=mask, "tau=0.5,0.9"]\n  - [init=token_inject]\n')
    assert demo.jobs(file) == [
        ["task.limit=3", "init=mask", "tau=0.5"],
        ["task.limit=3", "init=mask", "tau=0.9"],
        ["task.limit=3", "init=token_inject"],
    ]


def test_the_demo_shows_what_it_promises():
    """Cold start, injection and interpolation, each with and without remasking, from both proposers."""
    lines = [" ".join(line) for line in demo.jobs(sweeps_dir() / "demo.yaml")]
    for proposer in ("lab_weak", "lab_strong"):
        for init in ("token_inject", "embed_interp"):
            mine = [line for line in lines if f"init={init}" in line and f"proposer={proposer}" in line]
            assert any("remask=linear" in line for line in mine) and any("remask=linear" not in line for line in mine)
    cold = [line for line in lines if "init=mask" in line]
    assert any("remask=linear" in line for line in cold) and sum("tau=" in line for line in cold) >= 3


def test_the_demo_ends_in_a_table_and_a_picture(tmp_path, capsys):
    study = tmp_path / "small.yaml"
    study.write_text('runs:\n  - [init=mask, "tau=0.7,0.9"]\n  - [init=token_inject, proposer=oracle]\n')
    demo.main(["--study", str(study), "--limit", "4", "--outputs", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "3 runs" in said and str(tmp_path / "out" / "demo.png") in said
    assert (tmp_path / "out" / "demo.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "out" / "demo.md").read_text().count("\n| ") >= 4
