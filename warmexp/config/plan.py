"""From a composed Hydra configuration to a plan: every check that needs no weights, and the run's identity.

The identity is a hash of what changes records (models, revisions, questions, method, seed) and of nothing else (device,
batch size, paths, tracker), so the same experiment has the same run folder wherever and however it is run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from warmexp.config.devices import available_devices, written
from warmexp.config.instantiate import parts
from warmexp.config.keys import (
    BASELINE,
    ENDPOINTS,
    ENGINES,
    GROUPS,
    LISTS,
    METHODS,
    PLAIN,
    SHARED,
    STRATEGIES,
    STUDY,
    TOP,
    baseline_of,
    endpoint_of,
    keys_read,
    options,
    readers,
    resolved,
)
from warmexp.config.plugins import source_sha256
from warmexp.decode.strategy import Setup, Strategies
from warmexp.errors import UserError, check_choice, check_range, closest
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.graphs import check_graphs
from warmexp.models.quantization import check_engine
from warmexp.proposers.proposal import Proposer
from warmexp.secrets import clean_text, is_secret
from warmexp.tasks.task import Task, TaskQuestion
from warmexp.tasks.texts import TaskTexts

# Raised when records change meaning, so that old folders are not taken for new ones.
RECORD_FORMAT = 2
_EXAMPLES = {
    "device": "such as cpu or cuda:0",
    "engine": f"of {', '.join(ENGINES)}",
    "outputs": "that names a folder",
}
_FOLDER = re.compile(r"[\w=+-][\w.,=+-]*")
_SELECTOR = re.compile(r"[\w.]+=\S+")


@dataclass
class Plan:
    """A run, checked and ready: everything is built but no weights are loaded.

    config: the resolved configuration, as stored in the run folder. warnings: sentences for the user. devices: where
    questions are decoded, a process for each where they are several; device: the first of them, where proposals are
    made.
    """

    backbone: Checkpoint
    proposer: Proposer
    strategies: Strategies
    task: Task
    tracker: Any
    questions: list[TaskQuestion]
    prompts: dict[str, tuple[int, ...]]
    seed: int
    device: str
    batch_size: int
    engine: str
    share: bool | str
    outputs: Path
    choices: dict[str, str]
    config: dict[str, Any]
    identity: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    devices: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        """Readable method names and a hash of the identity."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:10]
        names = [self.choices["task"], self.choices["init"]]
        if self.strategies.init.reads_proposal:
            names.append(self.choices["proposer"])
        if self.choices["remask"] != "none":
            names.append(self.choices["remask"])
        return "-".join([*names, digest])

    @property
    def folder(self) -> Path:
        return self.outputs / self.run_id

    @property
    def shares(self) -> bool:
        """Whether forwards are taken from and put into the process's memory (decode/memory.py)."""
        wanted = self.device == "cpu" if self.share == "auto" else self.share
        depends = self.strategies.cache.keeps or self.strategies.attention.sparse  # on the forwards before
        return bool(wanted) and self.engine == "fast" and not depends

    @property
    def oracle(self) -> bool:
        return self.strategies.init.reads_proposal and self.proposer.oracle


