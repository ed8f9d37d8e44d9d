r"""The words of a command line: escapes in quoted texts, and one sentence with the words to type for whatever Hydra
would answer with a page of usage, with its grammar, or not at all."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from tests.config.test_bad_input import answer
from warmexp.api import planned
from warmexp.config import keys
from warmexp.config.quoting import escaped, quoted, unescaped
from warmexp.config.words import spread
from warmexp.decode import strategy
from warmexp.errors import UserError

QUOTED = "put the value in quotes as well"
# command line, as a shell takes it -> what the sentence must contain
WRONG = {
    "--tau 0.9": ["--tau is not an option", "tau=0.9"],
    "--init=mask": ["without dashes, init=mask"],
    "-tau 0.9": ["tau=0.9"],
    "--limit 5": ["task.limit=5"],
    "--model llada": ["backbone=llada"],
    "--gpus 4": ["device=cuda:all"],
    "--dryrun": ["did you mean '--dry-run'"],
    "--dry_run": ["did you mean '--dry-run'"],
    "--multirn tau=0.7,0.9": ["did you mean '--multirun'"],
    "-v": ["-v is not an option", "--help"],
    "--resolve": ["--resolve belongs to --cfg"],
    "hydra.sweeper='x y'": ["hydra.sweeper=x y is no sweeper", "hydra/sweeper=NAME"],
    "hydra.launcher=7": ["hydra.launcher=7 is no launcher"],
    "--cfg": ["--cfg takes job, hydra or all"],
    "--multirun=yes": ["--multirun/-m takes no value", "'yes'"],
    "~init": ["a run always has init", "choose one."],
    "~tracker": ["~tracker is refused", "tracker=none is a choice"],
    "-m ~study tau=0.5,0.7": ["~study is refused"],
    "task=gsm8k task.path=/nowhere.jsonl": ["task.path=/nowhere.jsonl does not exist"],
    "task=gsm8k task.path=/dev/null": ["task.path=/dev/null is no file"],
    "task=gsm8k task.path=/usr": ["task.path=/usr has no test.jsonl"],
    "--cfg jobb": ["'jobb'", "'hydra'"],
    "--cfg job --package nothere": ["--package nothere", "no part of the configuration"],
    "--config-name nothere": ["--config-name=nothere"],
    "sweep=smoke": ["write +sweep=smoke", "threshold"],
    "-m sweep=smoke": ["write +sweep=smoke"],
    "-m +sweep=smoke +sweep=demo": ["runs one study"],
    "smoke": ["smoke is a study", "+sweep=smoke"],
    "front": ["python -m warmexp.front"],
    "experiment=paper": ["paper/token_inject", "paper/baseline"],
    "experiment=paper/nothing": ["experiment=paper/nothing", "paper/token_inject"],
    "experiment=papr": ["paper/token_inject", "trusted"],
    "trusted": ["experiment=trusted"],
    "tau=0.7,0.9": ["tau=0.7,0.9 gives tau several values", "add -m"],
    "rho=0,5": ["add -m", "full stop, rho=0.5"],
    "evidence=credit,bonus": ["evidence=[credit,bonus]"],
    "evidence=[credt]": ["did you mean 'credit'", "apd, bonus, credit"],
    "evidence=[credit": ["[ is not closed"],
    "evidence=none": ["evidence=[]"],
    "hydra/launcher=slurm": ["hydra/launcher=slurm", "add -m"],
    "hydra/sweeper=optuna": ["hydra/sweeper=optuna is not supported", "hydra/sweeper=search"],
    "hydra/sweeper=search": ["hydra/sweeper=search", "add -m"],
    "tau = 0.9": ["write tau=0.9"],
    "tau= 0.9": ["write tau=0.9"],
    "tau: 0.9": ["write tau=0.9"],
    "tau:0.9": ["write tau=0.9"],
    "'tau=0.9;'": ["write tau=0.9"],
    "'tau=>0.9'": ["write tau=0.9"],
    "-m tau=0.7 0.9": ["tau=0.7,0.9"],
    "tau=0.9,": ["write tau=0.9"],
    "tau=[0.7,0.9]": ["not a number", "-m tau=0.7,0.9"],
    "init mask": ["write init=mask"],
    "init==mask": ["write init=mask"],
    "init=mask,": ["write init=mask"],
    "token_inject": ["write init=token_inject"],
    "'init=mask tau=0.9'": ["several words in one", "init=mask tau=0.9"],
    "init=mask,tau=0.9": ["several words in one"],
    "init@x=mask": ["without an @"],
    "INIT=mask": ["did you mean 'init'"],
    "method=mask": ["init=NAME"],
    "limit=10": ["task.limit="],
    "temperature=0.5": ["unmask.temperature="],
    "task.num_fewshot=3": ["task=gsm8k has it"],
    "task.limit=ten": ["task.limit='ten'", "a whole number"],
    "backbone=GSAI-ML/LLaDA-8B-Instruct": ["backbone=checkpoint backbone.path=GSAI-ML/LLaDA-8B-Instruct"],
    "device=0": ["cuda:0"],
    "outputs=": ["outputs= names no folder"],
    "study=foo": ["study.name=foo"],
    "~tau": ["tau=null"],
    "batch_size=0": ["[1, 1,048,576]"],
    "hydra.sweeper.grids=x": ["hydra.sweeper.grids=x", "a list is written"],
    "hydra.sweeper.n_trials=5": ["hydra.sweeper.n_trials", "--cfg hydra"],
    "'task.prompt=${question}'": ["${question}", "write {question}"],
    r"'task.prompt=Question: {question}\nAnswer:'": [QUOTED, r"""'task.prompt="Question: {question}\nAnswer:"'"""],
    "'task.prompt=hello, {question}'": [QUOTED, """'task.prompt="hello, {question}"'"""],
    r"'task.stop=[\n]'": [r"\n is an escape only within quotes", r"""'task.stop=["\n"]'"""],
    r"""'task.prompt="{question} \text{x}"'""": [r"\text", r"\\text"],
    r"task=jsonl 'task.pattern=answer is (\d+)'": [QUOTED, r"""'task.pattern="answer is (\d+)"'"""],
    "task=jsonl task.path=/data/my file.jsonl": ["""'task.path="/data/my file.jsonl"'"""],
    "backbone=checkpoint 'backbone.path=~/models/x'": ["""'backbone.path="~/models/x"'"""],
}


@pytest.mark.parametrize("line", WRONG)
def test_one_sentence_with_the_words_to_type(line, quiet_home, capsys, monkeypatch):
    status, said = answer(shlex.split(line), capsys, monkeypatch)
    assert status == 2
    assert said.startswith("warmexp: ") and said.count("\n") == 1, said
    for part in WRONG[line]:
        assert part in said, said


def test_the_words_that_are_proposed_are_understood():
    """What a sentence says to type is, for a shell and for Hydra, the text that was meant."""
    for word in (r"task.prompt=Q: {question}\nA:", 'task.prompt=say "{question}", please', "task.stop=[a b,c]"):
        (typed,) = shlex.split(quoted(word))
        assert typed.partition("=")[0] == word.partition("=")[0]
    assert shlex.split(quoted('a=say "x"')) == [r'a="say \"x\""']


def test_an_escape_in_quotes_is_read(quiet_home):
    """The project's own default prompt, quoted as Hydra asks, is the project's own default prompt."""
    (quiet_home / "q.jsonl").write_text(json.dumps({"question": "1+1?", "answer": "2"}) + "\n")
    words = ["task=jsonl", "task.path=q.jsonl"]
    own = planned(words)
    typed = planned([*words, r'task.prompt="Question: {question}\nAnswer:"'])
    assert typed.questions[0].prompt == "Question: 1+1?\nAnswer:" and typed.run_id == own.run_id
    assert planned([*words, r'task.stop=["\n\nQ:"]']).task.stop == ["\n\nQ:"]
    assert planned([*words, r'task.pattern="a\n(\d+)"']).task.pattern == r"a\n(\d+)"  # a regular expression reads it
    assert planned([*words, r'task.prompt="\\text{x} {question}"']).task.prompt == r"\text{x} {question}"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (r'p="a\nb"', 'p="a\nb"'),
        (r"p='a\tb'", "p='a\tb'"),
        (r'p="a\\nb"', r'p="a\nb"'),
        (r'p="\boxed{}"', r'p="\boxed{}"'),
        (r'p=["\n","x\n"],"\r"', 'p=["\n","x\n"],"\r"'),
        (r'p="say \"a\nb\""', 'p="say \\"a\nb\\""'),
        (r'task.pattern="\n"', r'task.pattern="\n"'),
        (r'task.path="C:\new"', r'task.path="C:\new"'),
        (r"p=a\nb", r"p=a\nb"),
    ],
)
def test_escapes(typed, read):
    assert unescaped(typed) == read
    assert unescaped(escaped(read)) == read  # a word that passes through a command line again stays what it is


def test_a_command_of_tex_is_no_tab():
    for command in (r"\theta", r"\nu", r"\rho", r"\text{a}"):
        with pytest.raises(UserError, match="TeX"):
            unescaped(f'task.prompt="{command} {{question}}"')


def test_an_escape_in_a_grid_is_read():
    from warmexp.studies.grids import grid_words

    assert grid_words(r"""'task.prompt="a\n{question}"' tau=0.7""", [], []) == [
        'task.prompt="a\n{question}"',
        "tau=0.7",
    ]


def test_options_stand_anywhere(quiet_home, capsys, monkeypatch):
    from warmexp.config.flags import in_order

    assert in_order(["init=mask", "-m", "tau=0.7,0.9"]) == ["-m", "init=mask", "tau=0.7,0.9"]
    assert in_order(["init=mask", "--cfg", "job", "-p", "init"]) == ["--cfg", "job", "-p", "init", "init=mask"]


def test_the_groups_are_those_of_the_seams():
    """config/keys.py names them without loading torch."""
    assert tuple(strategy.BASES) == keys.METHODS and keys.LISTS == strategy.LISTS


def test_a_package_that_cannot_be_imported_is_forgotten(monkeypatch):
    from warmexp.config.plugins import VARIABLE, roots, take_words

    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match="plugins=nothere"):
        take_words(["plugins=[nothere]"])
    assert roots() == []


@pytest.mark.parametrize("words", [["warmexp", "--help"], ["warmexp", "--cfg", "job"], ["warmexp.front", "--help"]])
def test_help_into_a_pipe_that_is_closed(words, quiet_home):
    """`| head` ends the command, without a traceback."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m "$@" | head -1', sys.executable, *words], capture_output=True, text=True, timeout=120
    )
    assert done.stderr == "" and done.stdout.count("\n") == 1


