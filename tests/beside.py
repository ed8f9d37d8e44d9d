"""What some options of the groups cannot be without, as words of a command line."""

_PASSES = ["guide=self", "unmask=accepted"]
BESIDE = {
    "guide=self": ["evidence=[flashdlm]", "unmask=accepted"],
    "unmask=accepted": ["evidence=[apd]", "guide=self"],
    "evidence=edlm": ["guide=self", "unmask.temperature=1"],
    **{f"evidence={name}": _PASSES for name in ("flashdlm", "flashdlm_topk", "flashdlm_relative", "apd")},
}
# Options that need a model of the user's: their own tests give them one.
ELSEWHERE = {"guide=checkpoint"}
# Published numbers of forwards are many for a canvas of ten or twelve; slow tests keep them.
FEWER = {
    "ancestral": ["unmask.steps=8"],
    "dream": ["unmask.steps=8"],
    "remdm": ["remask.steps=8"],
    "tolerator": ["remask.rounds=6"],
    "t2m": ["remask.after=6"],
    "t2m_readme": ["remask.after=6"],
    "t2m_paper": ["remask.after=6"],
}
