"""`python -m warmexp.harness.lm_eval …`: lm-evaluation-harness's own command line, in which `--model warmexp` is a
pipeline of ours.

    python -m warmexp.harness.lm_eval --model warmexp --model_args init=token_inject rho=0.5 proposer=lab_weak --tasks
    gsm8k --limit 0.1

The harness (0.4.13) finds models by a registry in memory and has no entry point by which an installed package could add
to it, so a bare `lm_eval` cannot know ours; importing `warmexp.harness.model` is what registers it, here or in a script
that calls `lm_eval.simple_evaluate(model="warmexp", model_args="init=mask,tau=0.5", …)`. All options but `--use_cache`
and `--apply_chat_template` work; `--model_args` takes overrides of `python -m warmexp`, and `uncut=true`.
"""

from __future__ import annotations

import sys
from importlib import import_module

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from warmexp.config.messages import explain
from warmexp.console import complain
from warmexp.errors import UserError
from warmexp.harness.library import need_harness


def main() -> None:
    """Exit status: the harness's, 2 (a user's mistake), 130."""
    try:
        need_harness()
        import lm_eval.__main__ as harness

        import_module("warmexp.harness.model")  # registers the model
        harness.cli_evaluate()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        complain(f"warmexp: {explain(error)}")
        sys.exit(2)
    except KeyboardInterrupt:
        complain("warmexp: interrupted; what was decoded is kept, and the same command goes on from there.")
        sys.exit(130)


if __name__ == "__main__":
    main()