def test_the_version_is_ours(quiet_home, capsys, monkeypatch):
    from warmexp import __main__ as cli
    from warmexp import __version__

    monkeypatch.setattr(sys, "argv", ["warmexp", "--version"])
    cli.main()
    assert capsys.readouterr().out.startswith(f"warmexp {__version__}, Hydra ")


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"], ["--version"], ["--tau", "0.9"], ["init=foo"]])
def test_what_needs_no_model_loads_no_torch(words, quiet_home):
    """Help, completion and mistakes are answered at once."""
    code = (
        "import sys\nfrom warmexp.__main__ import main\n"
        f"sys.argv = ['warmexp', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'transformers', 'matplotlib', 'scipy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout[-300:] + done.stderr


def test_completion_needs_no_torch(quiet_home, monkeypatch):
    monkeypatch.setenv("COMP_LINE", "warmexp init=tok")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "warmexp", "-sc", "query=bash"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "init=token_inject" and " torch\n" not in done.stderr


def test_a_key_that_only_some_of_several_options_have(tmp_path):
    """Hydra would look for it in the option that is the default."""
    words = ["-m", "length=daedal,rho_eos", "length.initial=48", "tau=0.9", "task.limit=2"]
    assert spread(words) == ["-m", "length=daedal,rho_eos", "length.initial=choice(48)", "tau=0.9", "task.limit=2"]
    kept = ["-m", "length=fixed,eos_stop", "length.canvas_length=32", "guide.path=x", "proposer.likely=2"]
    assert spread(kept) == kept and spread(words[1:]) == words[1:]
    assert spread(["-m", "length=daedal,rho_eos", "length.initial="])[-1] == "length.initial=choice('')"
    found = subprocess.run(
        [sys.executable, "-m", "warmexp", *words, "--dry-run", f"outputs={tmp_path}"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "[2/2] length=rho_eos: 2 questions" in found.stdout
