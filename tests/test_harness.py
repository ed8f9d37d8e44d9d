"""lm-evaluation-harness with a warmexp pipeline as the model: the real harness on small local tasks, and what it
refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from warmexp.analysis.points import collect
from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.harness import __main__ as harness
from warmexp.io import read_lines
from warmexp.runs.run import run
from warmexp.tasks.lab import LabTask

lm_eval = pytest.importorskip("lm_eval")
N = 6
WARM = ["init=token_inject", "rho=0.5", "proposer=lab_weak", "remask=linear", "device=cpu"]


@pytest.fixture
def tasks(quiet_home) -> Path:
    """A folder with the harness's own gsm8k task over lab questions in local files, and a task that asks for
    likelihoods."""
    yaml = pytest.importorskip("yaml")
    rows = [
        {"question": q.prompt[len("Question: ") : -len("\nAnswer:")], "answer": q.solution.strip()}
        for q in LabTask(limit=N + 6).load()
    ]
    for split, part in {"test": rows[:N], "train": rows[N:]}.items():
        (quiet_home / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    config = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml").read_text())
    del config["dataset_name"], config["tag"]
    files = {split: str(quiet_home / f"{split}.jsonl") for split in ("train", "test")}
    config |= {
        "task": "gsm8k",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files, "cache_dir": str(quiet_home / "cache")},
    }
    folder = quiet_home / "tasks"
    folder.mkdir()
    (folder / "local.yaml").write_text(yaml.safe_dump(config))
    likelihood = {
        k: v for k, v in config.items() if k not in ("generation_kwargs", "filter_list", "metric_list", "num_fewshot")
    }
    choice = {
        "task": "local_choice",
        "output_type": "multiple_choice",
        "doc_to_choice": ["yes", "no"],
        "doc_to_target": 0,
    }
    (folder / "choice.yaml").write_text(yaml.safe_dump(likelihood | choice))
    (folder / "broken.yaml").write_text(
        yaml.safe_dump(config | {"task": "local_broken", "dataset_kwargs": {"data_files": "nowhere.jsonl"}})
    )
    return quiet_home


def scores(results: dict) -> dict[str, float]:
    values = results["results"]["gsm8k"]
    return {
        name: values[f"exact_match,{key}"]
        for name, key in (("strict", "strict-match"), ("flexible", "flexible-extract"))
    }


@pytest.mark.parametrize("uncut", [False, True])
def test_its_scores_and_texts_are_our_own(tasks, uncut):
    """The harness's gsm8k and ours on the same files: the same prompts, tokens, texts, extracted answers and
    accuracies."""
    results = harness.evaluate(
        ["gsm8k"], WARM, num_fewshot=0, include_path=str(tasks / "tasks"), uncut=uncut, say=lambda _: None
    )
    plan = planned([*WARM, "task=gsm8k", f"task.path={tasks}", "task.num_fewshot=0"])
    summary = run(plan, say=lambda _: None)
    records = read_lines(plan.folder / "records.jsonl")
    suffix = "_uncut" if uncut else ""
    assert scores(results) == {name: summary[f"accuracy_{name}{suffix}"] for name in ("strict", "flexible")}
    assert 0 < summary["accuracy_flexible"] < 1, "a task on which every answer is right, or wrong, shows little"
    assert results["config"]["nfe_mean"] == summary["nfe_mean"] and results["config"]["n"] == N
    samples = {(s["doc_id"], s["filter"]): s for s in results["samples"]["gsm8k"]}
    for i, record in enumerate(records):
        for key, name in (("strict-match", "strict"), ("flexible-extract", "flexible")):
            sample = samples[i, key]
            assert sample["arguments"][0][0] == record["question"]
            assert sample["resps"] == [[record[f"response{suffix}"]]] and sample["filtered_resps"] == [
                record["extracted"][name + suffix]
            ]
            assert bool(sample["exact_match"]) == record["correct"][name + suffix]


def test_a_second_time_nothing_is_decoded_and_no_front_sees_it(tasks, monkeypatch):
    """The harness's run is a run: asked again it is reused, with another seed it is another; its folder holds no
    accuracy for a front."""
    keys = {"num_fewshot": 0, "include_path": str(tasks / "tasks")}
    words = ["init=mask", "length.block_length=48", "tau=0.3", "device=cpu"]
    first = harness.evaluate(["gsm8k"], words, **keys, say=lambda _: None)
    import warmexp.runs.run as module

    monkeypatch.setattr(module, "stream", None)
    said: list[str] = []
    again = harness.evaluate(["gsm8k"], words, **keys, say=said.append)
    assert scores(again) == scores(first) and again["config"]["nfe_mean"] == first["config"]["nfe_mean"]
    assert any(sentence.startswith("reused") for sentence in said), said
    with pytest.raises(TypeError):
        harness.evaluate(["gsm8k"], [*words, "seed=1"], **keys, say=said.append)
    assert collect(tasks / "outputs") == ([], [])


def test_the_command_line(tasks, capsys):
    """Options and overrides in any order; the table, the cost and the file."""
    line = [
        "--tasks",
        "gsm8k",
        "init=mask",
        "--include_path",
        str(tasks / "tasks"),
        "--num_fewshot",
        "1",
        "device=cpu",
        "--limit",
        "4",
    ]
    harness.main([*line, "length.block_length=48", "--output_path", str(tasks / "out.json")])
    said = capsys.readouterr().out
    assert "flexible-extract" in said and "4 answers, NFE " in said
    kept = json.loads((tasks / "out.json").read_text())
    assert (
        kept["config"]["n"] == 4
        and kept["n-shot"]["gsm8k"] == 1
        and kept["config"]["warmexp"]["choices"]["init"] == "mask"
    )
    prompts = {s["arguments"][0][0] for s in kept["samples"]["gsm8k"]}
    assert len(prompts) == 4 and all(p.count("#### ") == 1 for p in prompts)


REFUSED = {
    "loglikelihood": (["--tasks", "local_choice"], ["local_choice asks for likelihoods"]),
    "a task override": (["--tasks", "gsm8k", "task.limit=3"], ["task.limit=3", "--tasks"]),
    "an oracle": (["--tasks", "gsm8k", "init=token_inject", "proposer=oracle"], ["proposer=oracle", "lab_weak"]),
    "a file": (
        ["--tasks", "gsm8k", "init=token_inject", "proposer=file", "proposer.path=p.jsonl"],
        ["proposer=file", "lab_weak"],
    ),
    "a bad override": (["--tasks", "gsm8k", "init=token_inject", "rho=2"], ["rho=2", "[0, 1]"]),
    "no such group option": (["--tasks", "gsm8k", "init=tokeninject"], ["did you mean 'token_inject'"]),
    "too many shots": (
        ["--tasks", "gsm8k", "--num_fewshot", "5", "length.canvas_length=960"],
        ["gsm8k-test-0000", "1024", "--num_fewshot"],
    ),
    "no data": (["--tasks", "local_broken"], ["local_broken", "cannot be built"]),
    "another cache": (["--tasks", "gsm8k", "--use_cache", "x"], ["--use_cache is refused", "leave it out"]),
    "samples without a place": (["--tasks", "gsm8k", "--log_samples"], ["--log_samples", "--output_path"]),
    "no such caching": (["--tasks", "gsm8k", "--cache_requests", "maybe"], ["--cache_requests maybe", "refresh"]),
    "a folder that cannot be": (
        ["--tasks", "gsm8k", "--output_path", "/proc/nowhere"],
        ["--output_path /proc/nowhere"],
    ),
    "no folder for the results": (
        ["--tasks", "gsm8k", "--output_path", "nowhere/out.json"],
        ["--output_path nowhere/out.json"],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_one_sentence(tasks, capsys, what):
    line, parts = REFUSED[what]
    (tasks / "p.jsonl").write_text(json.dumps({"id": "x", "text": "5"}) + "\n")
    with pytest.raises(SystemExit) as stop:
        harness.main([*line, "--include_path", str(tasks / "tasks"), "device=cpu"])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    (sentence,) = [part for part in said.splitlines() if part.startswith("warmexp: ")]
    assert said.endswith(f"{sentence}\n") and "Traceback" not in said
    for part in parts:
        assert part in sentence, sentence


def test_unknown_task(tasks, monkeypatch):
    """The harness's own list is looked through for what the folder does not have (and here is kept short)."""
    from lm_eval.tasks import TaskManager

    real, asked = TaskManager.__init__, []

    def short(self, include_path=None, include_defaults=True):
        asked.append(include_defaults)
        real(self, include_path=include_path, include_defaults=False)

    monkeypatch.setattr(TaskManager, "__init__", short)
    with pytest.raises(
        UserError, match="--tasks local_choise is not a task of the harness, did you mean 'local_choice'"
    ):
        harness.evaluate(["local_choise"], [], include_path=str(tasks / "tasks"))
    assert asked == [False, True]


