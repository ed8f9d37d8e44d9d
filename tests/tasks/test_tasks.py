"""Tasks: ids, subsets, prompts and shots, what is scored, and the real GSM8K where it is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.checkpoints import (
    DREAM_SPECIAL,
    EOT,
    VOCAB,
    byte_tokenizer,
    write_checkpoint,
    write_dream,
    write_qwen2_files,
)
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import load_point
from warmexp.api import planned
from warmexp.config.plan import questions_sha256
from warmexp.errors import UserError
from warmexp.io import read_lines
from warmexp.report.figure import front_picture
from warmexp.report.table import markdown
from warmexp.runs.run import run
from warmexp.tasks.gsm8k import GSM8K, GSM8KCoT
from warmexp.tasks.jsonl import JsonlTask
from warmexp.tasks.lab import LabTask
from warmexp.tasks.math500 import Math500
from warmexp.tasks.task import subset

# The real data set is not part of the project: a folder with test.jsonl, named here or lying beside the checkout.
REAL = Path(os.environ.get("WARMEXP_GSM8K", Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"))
needs_gsm8k = pytest.mark.skipif(not (REAL / "test.jsonl").is_file(), reason="GSM8K is not here (set WARMEXP_GSM8K)")


def write(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def small(tmp_path) -> Path:
    """A folder in GSM8K's form: 6 test and 12 training questions, one of them there three times."""
    rows = [{"question": f"Q{i}?", "answer": f"1+{i}=<<1+{i}={1 + i}>>{1 + i}\n#### {1 + i}"} for i in range(16)]
    write(tmp_path / "test.jsonl", rows[:6])
    write(tmp_path / "train.jsonl", [*rows[6:], rows[6], rows[6]])
    return tmp_path


def test_subsets():
    numbers = list(range(100))
    assert subset(numbers, None, None) == numbers and subset(numbers, 3, None) == [0, 1, 2]
    chosen = subset(numbers, 10, 7)
    assert len(chosen) == 10 and chosen == sorted(chosen) and chosen != numbers[:10]
    assert chosen == subset(numbers, 10, 7) != subset(numbers, 10, 8)
    with pytest.raises(UserError, match=r"task\.limit=0"):
        subset(numbers, 0, None)


def test_the_lab_task():
    some = LabTask(limit=5).load()
    assert [q.id for q in some] == [q.id for q in LabTask(limit=9).load()][:5]
    for q in some:
        assert q.prompt.startswith("Question: ") and q.prompt.endswith("\nAnswer:")
        assert q.solution.rstrip().endswith(f"#### {q.target}")
    random = LabTask(limit=5, subset_seed=3).load()
    assert len(random) == 5 and {q.id for q in random} != {q.id for q in some}


def test_gsm8k_from_a_file(tmp_path):
    row = {
        "question": "Ann has 3\u2028pens and buys 1,200. How many?",
        "answer": "3+1200=<<3+1200=1203>>1,203\n#### 1,203",
    }
    write(tmp_path / "test.jsonl", [row])
    for path in (tmp_path, tmp_path / "test.jsonl"):
        (question,) = GSM8K(path=str(path), num_fewshot=0).load()
        assert question.prompt == f"Question: {row['question']}\nAnswer:" and question.target == "1,203"
        (question,) = GSM8KCoT(path=str(path)).load()
        assert question.prompt == f"Q: {row['question']}\nA: Let's think step by step."
    write(tmp_path / "test.jsonl", [{"question": "x"}])
    with pytest.raises(UserError, match="line 1"):
        GSM8K(path=str(tmp_path), num_fewshot=0).load()
    with pytest.raises(UserError, match=r"task\.path"):
        GSM8K(path=str(tmp_path), split="train")


