"""What is said of lm-evaluation-harness before it is imported."""

from __future__ import annotations

from warmexp.errors import UserError
from warmexp.models.hub import offline_if_unreachable

NO_CACHE = (
    "use_cache is refused: the harness would keep answers by their prompts, whatever the pipeline, and without what"
    " they cost; leave it out, because warmexp keeps what it decodes and takes it from there the next time."
)


def need_harness() -> None:
    """Refuse to go on without the harness."""
    offline_if_unreachable()  # before the harness imports `datasets`, which looks once
    try:
        import lm_eval.evaluator  # noqa: F401
    except ImportError as error:
        why = (
            "is not installed" if (error.name or "").partition(".")[0] == "lm_eval" else f"cannot be imported ({error})"
        )
        raise UserError(f"lm-evaluation-harness {why}: pip install 'warmexp[harness]'.") from None