def plan(
    cfg: DictConfig,
    choices: dict[str, str],
    multirun: bool = False,
    once: Callable[[Hashable, Callable[[], Any]], Any] = lambda key, make: make(),
) -> Plan:
    """Check a composed configuration and build what it names.

    multirun: in a sweep, a key that the chosen groups do not read is a warning (the runs are identical and fold into
    one). once: what is made under a key, which plans of one study may share: models, questions, and what tells them
    from others.
    Raises:
        UserError: one sentence that names the key, the value and the remedy.
    """
    choices, warnings, config, built, strategies, devices = _alone(cfg, choices, multirun, once)
    told = _told(config)
    backbone, task = built["backbone"], built["task"]
    if not strategies.init.reads_proposal:
        choices["proposer"] = "none"
    proposer, proposer_identity = built["proposer"], None
    canvas_length = strategies.length.canvas_length
    if strategies.init.reads_proposal:
        bound = partial(_bound, proposer, backbone, canvas_length, task)
        proposer, proposer_identity = once((canvas_length, *told.values()), bound)
        if not strategies.init.reads_likely:  # then it changes no result
            proposer_identity = {name: value for name, value in proposer_identity.items() if name != "likely"}
    for one in strategies:
        one.bind(TaskTexts(backbone, task), canvas_length)
    asked = (canvas_length, told["backbone"], told["task"])
    questions, questions_hash, prompts = once(asked, partial(_questions, backbone, canvas_length, task))
    conversations = any(q.turns for q in questions)
    if strategies.init.tells:
        _check_room(backbone, strategies, prompts, choices)
    if strategies.guide.most_positions is not None:
        _check_guide(strategies.guide.most_positions, backbone, strategies, prompts, choices)
    identity = {
        "format": RECORD_FORMAT,
        "backbone": once(("identity", told["backbone"]), backbone.identity),
        "proposer": proposer_identity,
        **{name: _identity_of(getattr(strategies, name)) for name in STRATEGIES},
        **({"evidence": [_identity_of(one) for one in strategies.evidence]} if strategies.evidence else {}),
        **({"schedule": _identity_of(strategies.schedule)} if choices["schedule"] != "blocks" else {}),
        **({"anchor": _identity_of(strategies.anchor)} if strategies.anchor.moves else {}),
        **({"feed": _identity_of(strategies.feed)} if strategies.feed.feeds else {}),
        **({"draft": _identity_of(strategies.draft)} if strategies.draft.several else {}),
        **({"ensemble": _identity_of(strategies.ensemble)} if strategies.ensemble.several else {}),
        **({"watch": _identity_of(strategies.watch)} if strategies.watch.looks else {}),
        **({"attention": _identity_of(strategies.attention)} if strategies.attention.sparse else {}),
        **({"guide": _identity_of(strategies.guide)} if strategies.guide.guides else {}),
        **(
            {"sampling": "splitmix64"} if strategies.unmask.temperature > 0 else {}
        ),  # runs of other draws have no such entry
        "task": task.identity(),
        "questions": questions_hash,
        "seed": int(cfg.seed),
        **({"turns": [backbone.template_start, backbone.template_turn_end]} if conversations else {}),
    }
    config["device"] = written(cfg.device)
    return Plan(
        backbone=backbone,
        proposer=proposer,
        strategies=strategies,
        task=task,
        tracker=built["tracker"],
        questions=questions,
        prompts=prompts,
        seed=int(cfg.seed),
        device=devices[0],
        devices=devices,
        batch_size=int(cfg.batch_size),
        engine=str(cfg.engine),
        share=cfg.share,
        outputs=Path(str(cfg.outputs)).expanduser(),
        choices=choices,
        config={**config, "choices": choices},
        identity=identity,
        warnings=warnings,
    )


def check(cfg: DictConfig, choices: dict[str, str], multirun: bool = False, backbone: bool = True) -> None:
    """Refuse a composed configuration that no run can be made of, as far as it can be seen without models and
    questions: nothing is downloaded.

    backbone: whether it is here, so that its config.json can be looked at.
    Raises:
        UserError: as `plan`.
    """
    _alone(cfg, choices, multirun, lambda key, make: make(), backbone)


_Alone = tuple[dict[str, str], list[str], dict[str, Any], dict[str, Any], Strategies, tuple[str, ...]]


def _told(config: dict[str, Any]) -> dict[str, Hashable]:
    return {group: (group, repr(config[group])) for group in ("backbone", "proposer", "task")}


