"""A name that no file can have is a user's mistake, in whichever word and command it stands."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

LONG = "x" * 5000
COMMANDS = {
    "study": ["warmexp", f"+sweep={LONG}"],
    "option": ["warmexp", f"unmask={LONG}"],
    "proposals": ["warmexp", "init=token_inject", "proposer=file", f"proposer.path={LONG}"],
    "plugin": ["warmexp", f"plugins=[/{LONG}]"],
    "method": ["warmexp.check_method", f"unmask={LONG}"],
    "front": ["warmexp.front", LONG],
    "calibrate": ["warmexp.calibrate", LONG],
    "frequencies": ["warmexp.frequencies", f"backbone={LONG}"],
    "backfill": ["warmexp.tracking.backfill", LONG],
}


@pytest.mark.parametrize("name", [n if n == "study" else pytest.param(n, marks=pytest.mark.slow) for n in COMMANDS])
def test_a_name_that_is_too_long_is_one_sentence(name, quiet_home):
    module, *words = COMMANDS[name]
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, timeout=300)
    said = re.sub("x{40,}", "x", done.stderr)
    assert done.returncode == 2 and "Traceback" not in said, said
    assert len(said.strip().splitlines()) == 1 and "longer than a file's name can be" in said
