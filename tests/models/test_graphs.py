"""engine=graphs: forwards that are recorded once and replayed say what the ordinary ones say."""

from __future__ import annotations

import gc
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import FREEZING, WINDOWS, cases, facts, some
from tests.models.recorded import fake_graphs
from tests.reference.models import random_models
from tests.runs.test_run import records
from tests.simulated.cuda import SimulatedCuda
from warmexp.api import planned, run_overrides
from warmexp.decode.loop import stream
from warmexp.errors import UserError
from warmexp.models import graphs as module
from warmexp.models.backbone import Backbone
from warmexp.models.graphs import GraphedBackbone, recorded_shape
from warmexp.models.keys_values import KeysValues
from warmexp.runs.run import _free_backbone


def graphed(backbone: Backbone) -> GraphedBackbone:
    return GraphedBackbone(**vars(backbone))


@some(60)
@given(case=cases(), cache=st.one_of(WINDOWS, FREEZING), size=st.integers(1, 5))
def test_decoding_through_graphs_is_decoding(case, cache, size):
    """Any cache, prior, remask schedule and number of places; questions that come and go and buffers that grow."""
    case = case.but(cache=cache)
    ordinary = {d.id: d for d in stream(case.backbone(), case.questions, case.strategies(), case.seed, None, size)}
    with fake_graphs() as recorded:
        found = {
            d.id: d for d in stream(graphed(case.backbone()), case.questions, case.strategies(), case.seed, None, size)
        }
    assert {i: facts(d) for i, d in found.items()} == {i: facts(d) for i, d in ordinary.items()}
    for i, done in found.items():
        assert list(done.confidence) == [
            None if c is None else pytest.approx(c, abs=1e-9) for c in ordinary[i].confidence
        ]
    assert all(graph.replays and graph.calls for graph in recorded)


@pytest.fixture
def backbone():
    return Backbone(random_models(3, vocab_size=12, n_layers=2)[0], mask_id=11, eos_id=0)


def forward(backbone, store, rows, start, count, lengths):
    """One that computes `count` positions of each row from `start` on, and reads all of them. -> [rows · count, V]"""
    n = len(rows)
    ids = (torch.arange(n * count).view(n, count) * 7 + start) % 11
    row = torch.arange(n).repeat_interleave(count)
    position = start + torch.arange(count).repeat(n)
    lengths = torch.tensor(lengths)
    window = store.window(rows, torch.full((n,), start), torch.full((n,), count), lengths)
    return backbone(ids, lengths, row, position, None, window)


def full_store(backbone, rows, length):
    """Buffers in which every row has been computed once."""
    store = KeysValues(backbone.transformer.config, backbone.dtype, backbone.device)
    store.reserve(rows, length)
    forward(backbone, store, list(range(rows)), 0, length, [length] * rows)
    return store


@torch.inference_mode()
def test_few_shapes_are_recorded_and_the_rest_replayed(backbone):
    with fake_graphs() as recorded:
        engine, ordinary = graphed(backbone), backbone
        store, same = full_store(engine, 5, 24), full_store(ordinary, 5, 24)
        assert not recorded, "whole rows take the ordinary way"
        for rows, start, count in [(5, 8, 8), (4, 8, 8), (3, 8, 8), (3, 16, 8), (2, 16, 7), (1, 16, 6), (1, 3, 8)]:
            lengths = [24 - i for i in range(rows)]
            found = forward(engine, store, list(range(rows)), start, count, lengths)
            torch.testing.assert_close(
                found, forward(ordinary, same, list(range(rows)), start, count, lengths), rtol=0, atol=1e-12
            )
        for kept, other in ((store.keys, same.keys), (store.values, same.values)):
            torch.testing.assert_close(kept[:, :, :-1], other[:, :, :-1], rtol=0, atol=1e-12)
    shapes = sorted(tuple(recording.x.shape[:2]) for recording in engine.recordings[store].values())
    assert shapes == [(1, 8), (2, 8), (4, 8), (5, 8)] and len(recorded) == 4  # 5: the buffers have no more rows
    assert sum(graph.replays for graph in recorded) == 7


@torch.inference_mode()
def test_buffers_that_have_moved_are_recorded_anew_and_none_outlives_them(backbone):
    with fake_graphs() as recorded:
        engine = graphed(backbone)
        store = full_store(engine, 2, 16)
        forward(engine, store, [0, 1], 8, 4, [16, 16])
        store.reserve(2, 40)
        forward(engine, store, [0, 1], 8, 4, [16, 16])
        assert len(recorded) == 2 and len(engine.recordings[store]) == 1
        del store
        gc.collect()
        assert not engine.recordings