def test_shots(small):
    """Solved training questions stand before the question, targets whole; a question keeps its own in every subset."""
    questions = GSM8K(path=str(small), num_fewshot=2).load()
    for i, q in enumerate(questions):
        *shots, asked = q.prompt.split("\n\n")
        assert asked == f"Question: {q.question}\nAnswer:" and q.question == f"Q{i}?" and len(shots) == 2
        assert all(s.startswith("Question: Q") and "\nAnswer: 1+" in s and "<<" in s and "\n#### " in s for s in shots)
    assert len({q.prompt.rpartition("\n\n")[0] for q in questions}) > 1
    by_id = {q.id: q for q in questions}
    assert [by_id[q.id] for q in GSM8K(path=str(small), num_fewshot=2, limit=3, subset_seed=1).load()] == subset(
        questions, 3, 1
    )
    assert questions != GSM8K(path=str(small), num_fewshot=2, fewshot_seed=5).load()
    zero = GSM8K(path=str(small), num_fewshot=0)
    none = GSM8K(path=str(small), shots="none")
    assert (
        [q.prompt for q in none.load()]
        == [q.prompt for q in zero.load()]
        == [q.prompt.rpartition("\n\n")[2] for q in questions]
    )
    assert none.identity() == zero.identity() != GSM8K(path=str(small)).identity()
    elsewhere = write(small / "mine.jsonl", [{"question": "S?", "answer": "#### 1"}])
    assert (
        GSM8K(path=str(small), num_fewshot=1, fewshot_path=str(elsewhere))
        .load()[0]
        .prompt.startswith("Question: S?\nAnswer: #### 1\n\n")
    )


def test_shots_as_turns(small):
    """The examples of `turn`, in the same order and with the same flat text, but each a user turn and an assistant
    turn."""
    questions, flat = (GSM8K(path=str(small), num_fewshot=3, shots=shots).load() for shots in ("turns", "turn"))
    for q, other in zip(questions, flat, strict=True):
        assert len(q.turns) == 7 and other.turns == () and q.prompt == other.prompt
        *shots, asked = q.turns
        pairs = zip(shots[::2], shots[1::2], strict=True)
        assert q.prompt == "".join(f"{user} {assistant}\n\n" for user, assistant in pairs) + asked
        assert asked == f"Question: {q.question}\nAnswer:" and all(text == text.strip() for text in q.turns)
    assert questions_sha256(questions) != questions_sha256(flat)
    assert [q.turns for q in GSM8K(path=str(small), num_fewshot=0, shots="turns").load()] == [()] * 6
    turns, turn, none = (GSM8K(path=str(small), shots=shots).identity() for shots in ("turns", "turn", "none"))
    assert turns == {**turn, "shots": "turns"} and "shots" not in turn
    assert GSM8K(path=str(small), num_fewshot=0, shots="turns").identity() == none


@pytest.mark.parametrize("task", [GSM8K, GSM8KCoT])
def test_the_training_split_of_any_split(small, task):
    found = task(path=str(small), limit=1, subset_seed=2).training(3)
    assert [(q.id, q.question) for q in found] == [(f"gsm8k-train-{i:05d}", f"Q{6 + i}?") for i in range(3)]
    assert all(q.prompt.count("Q") < 4 and q.target == str(7 + i) for i, q in enumerate(found))
    with pytest.raises(UserError, match="no training split"):
        task(path=str(small / "test.jsonl")).training(3)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_fewshot": 13}, ["task.num_fewshot=13", "12 examples"]),
        ({"num_fewshot": 10, "split": "train"}, ["task.num_fewshot=10", "9 examples"]),
        ({"fewshot_path": "nowhere.jsonl"}, ["task.num_fewshot=5", "nowhere.jsonl", "task.num_fewshot=0"]),
        ({"shots": "some"}, ["task.shots=some", "turn, turns, none"]),
        ({"num_fewshot": -1}, ["task.num_fewshot=-1"]),
    ],
)
def test_shots_that_cannot_be(small, keys, said):
    with pytest.raises(UserError) as error:
        GSM8K(path=str(small), **keys).load()
    assert all(part in str(error.value) for part in said)


def test_a_lone_file_has_no_training_split(small):
    (small / "train.jsonl").unlink()
    with pytest.raises(UserError, match=r"train\.jsonl is not there: give task\.fewshot_path"):
        GSM8K(path=str(small / "test.jsonl"))


def harness_task(folder: Path, cache: Path, **changes):
    """The harness's own gsm8k task, reading local files."""
    lm_eval = pytest.importorskip("lm_eval")
    yaml = pytest.importorskip("yaml")
    from lm_eval.api.task import ConfigurableTask

    config = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml").read_text())
    del config["dataset_name"]
    files = {
        "data_files": {split: str(folder / f"{split}.jsonl") for split in ("train", "test")},
        "cache_dir": str(cache),
    }
    return ConfigurableTask(config=config | {"dataset_path": "json", "dataset_kwargs": files} | changes)


