"""engine=compiled: the same records through torch.compile, and one sentence where it cannot work."""

import shutil

import pytest
import torch

from tests.runs.test_run import records
from warmexp.api import planned, run_overrides
from warmexp.errors import UserError
from warmexp.models import compiled

WORDS = ["init=token_inject", "proposer=oracle", "proposer.corruption=0.3", "remask=linear", "task.limit=6", "share=false"]


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    """A backbone that another test has left compiled is not taken for this one's."""
    monkeypatch.setattr("warmexp.runs.run._resident", {})
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@pytest.mark.parametrize("cache", ["none", "dual"])
@pytest.mark.parametrize(
    "backend",
    ["eager", pytest.param("inductor", marks=[pytest.mark.slow, pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")])],
)
def test_compiled_records_are_those_of_the_fast_engine(tmp_path, monkeypatch, cache, backend):
    """`eager` traces the forward and runs what was traced, without a compiler."""
    monkeypatch.setattr(compiled, "BACKEND", backend)
    monkeypatch.setattr("warmexp.config.plan.check_compiler", lambda device: None)
    words = [*WORDS, f"cache={cache}"]
    _, made = run_overrides([*words, "engine=compiled", f"outputs={tmp_path}/compiled"])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    _, fast = run_overrides([*words, f"outputs={tmp_path}/fast"])
    assert made.name == fast.name and records(made) == records(fast)


@pytest.mark.parametrize("cache", ["dual", "prefix"])
def test_nothing_is_compiled_again_and_again(tmp_path, monkeypatch, cache):
    """torch gives up on a function that it has compiled in eight ways, which beside a cache every forward was."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setattr("warmexp.config.plan.check_compiler", lambda device: None)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        run_overrides([*WORDS, f"cache={cache}", "engine=compiled", "task.limit=16", "batch_size=4", f"outputs={tmp_path}"])
    assert 0 < torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3 * 6, torch._dynamo.utils.counters["stats"]


def test_without_a_compiler_it_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"engine=compiled needs a C\+\+ compiler"):
        planned([*WORDS, "engine=compiled"])


def test_a_compiler_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("the linker is on holiday")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    monkeypatch.setattr("warmexp.config.plan.check_compiler", lambda device: None)
    with pytest.raises(UserError, match=r"engine=compiled: torch.compile failed \(.*choose engine=fast"):
        run_overrides([*WORDS, "engine=compiled", f"outputs={tmp_path}"])