def _alone(
    cfg: DictConfig,
    choices: dict[str, str],
    multirun: bool,
    once: Callable[[Hashable, Callable[[], Any]], Any],
    backbone: bool = True,
) -> _Alone:
    """What a configuration says by itself: the choices, warnings, its values, what they build, the methods, devices."""
    choices = {group: str(choices.get(group) or "none") for group in GROUPS}
    choices |= {group: _listed(cfg.get(group)) for group in LISTS}
    warnings: list[str] = []
    _check_keys(cfg)
    for complaint in _unread(cfg, choices):
        if not multirun:
            raise UserError(complaint)
        warnings.append(complaint)
    config = resolved(cfg)
    config.pop("hydra", None)
    built, told = parts(config, GROUPS), _told(config)
    for group in ("backbone", "task"):
        built[group] = once(told[group], partial(built.get, group))
    strategies = Strategies(**{name: built[name] for name in METHODS})
    vacuous = _check_methods(built if backbone else {**built, "backbone": None}, choices)
    if vacuous:
        if not multirun:
            raise UserError(vacuous)
        warnings.append(vacuous)
        choices["remask"] = "none"
        from warmexp.methods.remask.none import NoRemask

        strategies = dataclasses.replace(strategies, remask=NoRemask())
    devices = available_devices(cfg.device)
    check_engine(built["backbone"].quantization, cfg.engine)
    if cfg.engine == "graphs":
        check_graphs(devices[0])
        if not strategies.cache.keeps:
            warnings.append(
                f"engine=graphs records forwards beside a cache and cache={choices['cache']} keeps nothing: it"
                " changes nothing here."
            )
    return choices, warnings, config, built, strategies, devices


def _bound(proposer: Proposer, backbone: Checkpoint, canvas_length: int, task: Task) -> tuple[Proposer, dict[str, Any]]:
    """A proposer that knows whom it is asked for, and its identity."""
    proposer.bind(backbone, canvas_length, task)
    return proposer, _proposer_identity(proposer)


def _questions(
    backbone: Checkpoint, canvas_length: int, task: Task
) -> tuple[list[TaskQuestion], str, dict[str, tuple[int, ...]]]:
    """A task's questions, a hash of them, and their prompts as tokens by id."""
    questions = task.load()
    _check_ids(questions)
    if any(q.turns for q in questions):
        backbone.check_turns()
    sha256 = questions_sha256(questions)
    return questions, sha256, _prompts(backbone, canvas_length, questions, sha256)


def _check_ids(questions: list[TaskQuestion]) -> None:
    """An id names its question everywhere and is never changed, so a secret cannot be taken out of it."""
    if not is_secret("\n".join(q.id for q in questions)):
        return
    for number, question in enumerate(questions, 1):
        if is_secret(question.id):
            raise UserError(
                f"the id of question {number} looks like a secret ({clean_text(question.id)}): give it another id."
            )


def questions_sha256(questions: list[TaskQuestion]) -> str:
    """A hash of ids, prompts (with their turns) and targets: two runs with the same value are on the same questions."""
    rows = [[q.id, q.prompt, q.target, *([q.turns] if q.turns else [])] for q in questions]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:16]


