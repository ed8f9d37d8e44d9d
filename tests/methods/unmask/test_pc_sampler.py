"""PC-Sampler beside a slow one that is written from its description; its frequencies, from the command to a run's
identity."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from tests.methods.unmask.slow import agree, softmax
from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.frequencies.__main__ import main
from warmexp.lab.problems import load
from warmexp.methods.unmask.pc_sampler import PcSampler
from warmexp.methods.unmask.token_frequencies import Frequencies, read_frequencies
from warmexp.methods.unmask.topk import TopK
from warmexp.models.lab_files import MODELS_DIR

L, N = 8, 1000
COUNTS = {0: 500, 2: 300, 3: 100, 5: 60, 7: 30, 11: 1, 13: 9}  # of N; all other tokens were never seen


@pytest.fixture
def counted(tmp_path) -> str:
    file = tmp_path / "counts.json"
    file.write_text(json.dumps(Frequencies(COUNTS, "any").to_json()))
    return str(file)


@pytest.mark.parametrize("decay", [0.0, 0.25, 2.0])
@pytest.mark.parametrize("cap", [0.3, 2.0, 10.0])
def test_as_it_is_described(counted, decay, cap):
    def rule(ids, z, k):
        score = {}
        for i in (i for i in range(L) if ids[i] is None):
            p = softmax(z[i])
            f = COUNTS.get(int(p.argmax()), 1) / N
            score[i] = math.exp(-decay * i) * min(-float(p.max()) * math.log(f + 1e-9), cap)
        quota = L // 3 + (k < L % 3)
        return {i: int(z[i].argmax()) for i in sorted(score, key=lambda i: (-score[i], i))[:quota]}

    assert (
        agree(PcSampler(3, decay=decay, cap=cap, frequencies=counted), lambda _: rule, canvas=L, block=L) == 2 * 4 * 3
    )


def test_a_common_token_waits_for_a_rare_one(counted):
    view = SimpleNamespace(masked=np.array([[True, True, True, False]]), visits=np.array([0]))
    reading = SimpleNamespace(token=np.array([[0, 13, 17, 13]]), confidence=np.array([[0.9, 0.5, 0.5, -1.0]]))
    score = PcSampler(1, decay=0.0, frequencies=counted).score(view, reading)[0]
    assert score[:3] == pytest.approx([0.9 * math.log(2), 0.5 * math.log(1000 / 9), 0.5 * math.log(1000)], abs=1e-5)
    assert score[3] == -np.inf
    # Large ids are unseen too, and a steep decay is left to right.
    reading.token[:] = 10**6
    score = PcSampler(1, decay=1.0, frequencies=counted).score(view, reading)[0]
    assert score.argmax() == 0 and score[0] == pytest.approx(0.9 * math.log(1000), abs=1e-5)
    rarest = PcSampler(1, frequencies=counted).surprise[[11, 13, 14]]
    assert rarest == pytest.approx([math.log(1000), math.log(1000 / 9), math.log(1000)], abs=1e-5)


def test_without_frequencies_and_decay_it_is_a_quota_by_confidence(backbone):  # noqa: F811
    one, other = (
        [facts(d) for d in decoded(backbone, replace(COLD, unmask=rule))] for rule in (PcSampler(3, decay=0.0), TopK(3))
    )
    assert one == other


def test_a_steep_decay_is_autoregressive(backbone):  # noqa: F811
    for done in decoded(backbone, replace(COLD, unmask=PcSampler(100, decay=1000.0))):
        assert done.commit_iteration == tuple(range(8))


def test_what_is_shipped_is_what_the_command_counts(tmp_path, capsys):
    main(["--out", str(tmp_path / "f.json")])
    assert "7473 training solutions" in capsys.readouterr().out
    assert (tmp_path / "f.json").read_text() == (MODELS_DIR / "frequencies.json").read_text()


def test_the_command_counts_training_solutions_alone(tmp_path):
    """Token by token; and no question of another split is among them, whatever split the words name."""
    main(["task.split=test", "--questions", "3", "--out", str(tmp_path / "f.json")])
    tokenizer = planned(["task.limit=1"]).backbone.tokenizer
    expected = Counter(t for problem in load("train", 3) for t in tokenizer.encode(problem.solution))
    assert read_frequencies(str(tmp_path / "f.json")).counts == expected
    assert json.loads((tmp_path / "f.json").read_text())["notes"] == {
        "task": "lab", "split": "train", "questions": 3, "tokens": sum(expected.values())
    }  # fmt: skip


def test_what_was_counted_is_part_of_the_run_and_where_it_lies_is_not(tmp_path):
    shipped = (MODELS_DIR / "frequencies.json").read_text()
    (tmp_path / "a.json").write_text(shipped)
    changed = json.loads(shipped)
    changed["counts"]["14"] += 1
    (tmp_path / "b.json").write_text(json.dumps(changed))

    def run_of(frequencies: str):
        return planned(["unmask=pc_sampler", f"unmask.frequencies={frequencies}", "task.limit=1"])

    usual = run_of("lab:frequencies")
    assert usual.run_id == run_of(tmp_path / "a.json").run_id == planned(["unmask=pc_sampler", "task.limit=1"]).run_id
    assert len({usual.run_id, run_of(tmp_path / "b.json").run_id, run_of("null").run_id}) == 3
    assert usual.identity["unmask"]["frequencies"] == read_frequencies("lab:frequencies").sha256
    assert usual.choices["schedule"] == "canvas" and usual.strategies.unmask.steps_per_block == 48


def test_another_tokenizer_is_refused_before_anything_is_loaded(counted):
    with pytest.raises(
        UserError, match=r"another tokenizer than that of backbone=lab: make it with .* backbone=lab task=lab"
    ):
        planned(["unmask=pc_sampler", f"unmask.frequencies={counted}", "task.limit=1"])


@pytest.mark.parametrize(
    "content",
    [None, "", "[]", "{}", '{"vocabulary": "x", "counts": {}}', '{"vocabulary": "x", "counts": {"a": 1}}',
     '{"vocabulary": "x", "counts": {"1": 0}}', '{"vocabulary": "x", "counts": {"1": 1.5}}', '{"vocabulary": "x", "counts": {"1": true}}',
     '{"vocabulary": "x", "counts": {"-1": 2}}', '{"vocabulary": "x", "counts": {"99999999": 2}}', '{"vocabulary": "x", "counts": [1, 2]}'],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_one_sentence(content, tmp_path):
    file = tmp_path / "f.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=r"f.json .*(does not exist|cannot be read|holds no frequencies)"):
        PcSampler(frequencies=str(file))


@pytest.mark.parametrize(("key", "value"), [("decay", -1.0), ("cap", 0.0), ("steps_per_block", 0)])
def test_what_cannot_be_is_refused(key, value):
    with pytest.raises(UserError, match=f"unmask.{key}="):
        PcSampler(**{key: value})


def test_the_command_says_what_is_wrong_in_a_sentence(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"question": "1", "answer": "2"}\n')
    with pytest.raises(UserError, match="task=jsonl has no training split"):
        main(["task=jsonl", f"task.path={tmp_path / 'q.jsonl'}"])
    with pytest.raises(UserError, match=r"length\.canvas_length=9 would change nothing here"):
        main(["length.canvas_length=9"])
    with pytest.raises(UserError, match="--questions=0 "):
        main(["--questions", "0"])
    with pytest.raises(UserError, match=r"--out .* cannot be written: choose"):
        main(["--questions", "1", "--out", str(tmp_path / "q.jsonl" / "f.json")])
