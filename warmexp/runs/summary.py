"""A run's summary: the point on the plane, with intervals, and what it cost.

The accuracies that a point has, `accuracy_strict` and `accuracy_flexible`, score the response, which ends at the first
end token; `accuracy_strict_uncut` and `accuracy_flexible_uncut` score all that was decoded up to a stop string
(tasks/response.py says why both).
"""

from __future__ import annotations

from typing import Any

from warmexp.runs.statistics import bootstrap_mean, wilson


def summarise(run_id: str, records: list[dict[str, Any]], oracle: bool, questions: str) -> dict[str, Any]:
    """summary.json from a run's records.

    Accuracies are shares in [0, 1] with Wilson 95 % intervals; NFE is forwards per question with a bootstrap 95 %
    interval. Seconds: `decode` is the sum of the questions' shares of their batches, `forward` the part of it inside
    the backbone, `propose` what writing the proposals took when they were written (also if they came from the store
    now), `total` decode and propose. remembered_forwards is how many forwards of all questions, counted and charged
    like the others, were taken from memory (decode/memory.py). tokens_per_nfe and tokens_per_second count response
    tokens before the first end token. `…_given_proposal_right` is the accuracy on the questions whose proposal was
    right, `…_wrong` on the others: a prior that is merely copied gives 1 and 0. `accuracy_watched` is that of the
    answers that a watcher concludes, where one does; `nfe_without_commits_mean` leaves out the forwards over finished
    blocks that a cache of exact keys and values runs, where there is one. `guide_forwards_mean`,
    `guide_token_forwards_mean` and `seconds_guide` are a guide's; they are in no other count but `all_forwards_mean`
    and `all_token_forwards_mean`, and its seconds are part of `decode`.
    """
    n = len(records)
    nfe = [r["nfe"] for r in records]
    commits = [r["commit_forwards"] for r in records if "commit_forwards" in r]
    tokens = sum(r["response_tokens"] for r in records)
    decode = sum(r["seconds"] for r in records)
    proposals = [r["proposal"] for r in records if r["proposal"]]
    propose = sum(p["seconds"] for p in proposals)
    summary: dict[str, Any] = {
        "run_id": run_id,
        "status": "finished",
        "oracle": oracle,
        "n": n,
        "questions_sha256": questions,
        "nfe_mean": sum(nfe) / n,
        "nfe_ci95": list(bootstrap_mean(nfe)),
        "rows_mean": sum(r.get("rows", r["nfe"]) for r in records) / n,
        **({"nfe_without_commits_mean": (sum(nfe) - sum(commits)) / n} if commits else {}),
        "no_op_mean": sum(r["no_op"] for r in records) / n,
        "full_forward_equivalents_mean": sum(r["full_forward_equivalents"] for r in records) / n,
        "token_forwards_mean": sum(r["token_forwards"] for r in records) / n,
        "aux_forwards_mean": sum(r["aux_forwards"] for r in records) / n,
        **_guides(records),
        "revocations_mean": sum(len(r["revocations"]) for r in records) / n,
    }
    for name in ("strict", "flexible", "strict_uncut", "flexible_uncut"):
        if all(name in r["correct"] for r in records):  # records of an earlier version have no uncut text
            correct = sum(r["correct"][name] for r in records)
            summary[f"accuracy_{name}"] = correct / n
            summary[f"accuracy_{name}_ci95"] = list(wilson(correct, n))
    watched = [r["watched"] for r in records if "watched" in r]
    if any(w["answer"] is not None for w in watched):  # a question without an answer is not right
        correct = sum(bool(w["correct"]) for w in watched)
        summary |= {"accuracy_watched": correct / n, "accuracy_watched_ci95": list(wilson(correct, n))}
    for name in ("strict", "flexible"):
        for right, word in ((True, "right"), (False, "wrong")):
            group = [r for r in records if r["proposal"] and r["proposal"][f"correct_{name}"] is right]
            share = sum(r["correct"][name] for r in group) / len(group) if group else None
            summary[f"accuracy_{name}_given_proposal_{word}"] = share
        summary[f"proposal_accuracy_{name}"] = sum(p[f"correct_{name}"] for p in proposals) / n if proposals else None
    summary |= {
        "response_tokens_mean": tokens / n,
        "tokens_per_nfe": tokens / sum(nfe) if sum(nfe) else None,
        "seconds_decode": decode,
        "seconds_forward": sum(r["seconds_forward"] for r in records),
        "seconds_propose": propose,
        "seconds_total": decode + propose,
        "tokens_per_second": tokens / decode if decode else None,
        "remembered_forwards": sum(r.get("remembered_forwards", 0) for r in records),
    }
    return summary


def _guides(records: list[dict[str, Any]]) -> dict[str, float]:
    """What guides have cost, and what all forwards have with theirs."""
    n = len(records)
    forwards, tokens, seconds = (
        sum(r.get(name, 0) for r in records) for name in ("guide_forwards", "guide_token_forwards", "seconds_guide")
    )
    return {
        "guide_forwards_mean": forwards / n,
        "guide_token_forwards_mean": tokens / n,
        "all_forwards_mean": (sum(r["nfe"] for r in records) + forwards) / n,
        "all_token_forwards_mean": (sum(r["token_forwards"] for r in records) + tokens) / n,
        "seconds_guide": seconds,
    }