def asked(task, limit: int | None = None) -> list[str]:
    """The prompts that the harness builds with its default seed."""
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=limit)
    return [request.args[0] for request in task.instances]


def test_prompts_equal_the_harness(small, quiet_home):
    assert asked(harness_task(small, quiet_home)) == [q.prompt for q in GSM8K(path=str(small)).load()]
    # asking the split that the shots come from: the question is taken out of its shots, also where it is there several
    # times
    for n in (5, 8):
        own = asked(harness_task(small, quiet_home, test_split="train", num_fewshot=n))
        assert own == [q.prompt for q in GSM8K(path=str(small), split="train", num_fewshot=n).load()]


def conversations(task) -> list[list[tuple[str, str]]]:
    """The messages that the harness builds with --apply_chat_template and --fewshot_as_multiturn."""
    task.set_fewshot_seed(1234)
    task.build_all_requests(
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=lambda messages, add_generation_prompt: json.dumps([(m["role"], m["content"]) for m in messages]),
        tokenizer_name="",
    )
    return [[(role, text) for role, text in json.loads(request.args[0])] for request in task.instances]


def spoken(questions) -> list[list[tuple[str, str]]]:
    return [[("assistant" if i % 2 else "user", text) for i, text in enumerate(q.turns)] for q in questions]


def test_turns_equal_the_harness(small, quiet_home):
    assert conversations(harness_task(small, quiet_home)) == spoken(GSM8K(path=str(small), shots="turns").load())


@pytest.mark.slow
@needs_gsm8k
def test_real_turns_equal_the_harness(quiet_home):
    """And nothing in them has white space around it, which LLaDA's template would strip."""
    questions = GSM8K(path=str(REAL), shots="turns").load()
    assert conversations(harness_task(REAL, quiet_home)) == spoken(questions)
    assert all(text == text.strip() for q in questions for text in q.turns)


@pytest.mark.slow
@needs_gsm8k
def test_real_prompts_equal_the_harness(quiet_home):
    """Question by question over the whole test set, shots and all; and the stop strings."""
    task = harness_task(REAL, quiet_home)
    mine = GSM8K(path=str(REAL))
    assert asked(task) == [q.prompt for q in mine.load()]
    assert task.config.generation_kwargs["until"] == mine.stop and task.config.num_fewshot == mine.num_fewshot


def test_zero_shot_prompts_equal_the_harness():
    lm_eval = pytest.importorskip("lm_eval")
    yaml = pytest.importorskip("yaml")

    class Loader(yaml.SafeLoader):
        """Reads what the harness's files say of functions as plain words."""

    Loader.add_constructor("!function", lambda loader, node: node.value)
    folder = Path(lm_eval.__file__).parent / "tasks"
    files = {"gsm8k/gsm8k-cot-zeroshot.yaml": GSM8KCoT(), "hendrycks_math/hendrycks_math_algebra.yaml": Math500()}
    for name, mine in files.items():
        config = yaml.load((folder / name).read_text(), Loader)
        field = "problem" if isinstance(mine, Math500) else "question"
        assert config["doc_to_text"].replace("{{" + field + "}}", "{question}") == mine.prompt
        assert config["generation_kwargs"]["until"] == mine.stop and config.get("num_fewshot", 0) == 0
        assert mine.identity()["protocol"].endswith(f" {int(config['metadata']['version'])}")
    hub = yaml.load((folder / "hendrycks_math" / "hendrycks_math500.yaml").read_text(), Loader)
    assert hub["dataset_path"] == Math500().dataset


def test_math500_from_a_file(tmp_path):
    rows = [
        {"problem": "P?", "answer": "2"},
        {"problem": "{question}", "answer": "x", "solution": "So $\\boxed{\\frac12}$."},
    ]
    first, second = Math500(path=str(write(tmp_path / "math.jsonl", rows))).load()
    assert (first.id, first.prompt, first.target, first.solution) == (
        "math500-test-00000",
        "Problem: P?\nAnswer:",
        "2",
        "2",
    )
    assert second.target == "\\frac12" and second.prompt == "Problem: {question}\nAnswer:"


