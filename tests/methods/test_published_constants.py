"""The constants as they were published, in the classes and in the options' files: which paper or code has them is in the
docstrings."""

from __future__ import annotations

import pytest
import yaml

from warmexp.config.instantiate import build
from warmexp.config.keys import conf_dir

PUBLISHED = {
    "remask/wino": {"threshold": 0.9, "first": 30, "scope": "all"},
    "unmask/wino": {"tau": 0.6, "share": 0.7, "least": 5, "most": 20, "temperature": 0.0},
    "remask/t2m": {"score": "low_prob", "threshold": 0.5, "most": 5, "share": 0.25, "after": 16, "scope": "all"},
    "remask/t2m_readme": {"score": "low_prob", "threshold": 0.1, "most": 3},
    "remask/t2m_paper": {"score": "low_prob", "threshold": 0.5, "most": 1},
    "remask/joint_threshold": {"edit": 0.9, "after": 16, "scope": "all"},
    "remask/saber": {"least": 2, "scope": "all"},
    "unmask/saber": {"least": 2, "temperature": 0.0},
    "remask/rcr": {"scope": "all"},
    "remask/remdm": {"eta": 0.008, "t_on": 0.55, "t_off": 0.05, "alpha_on": 0.9, "scope": "all"},
    "remask/tolerator": {"rounds": 32, "start": 0.8, "end": 0.4, "repeats": 10, "temperature": 0.3, "scope": "all"},
    "watch/prophet": {"early": 7.5, "mid": 5.0, "late": 2.5, "kind": "strict"},
    "watch/temporal_vote": {"weights": "exp", "alpha": 11.0, "kind": "flexible"},
    "ensemble/hex": {"halvings": 5},
    "init/hints": {"least": 5, "most": 10, "stretch": 1.5, "rest": 30, "last": "free"},
    "init/scaffold": {"slot": 16},
    "evidence/credit": {"alpha": 0.7, "beta": 0.8, "gamma": 0.2},
}
IN_THE_FILE_ALONE = {"remask/t2m_readme", "remask/t2m_paper", "remask/remdm"}  # variants of a class; a process's own η


@pytest.mark.parametrize("option", PUBLISHED)
def test_the_published_constants(option):
    group, name = option.split("/")
    node = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    node = {key: value for key, value in node.items() if "${" not in str(value)}
    made = [build(group, node)]
    if option not in IN_THE_FILE_ALONE:
        made.append(type(made[0])())
    for one in made:
        assert {key: getattr(one, key) for key in PUBLISHED[option]} == PUBLISHED[option]