@torch.inference_mode()
def test_what_is_not_worth_a_graph_or_fits_none_takes_the_ordinary_way(backbone):
    store = full_store(backbone, 4, 16)
    count = torch.full((2,), 4)

    def shape(rows, count, length=16):
        n = len(rows)
        window = store.window(rows, torch.zeros(n, dtype=torch.long), torch.full((n,), count), torch.full((n,), length))
        return recorded_shape(window)

    assert recorded_shape(None) is None and shape([0, 1], 16) is None, (
        "nothing is read that this forward does not compute"
    )
    assert shape([1, 2], 4) is None and shape([0, 2], 4) is None, "rows that are not the first"
    assert shape([0, 1, 2], 9) == (4, 16) and shape([0], 1) == (1, 8)
    with patch.object(module, "POSITIONS", 63):
        assert shape([0, 1, 2], 9) is None and count.numel() == 2


@torch.inference_mode()
def test_a_forward_that_cannot_be_recorded_is_one_sentence(backbone, monkeypatch):
    """One that reads a value, as a graph may not."""
    store = full_store(backbone, 1, 16)
    engine = graphed(backbone)
    real = engine.transformer.ln_f.forward
    monkeypatch.setattr(engine.transformer.ln_f, "forward", lambda x: real(x) * float(x[0, 0, 0].item() ** 0))
    with fake_graphs(), pytest.raises(UserError, match=r"engine=graphs: .*operation not permitted.*choose engine=fast"):
        forward(engine, store, [0], 8, 4, [16])


@torch.inference_mode()
def test_a_recording_for_which_memory_runs_out_halves_the_batch(backbone, monkeypatch):
    store = full_store(backbone, 1, 16)
    engine = graphed(backbone)

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "recorded", full)
    with fake_graphs(), pytest.raises(torch.OutOfMemoryError):
        forward(engine, store, [0], 8, 4, [16])


EXACT = ("ids", "nfe", "commit_iteration", "source", "revocations", "token_forwards")
WORDS = [
    "init=token_inject",
    "proposer=oracle",
    "proposer.corruption=0.3",
    "remask=linear",
    "task.limit=4",
    "batch_size=3",
]


@pytest.mark.slow
def test_a_run_has_the_records_of_the_fast_engine(tmp_path, monkeypatch):
    """Everything that is counted; probabilities but for their last bits, as attention sums under a mask."""
    monkeypatch.setattr("warmexp.config.plan.check_graphs", lambda device: None)
    words = [*WORDS, "cache=dual", "backbone.dtype=float64"]
    with fake_graphs() as recorded:
        _, replayed = run_overrides([*words, "engine=graphs", f"outputs={tmp_path}/graphs"])
        _free_backbone()
    _, fast = run_overrides([*words, f"outputs={tmp_path}/fast"])
    assert replayed.name == fast.name and sum(graph.replays for graph in recorded) > 2 * len(recorded) > 0
    mine, theirs = records(replayed), records(fast)
    for question, row in theirs.items():
        for one in (row, mine[question]):
            one["confidence"] = [None if c is None else round(c, 9) for c in one["confidence"]]
        assert mine[question] == row


@pytest.mark.slow
def test_a_run_on_a_simulated_device(tmp_path):
    """Recording and replaying read nothing, upload nothing and mix no devices; records are those without graphs."""
    words = [*WORDS, "task.limit=3", "batch_size=2", "cache=dual", "device=cuda", "share=false"]
    found = []
    for engine in ("graphs", "fast"):
        with SimulatedCuda(devices=1) as gpu, fake_graphs() as recorded:
            _, folder = run_overrides([*words, f"engine={engine}", f"outputs={tmp_path}/{engine}"])
            _free_backbone()
        found.append({i: {key: row[key] for key in EXACT} for i, row in records(folder).items()})
        assert bool(recorded) == (engine == "graphs")
        assert not [
            place for _, place in gpu.waits if "graphs.py" in place and "upload <" not in place
        ]  # wanted.py's is tested there
        recorded.clear()
        gc.collect()
        assert gpu.allocated == [0], "a recording has outlived the run"
    assert found[0] == found[1]


def test_where_there_are_no_graphs_it_is_refused_at_once():
    with pytest.raises(
        UserError, match=r"engine=graphs records CUDA graphs, which device=cpu has not: choose engine=fast"
    ):
        planned([*WORDS, "engine=graphs", "device=cpu"])


def test_without_a_cache_it_says_that_it_does_nothing(monkeypatch):
    monkeypatch.setattr("warmexp.config.plan.check_graphs", lambda device: None)
    assert "cache=none keeps nothing" in planned([*WORDS, "engine=graphs"]).warnings[0]
    assert not planned([*WORDS, "engine=graphs", "cache=dual"]).warnings