def test_questions_of_ones_own(tmp_path):
    rows = [{"q": "Capital of France?", "a": "Paris"}, {"q": "2+2?", "a": "2+2=4. So: [4]", "id": "sum"}]
    keys = {"question_field": "q", "answer_field": "a", "pattern": r"\[(.+?)\]", "prompt": "{question} In brackets:"}
    task = JsonlTask(path=str(write(tmp_path / "own.jsonl", rows)), **keys)
    first, second = task.load()
    assert (first.id, first.target, second.id, second.target) == ("jsonl-00000", "Paris", "sum", "4")
    assert first.prompt == "Capital of France? In brackets:"
    assert task.extract("[Rome] or [paris]") == {"strict": "Rome", "flexible": "paris"}
    assert task.matches("paris", "Paris") and not task.matches("Rome", "Paris")
    assert task.extract("Paris") == {"strict": "[invalid]", "flexible": "[invalid]"}
    whole = JsonlTask(path=task.path, question_field="q", answer_field="a", pattern=r"\d+")
    assert whole.extract("1 and 2") == {"strict": "1", "flexible": "2"}
    with pytest.raises(UserError, match=r"line 1 is not \{\"question\": …, \"answer\": …\}"):
        JsonlTask(path=task.path).load()
    with pytest.raises(UserError, match=r"task\.pattern=\("):
        JsonlTask(path=task.path, pattern="(")
    with pytest.raises(UserError, match=r"task\.pattern=.* is not a regular expression"):
        JsonlTask(path=task.path, pattern="(" * 3000 + ")" * 3000)
    for far in (r"(?:a{9999}){9999}", r"(\)[)]{9999}b){99}", r"((a{100}){100}){100}"):
        with pytest.raises(UserError, match="repeats what it repeats, more than 100,000 times"):
            JsonlTask(path=task.path, pattern=far)
    for near in (
        r"a{9999}|b{9999}",
        r"(a{300}){300}",
        r"(?:a{0,9999}){0,9999}",
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ):
        JsonlTask(path=task.path, pattern=near)
    with pytest.raises(UserError, match=r"line 1: task\.pattern finds an empty answer in \"a\""):
        JsonlTask(path=task.path, question_field="q", answer_field="a", pattern=r"(z*)").load()

    with pytest.raises(UserError, match='line 2 has the id "sum", as line 1 does'):
        JsonlTask(path=str(write(tmp_path / "twice.jsonl", [rows[1], rows[1]])), **keys).load()
    with pytest.raises(UserError, match=r"task\.path=nowhere\.jsonl cannot be read"):
        JsonlTask(path="nowhere.jsonl").load()
    with pytest.raises(UserError, match="is empty"):
        JsonlTask(path=str(write(tmp_path / "empty.jsonl", []))).load()


def test_a_pattern_that_goes_back_for_ever(tmp_path, monkeypatch):
    """In a question file, where nothing is loaded yet, and in a response."""
    from warmexp.tasks import jsonl

    monkeypatch.setattr(jsonl, "PATIENCE", 0.2)
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "?", "answer": "a" * 60 + "!"}), encoding="utf-8")
    task = JsonlTask(path=str(path), pattern="(a|aa)+$")
    for look in (task.load, lambda: task.extract("a" * 60 + "!")):
        with pytest.raises(UserError, match=r"task\.pattern=\(a\|aa\)\+\$ looks at a text of 61 characters"):
            look()
    assert task.extract("aaa") == {"strict": "a", "flexible": "a"}