def _check_keys(cfg: DictConfig) -> None:
    known = (*TOP, "hydra")
    for key in cfg:
        if key not in known:
            raise UserError(f"{key} is not a key of the configuration{closest(str(key), known)}; --help lists them.")
    for group in LISTS:
        if not isinstance(cfg.get(group), DictConfig):
            raise UserError(
                f"{group}={cfg.get(group)} is not a list: write {group}=[] or {group}=[{','.join(options(group)[:2])}]."
            )
    for group in set(GROUPS) - set(LISTS):
        node = cfg._get_node(group)
        if isinstance(node, DictConfig) and isinstance(node._value(), dict):  # neither missing, null nor a reference
            continue
        if OmegaConf.is_missing(cfg, group) or not isinstance(cfg.get(group), DictConfig):
            raise UserError(f"{group}={cfg.get(group)} is not an option: choose one of {', '.join(options(group))}.")
    for key in SHARED:
        value = cfg[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            many = (
                f"; several values are a study, -m {key}={','.join(map(str, value))}"
                if isinstance(value, ListConfig)
                else ""
            )
            raise UserError(f"{key}={value} is not a number: write one such as {key}=0.5{many}.")
    for key, kind in PLAIN.items():
        value = cfg[key]
        if isinstance(value, bool) or not isinstance(value, kind):
            wanted, example = ("a whole number", "such as 1") if kind is int else ("a word", _EXAMPLES[key])
            raise UserError(f"{key}={value} is not {wanted}: write one {example}.")
    _check_study(cfg.study)
    check_choice("engine", cfg.engine, ENGINES)
    if cfg.share != "auto" and not isinstance(cfg.share, bool):
        raise UserError(
            f"share={cfg.share} is not one of auto, true, false: whether jobs of one process share forwards."
        )
    check_range("batch_size", cfg.batch_size, 1, 2**20, "the number of questions decoded together")
    if not str(cfg.outputs).strip():
        raise UserError("outputs= names no folder: write outputs=FOLDER, or leave it out.")
    check_range("seed", cfg.seed, 0, 2**63 - 1, "the key of every random draw")


def _check_study(study: Any) -> None:
    if not isinstance(study, DictConfig):
        raise UserError(f"study={study}: study has keys of its own, {', '.join(STUDY)}: write study.name={study}.")
    for key, value in study.items():
        if key not in STUDY:
            raise UserError(f"study.{key} is not a key of study{closest(str(key), STUDY)}; it has {', '.join(STUDY)}.")
        if key == "baseline" and isinstance(value, ListConfig) and all(isinstance(way, str) for way in value):
            continue
        if key == "margin" and value is not None:
            check_range(
                "study.margin",
                value,
                0.0,
                1.0,
                "how much accuracy may be lost, as a share of the questions",
                open_low=True,
            )
            continue
        if value is not None and not isinstance(value, str):
            raise UserError(f"study.{key}={value} is not a word.")
    check_choice("study.endpoint", endpoint_of(study), tuple(ENDPOINTS))
    if study.name is not None and not _FOLDER.fullmatch(study.name):
        raise UserError(
            f"study.name={study.name} cannot name a folder: use letters, digits and . , _ = + - (not first a dot)."
        )
    _check_baseline(baseline_of(study))


@lru_cache(maxsize=64)  # options are listed anew for every check, and a study has one baseline
def _check_baseline(selectors: str) -> None:
    for word in selectors.replace("|", " ").split():
        if not _SELECTOR.fullmatch(word):
            raise UserError(f"study.baseline: '{word}' selects no run: write words key=value, such as {BASELINE}.")
        key, _, value = word.partition("=")
        for one in value.split(",") if key in GROUPS else ():
            check_choice(f"study.baseline: {key}", one, options(key))


def _unread(cfg: DictConfig, choices: dict[str, str]) -> list[str]:
    """A sentence per shared key that was given and that no chosen group reads."""
    read = keys_read(cfg)
    return [
        f"{key}={cfg[key]} is read by {readers(key)} and by nothing chosen here ({_chosen(key, choices)}): drop it or"
        " choose that."
        for key in SHARED
        if cfg[key] is not None and key not in read
    ]


def _chosen(key: str, choices: dict[str, str]) -> str:
    groups = dict.fromkeys(reader.split("=")[0] for reader in readers(key).split(", "))
    return ", ".join(f"{group}={choices.get(group)}" for group in groups)


def _check_methods(built: dict[str, Any], choices: dict[str, str]) -> str | None:
    """Impossible pairs raise, by each method's own word; the sentence that is returned tells of a method that could
    never do anything."""
    setup = Setup(built, choices, options)
    strategies = [one for name in METHODS for one in (built[name] if name in LISTS else (built[name],))]
    for one in strategies:
        one.check(setup)
    _ = Strategies(**{name: built[name] for name in METHODS}).columns  # two that remember under one name are refused
    return built["remask"].vacuous(setup)


def _listed(nodes: Any) -> str:
    """The options chosen of a group of which there can be several, as one word."""
    return "+".join(map(str, nodes)) if isinstance(nodes, DictConfig) and nodes else "none"


def _proposer_identity(proposer: Proposer) -> dict[str, Any]:
    calibration = {"calibration": proposer.calibrator.sha256} if proposer.calibrator else {}
    return {**proposer.identity(), "tail": proposer.tail, **calibration}


def _identity_of(strategy: Any) -> dict[str, Any]:
    source = source_sha256(type(strategy))
    return {"class": type(strategy).__name__, **strategy.identity(), **({"source": source} if source else {})}


# The questions of the last plan as tokens: the points of a study share them.
_encoded: dict[str, dict[str, tuple[int, ...]]] = {}


def _prompts(
    backbone: Checkpoint, canvas_length: int, questions: list[TaskQuestion], questions_hash: str
) -> dict[str, tuple[int, ...]]:
    """Prompt ids by question id, checked before weights are loaded."""
    prompts = _encode(backbone, questions, questions_hash)
    check_prompts(backbone, canvas_length, prompts)
    return prompts


def check_prompts(backbone: Checkpoint, canvas_length: int, prompts: Mapping[str, Sequence[int]]) -> None:
    """prompts: ids by question id.

    Raises:
        UserError: one is empty, or leaves no room for the canvas.
    """
    limit = backbone.config.max_sequence_length
    for question, ids in prompts.items():
        if len(ids) + canvas_length > limit:
            raise UserError(
                f"{question} has {len(ids)} prompt tokens; with length.canvas_length={canvas_length} that is more"
                f" than the backbone's max_sequence_length={limit}: choose a smaller canvas or a shorter prompt"
                " (where examples stand before the question, task.num_fewshot=0 leaves them out)."
            )
        if not ids:
            raise UserError(f"{question} has an empty prompt: check task.prompt and backbone.template.")


def _check_room(
    backbone: Checkpoint, strategies: Strategies, prompts: dict[str, tuple[int, ...]], choices: dict[str, str]
) -> None:
    """Room for what an init puts into the longest prompt."""
    limit, canvas = backbone.config.max_sequence_length, strategies.length.canvas_length
    more = strategies.init.longer(backbone.tokenizer, canvas)
    question, ids = max(prompts.items(), key=lambda item: len(item[1]))
    if len(ids) + more + canvas > limit:
        raise UserError(
            f"{question} has {len(ids)} prompt tokens, to which init={choices['init']} may add {more}; with"
            f" length.canvas_length={canvas} that is more than the backbone's max_sequence_length={limit}: choose a"
            " smaller canvas, shorter prompts or another init."
        )


def _check_guide(
    limit: int, backbone: Checkpoint, strategies: Strategies, prompts: dict[str, tuple[int, ...]],
    choices: dict[str, str],
) -> None:  # fmt: skip
    """Room for the longest prompt, what an init puts into it, and the canvas in what a guide reads."""
    canvas = strategies.length.canvas_length
    more = strategies.init.longer(backbone.tokenizer, canvas)
    question, ids = max(prompts.items(), key=lambda item: len(item[1]))
    if len(ids) + more + canvas > limit:
        added = f", to which init={choices['init']} may add {more}" if more else ""
        raise UserError(
            f"{question} has {len(ids)} prompt tokens{added}; with length.canvas_length={canvas} that is more than the"
            f" {limit} positions that guide={choices['guide']} reads: choose another guide.path, a smaller canvas"
            " or shorter prompts."
        )


def _encode(backbone: Checkpoint, questions: list[TaskQuestion], questions_hash: str) -> dict[str, tuple[int, ...]]:
    key = json.dumps([backbone.identity(), backbone.template_start, backbone.template_turn_end, questions_hash])
    if key not in _encoded:
        _encoded.clear()
        _encoded[key] = encoded(backbone, questions)
    return _encoded[key]


def encoded(backbone: Checkpoint, questions: list[TaskQuestion]) -> dict[str, tuple[int, ...]]:
    """Prompt ids by question id."""
    return {q.id: tuple(backbone.tokenizer.encode_turns(q.turns or (q.prompt,))) for q in questions}
