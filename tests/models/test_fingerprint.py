"""Which model it is: every byte of the weights decides, a large file is read once, and what changes is noticed whatever
its name says."""

from __future__ import annotations

import os
from threading import Event

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints import llada_config, llada_tensors, write_checkpoint
from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.models import fingerprint as module
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.hub import fingerprint
from warmexp.proposers import hf
from warmexp.runs import run as runs

LARGE = 66 << 20


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_folders", {})
    monkeypatch.setattr(module, "_hashes", {})


def large(folder, at: int, name: str = "model.safetensors"):
    """A folder whose weights are larger than what is read at every call, with a one at one place in the middle."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    tensor = torch.zeros(LARGE, dtype=torch.uint8)
    tensor[at] = 1
    save_file({"x": tensor}, folder / name)
    return folder


def test_a_byte_in_the_middle_of_large_weights_decides(tmp_path):
    one, two = large(tmp_path / "one", LARGE // 2), large(tmp_path / "two", LARGE // 2 + 1)
    same = large(tmp_path / "same", LARGE // 2)
    assert fingerprint(one) == fingerprint(same) != fingerprint(two)


def test_a_large_file_is_read_once_whatever_process_asks(tmp_path, monkeypatch):
    folder = large(tmp_path / "one", 5)
    read = []
    original = module._sha256
    monkeypatch.setattr(module, "_sha256", lambda key, file, stop: read.append(file.name) or original(key, file, stop))
    first = fingerprint(folder)
    for memory in (module._folders, module._hashes):
        memory.clear()  # another process
    assert fingerprint(folder) == first and read == ["model.safetensors"]
    (folder / "config.json").write_text('{"a": 1}')
    assert fingerprint(folder) != first and read == ["model.safetensors"], "only what changed is read again"


def test_an_interrupt_does_not_wait_for_the_rest(tmp_path, monkeypatch):
    """One of two files cannot be read; the other would take for ever."""
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    begun, stopped = Event(), []

    def endless(key, file, stop):
        if file.name == "a":
            begun.wait(60)
            raise KeyboardInterrupt
        begun.set()
        stopped.append(stop.wait(60))
        return ""

    monkeypatch.setattr(module, "_sha256", endless)
    states = {(name, 1, 0, 0, 0, 0): tmp_path / name for name in ("a", "b")}
    with pytest.raises(KeyboardInterrupt):
        module._contents("key", states)
    assert stopped == [True]


def test_a_change_in_place_is_noticed_though_size_time_and_name_are_as_before(tmp_path):
    folder = large(tmp_path / "one", 5)
    file, first = folder / "model.safetensors", fingerprint(folder)
    before = file.stat()
    with file.open("r+b") as handle:
        handle.seek(LARGE // 2)
        handle.write(b"\x07")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns and file.stat().st_ino == before.st_ino
    assert fingerprint(folder) != first


def test_a_cache_of_another_kind_is_no_cache(tmp_path):
    folder = large(tmp_path / "one", 5)
    first = fingerprint(folder)
    file = module._cache_file()
    assert file.is_file()
    for damage in (b"", b"[]\n7\nnull\n{\n\xff\n" + b"[" * 100_000 + b"\n", b'[["a"], 1]\n'):
        file.write_bytes(damage)
        module._folders.clear()
        module._hashes.clear()
        assert fingerprint(folder) == first
    file.unlink()
    file.mkdir()  # nothing can be written there
    module._folders.clear()
    module._hashes.clear()
    assert fingerprint(folder) == first


def test_small_files_and_their_names_decide_and_strangers_do_not(tmp_path):
    one, two = write_checkpoint(tmp_path / "one"), write_checkpoint(tmp_path / "two")
    first = fingerprint(one)
    (one / "training.log").write_text("x")
    save_file({"x": torch.ones(3)}, one / "consolidated.safetensors")  # the index does not name it, so nobody reads it
    assert fingerprint(one) == first == fingerprint(two)
    (one / "additional_chat_templates").mkdir()
    (one / "additional_chat_templates" / "default.jinja").write_text("{{ messages }}")
    templates = fingerprint(one)
    assert templates != first
    (one / "special_tokens_map.json").write_text("{}")
    assert fingerprint(one) not in (first, templates)


def test_a_part_of_a_name_is_no_part_of_a_content(tmp_path):
    """Nor is the end of one file the beginning of the next."""
    seen = set()
    for number, files in enumerate(({"a.txt": "b.txtc"}, {"a.txt": "", "b.txt": "c"}, {"a.txt": "b.txt", "c.txt": ""})):
        folder = write_checkpoint(tmp_path / str(number))
        for name, content in files.items():
            (folder / name).write_text(content)
        seen.add(fingerprint(folder))
    assert len(seen) == 3


def plan(folder, tmp_path, **more):
    options = {
        "outputs": tmp_path / "out",
        "backbone.path": folder,
        "length.canvas_length": 16,
        "length.block_length": 8,
        "task.limit": 2,
    }
    return planned(["task=lab", "init=mask", *[f"{k}={v}" for k, v in {**options, **more}.items()]])


def test_a_checkpoint_that_changes_in_its_folder_is_another_run_and_another_model_in_memory(tmp_path, monkeypatch):
    """The resident model, the memory of forwards and the run folder all follow the weights, not the path."""
    monkeypatch.setattr(runs, "_resident", {})
    folder = write_checkpoint(tmp_path / "model")
    first = plan(folder, tmp_path)
    one = runs.run(first, lambda _: None)
    write_checkpoint(folder, llada_tensors(seed=1))
    second = plan(folder, tmp_path)
    assert second.run_id != first.run_id and second.identity["backbone"]["model"] != first.identity["backbone"]["model"]
    runs.run(second, lambda _: None)
    alone = plan(write_checkpoint(tmp_path / "other", llada_tensors(seed=1)), tmp_path)
    assert alone.run_id == second.run_id
    records = [(p.folder / "records.jsonl").read_text() for p in (first, second)]
    assert records[0] != records[1] and one["status"] == "finished"


def test_weights_that_change_between_plan_and_load_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_resident", {})
    folder = write_checkpoint(tmp_path / "model")
    planned = plan(folder, tmp_path)
    write_checkpoint(folder, llada_tensors(seed=1))
    with pytest.raises(UserError, match="was changed while it was in use"):
        runs.run(planned, lambda _: None)
    assert not (planned.folder / "records.jsonl").exists()


def test_a_proposer_that_changes_is_refused_and_never_stored_under_the_old_name(tmp_path, monkeypatch):
    import shutil

    from warmexp.models.lab_files import model_path

    monkeypatch.setattr(hf, "_resident", {})
    folder = tmp_path / "proposer"
    shutil.copytree(model_path("proposer_weak"), folder)
    proposer = hf.HFProposer(str(folder), max_new_tokens=2)
    before = proposer.identity()
    shutil.copy(model_path("proposer_strong") / "model.safetensors", folder)
    shutil.copy(model_path("proposer_strong") / "config.json", folder)
    with pytest.raises(UserError, match=r"proposer\.path=.* was changed while it was in use"):
        list(proposer.propose([hf.Asked("q", "1 + 1", "")], "cpu", 0, lambda *_: None))
    assert hf.HFProposer(str(folder), max_new_tokens=2).identity()["model"] != before["model"]


def test_what_is_wrong_with_the_headers_is_said_before_all_weights_are_read(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "model", config={**llada_config(), "n_layers": 3})
    monkeypatch.setattr("warmexp.models.checkpoint.fingerprint", lambda _: pytest.fail("read the weights"))
    with pytest.raises(UserError, match=r"config\.json has 3 layers and the weights 2"):
        Checkpoint(str(folder)).identity()


def test_shipped_models_keep_their_names():
    """The runs in everybody's folders are named after these."""
    from warmexp.models.lab_files import MODELS, model_path

    assert {name: fingerprint(model_path(name)) for name in MODELS} == KEPT


KEPT = {
    "backbone": "d4ad5b86e2900211",
    "backbone_block": "fe827bf1ebdd9f2b",
    "proposer_weak": "ff084e098d68abdf",
    "proposer_strong": "184daf871d4289d1",
    "long_backbone": "6a51ec2d20c9a936",
    "long_proposer_weak": "ff73b0a7bfe2e4bc",
    "long_proposer_strong": "92e77348ce0c8b1d",
    "long_proposer_foreign": "e7fe8964d2243c9c",
}