def test_text_behind_the_end_is_scored_apart(checkpoint, quiet_home, monkeypatch):
    """A canvas whose first end token is followed by another answer: the main scores read what stands before it, the
    uncut pair all of it up to a stop string. Where a stop string is a special token, the uncut text stops there too."""
    import warmexp.runs.run as module
    from tests.checkpoints import EOS
    from warmexp.decode.batch import Decoded

    words = [
        "backbone=checkpoint",
        f"backbone.path={checkpoint}",
        "length.canvas_length=8",
        "length.block_length=8",
        "tau=0.01",
    ]
    plan = planned([*words, "task.limit=2", "device=cpu", "task.stop=['Question:','<|eot_id|>']"])
    tokenizer = plan.backbone.tokenizer
    answer, other = (plan.questions[0].target, "77") if plan.questions[0].target != "77" else ("77", "78")
    real = module.stream

    def canvas(backbone, questions, *rest):
        done = real(backbone, questions, *rest)
        texts = {q.id: f" #### {answer}" for q in plan.questions}
        spelled = {i: tokenizer.encode(text) for i, text in texts.items()}
        behind = [EOS, *tokenizer.encode(f"\n#### {other}"), EOT, *tokenizer.encode(" 99 Question: 5")]
        return (Decoded(**{**vars(d), "ids": (*spelled[d.id], *behind)}) for d in done)

    monkeypatch.setattr(module, "stream", canvas)
    summary = run(plan, say=lambda _: None)
    record = read_lines(plan.folder / "records.jsonl")[0]
    assert record["response"] == f" #### {answer}" and record["response_uncut"] == f" #### {answer}\n#### {other}"
    assert record["extracted"] == {
        "strict": answer,
        "flexible": answer,
        "strict_uncut": answer,
        "flexible_uncut": other,
    }
    assert record["correct"] == {"strict": True, "flexible": True, "strict_uncut": True, "flexible_uncut": False}
    assert record["response_tokens"] == len(f" #### {answer}")
    assert (
        summary["accuracy_flexible"] >= 0.5
        and summary["accuracy_flexible_uncut"] == 0
        and len(summary["accuracy_strict_uncut_ci95"]) == 2
    )


def test_the_questions_are_recorded_and_populations_kept_apart(small, quiet_home, monkeypatch):
    """The run folder names its questions before anything is decoded, and a table or a picture of runs on different ones
    says so."""
    folders = []
    for words in (["task.limit=3", "task.subset_seed=0"], []):
        plan = planned(["task=gsm8k", f"task.path={small}", "task.num_fewshot=0", "length.block_length=16", *words])
        run(plan, say=lambda _: None)
        kept = json.loads((plan.folder / "questions.json").read_text())
        assert (
            kept["ids"]
            == [q.id for q in plan.questions]
            == [r["id"] for r in read_lines(plan.folder / "records.jsonl")]
        )
        assert kept["sha256"] == json.loads((plan.folder / "summary.json").read_text())["questions_sha256"]
        folders.append(plan.folder)
    points = [load_point(folder) for folder in folders]
    pooled = analyse(points, pooled=True)
    assert "2 different sets of questions" in markdown(pooled) and "different" not in markdown(analyse(points[:1]))
    titles: list[str] = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda _, text, **__: titles.append(text))
    front_picture(pooled, quiet_home / "front.png")
    assert "2 different sets of questions" in titles[0] and "n = 3, 6" in titles[0]


def test_shots_too_long_for_the_backbone(small, quiet_home):
    """One sentence that names the key, before weights are loaded."""
    rows = [{"question": "How many pens are there in the box? " * 20, "answer": "#### 5"}] * 8
    write(small / "train.jsonl", rows)
    with pytest.raises(UserError, match=r"max_sequence_length=1024.*task\.num_fewshot=0 leaves them out"):
        planned(["task=gsm8k", f"task.path={small}"])


def test_turns_need_a_backbone_that_has_them(quiet_home, small):
    with pytest.raises(
        UserError, match=r"task\.shots=turns needs a chat template, and backbone\.template='\{prompt\}'"
    ):
        planned(["task=gsm8k", f"task.path={small}", "task.shots=turns"])
    assert planned(["task=gsm8k", f"task.path={small}", "task.shots=turns", "task.num_fewshot=0"]).prompts


CHATTY = {"llada_8b": ("<|startoftext|>", "<|start_header_id|>", "<|end_header_id|>"), "dream_7b": ("<|im_start|>",)}