def test_without_the_harness(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.evaluator", None)
    with pytest.raises(UserError, match=r"lm-evaluation-harness is not installed: pip install 'warmexp\[harness\]'"):
        harness.evaluate(["gsm8k"], [])


def sums(question, **options):
    from lm_eval.api.instance import Instance

    return Instance("generate_until", {}, (question.prompt, options), 0, ("sums", 7, 1))


def test_requests_that_a_canvas_cannot_follow_are_said_once(quiet_home):
    """Sampling and other lengths are told of; stops are each request's own."""
    from warmexp.harness.model import Pipeline

    said: list[str] = []
    model = Pipeline(planned(["init=mask", "tau=0.5", "task.limit=1", "device=cpu"]), say=said.append)
    (question,) = LabTask(limit=1).load()
    sampled = sums(question, do_sample=True, temperature=0.7, max_gen_toks=32, until="####")
    first, second, third = model.generate_until([sampled, sampled, sums(question)])
    assert first == second == third.partition("####")[0] != third, "nothing is drawn here"
    assert len(said) == 2 and "samples" in said[0] and "up to 32 tokens" in said[1] and "canvas_length=48" in said[1]


@pytest.mark.parametrize("until", [[7, None], 7, {"a": 1}, [["####"]]])
def test_stop_strings_that_are_no_texts(quiet_home, until):
    from warmexp.harness.model import Pipeline

    (question,) = LabTask(limit=1).load()
    with pytest.raises(UserError, match=r"generation_kwargs\.until=.* of --tasks sums is no list of texts"):
        Pipeline.of(WARM).generate_until([sums(question, until=until)])
    assert not list(quiet_home.glob("outputs/lab*")), "nothing was decoded for it"


def test_repeats_are_draws_of_their_own(quiet_home):
    """A document asked three times: three records, three answers where something is drawn, the first that of a document
    asked once."""
    from warmexp.harness.model import Pipeline

    words = ["init=token_inject", "rho=0.5", "proposer=lab_weak", "unmask.temperature=1.5", "device=cpu", "tau=0.3"]
    questions, models = LabTask(limit=2).load(), [Pipeline.of(words, say=lambda _: None) for _ in range(2)]
    (once,) = models[0].generate_until([sums(questions[0])])
    request = sums(questions[0])
    answers = models[1].generate_until([request, request, request])
    assert list(models[1].records) == ["sums-test-00007", "sums-test-00007#1", "sums-test-00007#2"]
    assert answers[0] == once and len(set(answers)) > 1
    assert models[1].get_model_info()["n"] == 3


@pytest.mark.slow
def test_a_share_of_the_questions(tasks):
    keys = {"num_fewshot": 0, "include_path": str(tasks / "tasks"), "say": lambda _: None}
    words = ["init=mask", "length.block_length=48", "tau=0.3", "device=cpu"]
    for limit, n in ((0.5, 3), (2.0, 2), (0.01, 1)):
        assert harness.evaluate(["gsm8k"], words, limit=limit, **keys)["config"]["n"] == n
    for limit in (0, -1, 1.5, float("nan"), float("inf")):
        with pytest.raises(UserError, match=rf"--limit {limit:g} is neither"):
            harness.evaluate(["gsm8k"], words, limit=limit, **keys)


def test_a_folder_of_results(tasks, capsys):
    """Made where it is not there; samples in a file for each task, where they are asked for. And the prompts that the
    harness keeps."""
    line = [
        "--tasks",
        "gsm8k",
        "init=mask",
        "--include_path",
        str(tasks / "tasks"),
        "--num_fewshot",
        "0",
        "device=cpu",
        "--limit",
        "0.5",
    ]
    line += ["length.block_length=48", "tau=0.3"]
    harness.main([*line, "--output_path", str(tasks / "new" / "out"), "--log_samples"])
    first, samples = sorted((tasks / "new" / "out").iterdir())
    rows = [json.loads(text) for text in samples.read_text().splitlines()]
    assert samples.name.startswith("samples_gsm8k_") and len(rows) == 6 and {row["doc_id"] for row in rows} == {0, 1, 2}
    kept = json.loads(first.read_text())
    assert "samples" not in kept and kept["config"]["n"] == 3
    (tasks / "there").mkdir()
    harness.main([*line, "--output_path", str(tasks / "there")])
    (second,) = (tasks / "there").iterdir()
    assert second.name.startswith("results_") and json.loads(second.read_text())["results"] == kept["results"]


@pytest.mark.slow
def test_kept_prompts(tasks, monkeypatch):
    """--cache_requests: what is kept is asked again, and gives the same answers."""
    import lm_eval.caching.cache as cache

    monkeypatch.setattr(cache, "PATH", str(tasks / "kept"))
    keys = {"num_fewshot": 1, "include_path": str(tasks / "tasks"), "say": lambda _: None}
    words = ["init=mask", "length.block_length=48", "tau=0.3", "device=cpu"]
    found = [
        harness.evaluate(["gsm8k"], words, cache_requests=how, **keys) for how in (None, "true", "true", "refresh")
    ]
    assert list((tasks / "kept").iterdir()) and all(scores(r) == scores(found[0]) for r in found)
    assert all(
        r["config"]["n"] == N and r["samples"]["gsm8k"][0]["resps"] == found[0]["samples"]["gsm8k"][0]["resps"]
        for r in found
    )


@pytest.fixture
def few_tasks(monkeypatch):
    """The harness's own 14,000 tasks take long to list."""
    from lm_eval.tasks import TaskManager

    real = TaskManager.__init__
    monkeypatch.setattr(TaskManager, "__init__", lambda self, **keys: real(self, **{**keys, "include_defaults": False}))


OWN = ["--num_fewshot", "0", "--limit", "0.5"]


def harness_own(monkeypatch, words: list[str]) -> None:
    """The harness's own command line, with our model in its registry."""
    from lm_eval.api.registry import model_registry

    from warmexp.harness import lm_eval as command

    monkeypatch.delitem(
        sys.modules, "warmexp.harness.model", raising=False
    )  # it registers what nothing else may have registered
    model_registry._objs.pop("warmexp", None)
    monkeypatch.setattr(sys, "argv", ["lm_eval", *words])
    command.main()


@pytest.mark.slow
def test_the_harness_own_command_line(tasks, few_tasks, monkeypatch, capsys):
    words = [
        "--model",
        "warmexp",
        "--model_args",
        "init=token_inject",
        "rho=0.5",
        "proposer=lab_weak",
        "remask=linear",
        "device=cpu",
    ]
    words += ["--tasks", "gsm8k", "--include_path", str(tasks / "tasks"), *OWN]
    harness_own(monkeypatch, [*words, "--output_path", str(tasks / "out"), "--log_samples"])
    ours = harness.evaluate(["gsm8k"], WARM, 0.5, 0, str(tasks / "tasks"), say=lambda _: None)
    files = {file.name.partition("_")[0]: file for file in (tasks / "out").rglob("*") if file.is_file()}
    kept = json.loads(files["results"].read_text())
    assert kept["results"]["gsm8k"] == {
        **ours["results"]["gsm8k"],
        **{k: v for k, v in kept["results"]["gsm8k"].items() if "stderr" in k},
    }
    assert (
        kept["config"]["n"] == 3 and kept["config"]["warmexp"]["choices"]["init"] == "token_inject" and files["samples"]
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model_args", "rho=2", "init=token_inject"], "rho=2"),
        (["--model_args", "inti=mask"], "inti"),
        (["--model_args", "task=gsm8k"], "task=gsm8k is not read here"),
        (["--model_args", "uncut=3"], "uncut=3"),
        (["--model_args", "init=mask", "--use_cache", "x"], "use_cache is refused"),
        (["--model_args", "init=mask", "--apply_chat_template"], "apply_chat_template is not read"),
    ],
)
def test_the_harness_own_command_line_in_one_sentence(tasks, few_tasks, monkeypatch, capsys, more, said):
    with pytest.raises(SystemExit) as stop:
        harness_own(
            monkeypatch, ["--model", "warmexp", "--tasks", "gsm8k", "--include_path", str(tasks / "tasks"), *OWN, *more]
        )
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and sentence.startswith("warmexp: ") and said in sentence


def test_arguments_become_overrides(quiet_home):
    from warmexp.harness.model import Pipeline, _hydra

    text = "init=mask,remask=none,proposer=none,tau=0.5,backbone.template='a {prompt} b',length.eos=None"
    made = Pipeline.create_from_arg_string(
        text.rpartition(",")[0], {"batch_size": 3, "device": "cpu", "max_batch_size": None}
    )
    assert made.plan.batch_size == 3 and made.plan.device == "cpu" and made.plan.backbone.template == "a {prompt} b"
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    for value in ("it's", 'a "b"', "a\\", "a\\'b", "x,y=z", "", " a ", [1, "b c"], {"k": "v w"}, True, 0.5, -3, "1e3"):
        read = parser.parse_override(f"key={_hydra(value)}").value()
        assert str(getattr(read, "text", read)) == str(value) or read == value, value
