"""`python -m warmexp.harness.lm_eval …`: lm-evaluation-harness's own command line, in which `--model warmexp` is a
pipeline of ours.

    python -m warmexp.harness.lm_eval --model warmexp --model_args init=token_inject rho=0.5 --tasks gsm8k --limit 0.1

The harness (0.4.13) finds models by a registry in memory and has no entry point by which an installed package could add
to it, so a bare `lm_eval` cannot know ours; importing `warmexp.harness.model` is what registers it, here or in a script
that calls `lm_eval.simple_evaluate(model="warmexp", model_args="init=mask,tau=0.5", …)`. All options but `--use_cache`
and `--apply_chat_template` work; `--model_args` takes overrides of `python -m warmexp`, and `uncut=true`.
"""

from __future__ import annotations

from importlib import import_module

from warmexp.config.messages import MISTAKES, explain
from warmexp.console import GOES_ON, ending
from warmexp.harness.library import need_harness


def main() -> None:
    """Exit status: the harness's, 2 (a user's mistake), 130."""
    with ending(explain, MISTAKES, GOES_ON):
        need_harness()
        import lm_eval.__main__ as harness

        import_module("warmexp.harness.model")  # registers the model
        harness.cli_evaluate()


if __name__ == "__main__":
    main()