@pytest.mark.parametrize("option", CHATTY)
def test_turns_run_end_to_end(quiet_home, small, option):
    """A small checkpoint with the model's own special tokens; the prompts it decodes behind are the conversations."""
    folder, first = quiet_home / "small", VOCAB
    special = {token: first + i for i, token in enumerate(CHATTY[option])}
    if option == "llada_8b":
        write_checkpoint(folder)
        tokenizer = byte_tokenizer()
        tokenizer.add_special_tokens(list(special))
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        write_dream(folder)
        write_qwen2_files(folder, DREAM_SPECIAL | special)
    words = [
        f"backbone={option}",
        f"backbone.path={folder}",
        "backbone.dtype=float32",
        "device=cpu",
        "length.canvas_length=8",
    ]
    words += ["length.block_length=8", "task=gsm8k", f"task.path={small}", "task.num_fewshot=2", "task.limit=2"]
    plan, turn = planned([*words, "task.shots=turns"]), planned([*words, "task.shots=turn"])
    turns = 7 if option == "dream_7b" else 6  # the system's, two examples of two, the question's and the answer's
    for q in plan.questions:
        ids, alone = plan.prompts[q.id], turn.prompts[q.id]
        assert ids.count(special[CHATTY[option][-1]]) == turns and ids.count(EOT) == turns - 1
        assert ids[0] == alone[0] == first and (option == "dream_7b" or ids.count(first) == 1)
    assert plan.run_id != turn.run_id and plan.identity["turns"] and "turns" not in turn.identity
    changed = planned([*words, "task.shots=turns", "backbone.template_turn_end='.'"])
    assert (
        changed.run_id != plan.run_id
        and changed.identity["backbone"] == plan.identity["backbone"] == turn.identity["backbone"]
    )
    summary = run(plan, say=lambda _: None)
    rows = read_lines(plan.folder / "records.jsonl")
    assert summary["n"] == len(rows) == 2 and [r["question"] for r in rows] == [q.prompt for q in plan.questions]
    assert all(r["token_forwards"] == r["nfe"] * (len(plan.prompts[r["id"]]) + 8) for r in rows), (
        "the conversation is what was read"
    )
    run(turn, say=lambda _: None)
    others = read_lines(turn.folder / "records.jsonl")
    assert all(a["prompt_sha256"] != b["prompt_sha256"] for a, b in zip(rows, others, strict=True))


WAYS = {
    "cold": ["task=gsm8k", "task.num_fewshot=0", "init=mask"],
    "injected": ["task=gsm8k", "task.shots=none", "init=token_inject", "remask=linear", "proposer=lab_weak"],
    "soft": ["task=gsm8k_cot", "init=embed_interp", "init.duration=masked", "proposer=lab_weak"],
    "train": ["task=gsm8k", "task.split=train", "task.num_fewshot=0"],
    "own": ["task=jsonl", r"task.pattern='####\s*(-?[\d,]+)'"],
    "math": ["task=math500"],
}


@needs_gsm8k
@pytest.mark.parametrize("way", WAYS)
def test_real_questions_run_end_to_end(quiet_home, way):
    """The lab's models on real GSM8K through every task: garbage answers, sound records."""
    path = REAL
    if way == "own":
        path = REAL / "test.jsonl"
    if way == "math":  # GSM8K's questions in MATH's form
        rows = [json.loads(line) for line in (REAL / "test.jsonl").read_text(encoding="utf-8").splitlines()[:40]]
        path = write(
            quiet_home / "math.jsonl",
            [{"problem": r["question"], "answer": r["answer"].rpartition("#### ")[2]} for r in rows],
        )
    plan = planned([*WAYS[way], f"task.path={path}", "task.limit=3", "task.subset_seed=0", "batch_size=2"])
    summary = run(plan, say=lambda _: None)
    rows = read_lines(plan.folder / "records.jsonl")
    assert summary["n"] == len(rows) == 3 and summary["nfe_mean"] >= 1
    for name in ("strict", "flexible", "strict_uncut", "flexible_uncut"):
        assert 0 <= summary[f"accuracy_{name}"] <= 1
        assert all(isinstance(r["correct"][name], bool) and isinstance(r["extracted"][name], str) for r in rows)
    for r, q in zip(rows, plan.questions, strict=True):
        assert (
            r["question"] == q.prompt
            and r["target"] == q.target
            and r["response_uncut"].startswith(r["response"].rstrip("\ufffd"))
        )
        assert len(q.target) < 12 and q.target.replace(",", "").replace(".", "").lstrip("-").isdigit()


@needs_gsm8k
def test_the_real_test_set_is_whole():
    questions = GSM8K(path=str(REAL)).load()
    assert len(questions) == 1319 and questions[0].target == "18"
    assert all(q.target.replace(",", "").lstrip("-").replace(".", "").isdigit() for q in questions)
    assert questions[0].prompt.count("\n#### ") == 5
    assert {q.id for q in GSM8K(path=str(REAL), limit=128, subset_seed=0).load()} < {q.id for q in questions}
