"""Settings that must coincide exactly: ids, NFE, commit iterations, sources and revocations."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import COLD, FROZEN, INITS, Case, cases, check, facts, some, starts_masked

THRESHOLDS = st.fixed_dictionaries({"name": st.just("threshold"), "tau": st.sampled_from([0.3, 0.6, 0.9])})
NEVER = st.sampled_from(
    [
        {"name": "linear", "bias": -1.0, "slope": 0.0},
        {"name": "linear", "bias": -1.0, "slope": 0.5},
        {"name": "exponential", "bias": -1.0, "floor": -1.0, "base": 0.4, "span": 40},
    ]
)


def outcome(case: Case) -> list[dict]:
    return [facts(done) for done in case.decode()]


@some(40)
@given(
    case=cases(inits=st.just(COLD), remasks=st.just(FROZEN), most=3),
    duration=st.sampled_from(["first", "masked", "fade"]),
    rate=st.sampled_from([0.3, 0.7, 1.0]),
)
def test_a_prior_without_weight_is_a_cold_start(case, duration, rate):
    """rho = 0, lambda = 0, p = 1, and any init with empty proposals."""
    cold = outcome(case)
    soft = {"name": "embed_interp", "duration": duration, "fade_forwards": 3}
    assert outcome(case.but(init={"name": "token_inject", "rho": 0.0})) == cold
    assert outcome(case.but(init=soft | {"lam": 0.0, "p": 0.0})) == cold
    assert outcome(case.but(init=soft | {"lam": rate, "p": 1.0})) == cold


@some(25)
@given(case=cases(inits=st.just(COLD), remasks=st.just(FROZEN), most=3, proposals=False), init=INITS)
def test_an_empty_proposal_is_a_cold_start(case, init):
    assert outcome(case.but(init=init)) == outcome(case)


@some(40)
@given(case=cases(remasks=st.just(FROZEN), most=3), remask=NEVER, scope=st.sampled_from(["injected", "decoded", "all"]))
def test_a_rate_of_zero_is_no_remasking(case, remask, scope):
    """b = -1 from the first forward on: r = clip(-c, 0, 1) = 0 for every token, and no block is entered for its
    sake."""
    assert outcome(case.but(remask=remask | {"scope": scope})) == outcome(case)


@some(30)
@given(
    case=cases(
        inits=st.just(COLD),
        unmasks=st.sampled_from([{"name": "threshold", "tau": 1.01}]),
        remasks=st.just(FROZEN),
        most=3,
    )
)
def test_a_threshold_above_one_commits_one_token_per_forward(case):
    for done in case.decode():
        assert done.cost.nfe == case.canvas
        assert sorted(done.commit_iteration) == list(range(case.canvas))


@some(30)
@given(
    case=cases(
        inits=st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.3, 0.7, 1.0])}),
        unmasks=st.sampled_from([{"name": "threshold", "tau": 2.0}]),
        remasks=st.just(FROZEN),
        most=3,
    )
)
def test_a_threshold_above_one_needs_one_forward_per_masked_position(case):
    for question, done in zip(case.questions, case.decode(), strict=True):
        masked = starts_masked(question, case.init["rho"], case.canvas, case.seed)
        assert done.cost.nfe == masked
        assert sorted(n for n in done.commit_iteration if n >= 0) == list(range(masked))


@some(30)
@given(case=cases(inits=st.just(COLD), remasks=st.just(FROZEN), most=2), steps=st.integers(1, 12))
def test_topk_follows_the_published_table(case, steps):
    """A cold block of W masks in s steps commits W // s per step, one more in the first W % s steps (LLaDA, arXiv
    2502.09992)."""
    case = case.but(unmask={"name": "topk", "steps_per_block": steps, "temperature": case.unmask["temperature"]})
    base, extra = divmod(case.block, steps)
    table = [count for count in (base + (step < extra) for step in range(steps)) if count]
    for done in case.decode():
        counts = Counter(done.commit_iteration)
        assert [counts[n] for n in range(done.cost.nfe)] == table * (case.canvas // case.block)


@some(25)
@given(case=cases(unmasks=THRESHOLDS, grids=st.sampled_from([(4, 4), (8, 8), (12, 12)]), most=2))
def test_one_block_is_the_whole_canvas(case):
    """W = L: any position may be committed at any time, as the reference says."""
    check(case)


@some(25)
@given(case=cases(inits=st.just(COLD), remasks=st.just(FROZEN), most=3))
def test_blocks_are_finished_left_to_right(case):
    for done in case.decode():
        blocks = [done.commit_iteration[i : i + case.block] for i in range(0, case.canvas, case.block)]
        assert all(max(left) < min(right) for left, right in pairwise(blocks))


@some(25)
@given(
    case=cases(remasks=st.just(FROZEN), most=2), low=st.sampled_from([0.1, 0.4]), high=st.sampled_from([0.4, 0.6, 1.0])
)
def test_injected_sets_are_nested_in_rho(case, low, high):
    """Runs that differ only in the rate share their draws."""

    def injected(rho: float) -> list[set[int]]:
        done = case.but(init={"name": "token_inject", "rho": rho}).decode()
        return [{i for i, source in enumerate(one.source) if source == "injected"} for one in done]

    assert all(few <= many for few, many in zip(injected(low), injected(high), strict=True))
