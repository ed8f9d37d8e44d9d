"""Points, the non-dominated set, intervals, the table and the picture, from small run folders."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect, load_point
from warmexp.report.figure import front_picture
from warmexp.report.table import markdown, print_table
from warmexp.runs.figure import nfe_histogram
from warmexp.runs.statistics import bootstrap_mean, wilson


def test_wilson_against_published_values():
    """Newcombe (1998), table I: 81/263, 15/148, 0/20, 1/29."""
    for correct, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(correct, n) == pytest.approx((low, high), abs=6e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="correct=3"):
        wilson(3, 2)


def test_bootstrap_is_deterministic_and_covers():
    rng = np.random.default_rng(1)
    values = rng.exponential(5, size=200)
    assert bootstrap_mean(values) == bootstrap_mean(values) != bootstrap_mean(values, seed=1)
    covered = sum(low <= 5 <= high for low, high in (bootstrap_mean(rng.exponential(5, size=80)) for _ in range(60)))
    assert 50 <= covered <= 60
    assert bootstrap_mean([4]) == (4.0, 4.0) and bootstrap_mean([2, 2, 2]) == (2.0, 2.0)


def test_a_dominated_run_is_not_on_the_front(run):
    folders = [
        run("slow", nfe=10, correct=80), run("fast", nfe=5, correct=60, tau=0.5), run("dominated", nfe=7, correct=55, tau=0.6),
        run("equal", nfe=5, correct=60, tau=0.8), run("worse-same-nfe", nfe=10, correct=70, tau=0.7),
        run("oracle", nfe=1, correct=99, oracle=True, init="token_inject", proposer="oracle"),
    ]  # fmt: skip
    front = analyse([load_point(f, "strict") for f in folders])
    assert {r.point.folder.name for r in front.runs if r.on_front} == {"slow", "fast", "equal"}


def test_folders_that_are_no_finished_runs_are_named(run, tmp_path):
    run("good")
    run("going", status="running")
    broken = run("broken")
    (broken / "summary.json").write_text("{")
    (run("headless") / "summary.json").unlink()
    points, left_out = collect(tmp_path)
    assert [p.folder.name for p in points] == ["good"]
    assert len(left_out) == 3 and {s.split(":")[0].rpartition("/")[2] for s in left_out} == {
        "going",
        "broken",
        "headless",
    }
    assert any("running" in s for s in left_out)


def test_runs_on_different_questions_are_not_compared_unless_asked(run, tmp_path, capsys):
    same = [load_point(run("a"), "strict"), load_point(run("b", tau=0.8, nfe=8, correct=70), "strict")]
    other = load_point(run("c", questions_sha256="another", nfe=5, correct=90), "strict")
    apart = analyse([*same, other])
    assert (
        analyse(same).caveats == ()
        and [r.group for r in apart.runs] == [0, 0, 1]
        and all(r.on_front for r in apart.runs)
    )
    assert apart.groups[0].baseline_front == ((8, 0.7), (10, 0.75)) and "2 groups" in apart.caveats[0]
    print_table(apart)
    assert capsys.readouterr().out.count("100 lab questions") == 2
    pooled = analyse([*same, other], pooled=True)
    assert [r.on_front for r in pooled.runs] == [
        False,
        False,
        True,
    ] and "2 different sets of questions" in pooled.caveats[0]
    titles = titles_of(lambda: front_picture(pooled, tmp_path / "pooled.png"))
    assert "Pooled: these runs used 2 different sets of questions" in titles[0]


def titles_of(draw) -> list[str]:
    """The panels' titles that a drawing sets."""
    from matplotlib.axes import Axes

    titles, before = [], Axes.set_title
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, "set_title", lambda self, text, **keys: (titles.append(text), before(self, text, **keys)))
        draw()
    return titles


def test_the_table_shows_the_numbers(run, capsys):
    points = [
        load_point(run("cold", nfe=9.25, correct=77), "strict"),
        load_point(
            run(
                "warm",
                init="token_inject",
                init_keys={"rho": 0.5},
                remask="linear",
                proposer="lab_strong",
                nfe=6,
                correct=60,
            ),
            "strict",
        ),
        load_point(run("cheat", init="token_inject", proposer="oracle", oracle=True), "strict"),
    ]
    text = markdown(analyse(points))
    for part in (
        "**mask**",
        "9.25 [",
        "77.0 [67.8,\u00a084.2]",
        "token_inject ρ=0.5 + linear remask",
        "lab_strong",
        "25.0",
        "oracle (oracle)",
    ):
        assert part in text
    assert "kept off the front" in text
    lasting = run("soft", init="embed_interp", init_keys={"lam": 0.4, "p": 0.5, "duration": "masked"})
    brief = run("brief", init="embed_interp", init_keys={"lam": 0.4, "p": 0.5, "duration": "first"})
    assert [load_point(f).variant for f in (lasting, brief)] == [
        "embed_interp λ=0.4 p=0.5 masked",
        "embed_interp λ=0.4 p=0.5",
    ]
    print_table(analyse(points))
    assert "token_inject ρ=0.5" in capsys.readouterr().out


def size(path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_the_picture(run, tmp_path):
    points = [
        load_point(run(f"cold{tau}", tau=tau, nfe=12 * tau, correct=int(80 * tau)), "strict") for tau in (0.5, 0.7, 0.9)
    ]
    points += [
        load_point(run(f"w{r}{p}", init="token_inject", remask=r, proposer=p), "strict")
        for r in ("none", "linear")
        for p in ("lab_weak", "lab_strong")
    ]
    points.append(load_point(run("cheat", init="token_inject", proposer="oracle", oracle=True), "strict"))
    path = front_picture(analyse(points), tmp_path / "deep" / "front.png", title="A study")
    width, height = size(path)
    assert width > 2000 and height > 1000
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    assert 0.02 < (pixels < 0.98).any(axis=-1).mean() < 0.5
    assert size(front_picture(analyse([]), tmp_path / "empty.png"))[0] > 2000


def test_a_crowded_picture_names_only_the_fronts(run, tmp_path, monkeypatch):
    points = [
        load_point(run(f"c{i}", tau=0.5 + i / 100, nfe=4 + i / 10, correct=50 + i), "strict") for i in range(0, 30, 10)
    ]
    points += [
        load_point(run(f"w{i}", init="token_inject", init_keys={"rho": i / 10}, nfe=9, correct=20 + i), "strict")
        for i in range(4)
    ]
    named = []
    monkeypatch.setattr(
        "warmexp.report.figure.place", lambda axes, labels, marks, bars: named.append([label.text for label in labels])
    )
    front_picture(analyse(points), tmp_path / "few.png")
    monkeypatch.setattr("warmexp.report.figure.CROWD", 6)
    front_picture(analyse(points), tmp_path / "many.png")
    assert len(named[0]) == 7 and sorted(named[1]) == ["τ=0.5", "τ=0.6", "τ=0.7"]


def test_a_runs_own_picture(tmp_path):
    records = [{"nfe": 3 + i % 4, "correct": {"flexible": i % 2 == 0}} for i in range(20)]
    nfe_histogram(records, tmp_path / "nfe.png")
    assert size(tmp_path / "nfe.png")[0] > 500
