"""How long the prompts of a run are: counted where its questions and the backbone's tokenizer are on this machine, else
assumed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from omegaconf import DictConfig, OmegaConf

from warmexp.config.instantiate import build
from warmexp.config.plan import encoded
from warmexp.models.hub import offline_if_unreachable
from warmexp.runs import needs

# Tokens of a prompt, on average and the longest: five solved examples of GSM8K before the question, or it alone.
_ASSUMED = {"shots": (900, 1500), "question": (150, 400)}


@dataclass(frozen=True)
class Prompts:
    """mean, longest: tokens. questions: how many there are, None where they were not counted. counted: whether all this
    was looked at."""

    mean: float
    longest: int
    questions: int | None = None

    @property
    def counted(self) -> bool:
        return self.questions is not None

    @property
    def said(self) -> str:
        how = f"counted, {self.questions} questions" if self.counted else "assumed"
        return f"prompts of {self.mean:.0f} tokens on average, {self.longest} at most ({how})"


def prompts_of(cfg: DictConfig) -> Prompts:
    """Of a composed configuration; nothing is fetched and no weights are read."""
    node = {key: OmegaConf.to_yaml(cfg[key], resolve=True) for key in ("backbone", "task")}
    try:
        found = _counted(node["backbone"], node["task"])
    except Exception:  # what is wrong with a model or a file is said elsewhere
        found = None
    shots = bool(cfg.task.get("num_fewshot")) and cfg.task.get("shots") != "none"
    return found or Prompts(*_ASSUMED["shots" if shots else "question"])


@lru_cache(maxsize=64)
def _counted(backbone: str, task: str) -> Prompts | None:
    model, asked = OmegaConf.create(backbone), OmegaConf.to_container(OmegaConf.create(task))
    place = needs.model("backbone.path", model.path, model.get("revision"))
    questions = needs.questions(asked)
    # Of a data set in the cache a part may be absent, which would be fetched.
    if not (place.here and questions.here) or (questions.key == "task.dataset" and not offline_if_unreachable()):
        return None
    if not str(model.path).startswith("lab:"):
        model.path, model.revision = str(place.place), None
    lengths = [len(ids) for ids in encoded(build("backbone", model), build("task", asked).load()).values()]
    return Prompts(sum(lengths) / len(lengths), max(lengths), len(lengths))
