"""What some options of the groups cannot be without, as words of a command line."""

_PASSES = ["guide=self", "unmask=accepted"]
BESIDE = {
    "guide=self": ["evidence=[flashdlm]", "unmask=accepted"],
    "unmask=accepted": ["evidence=[apd]", "guide=self"],
    "evidence=edlm": ["guide=self", "unmask.temperature=1"],
    **{f"evidence={name}": _PASSES for name in ("flashdlm", "flashdlm_topk", "flashdlm_relative", "apd")},
}
