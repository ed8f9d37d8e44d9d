"""The benchmark's figures as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from warmexp.bench.subject import Subject
from warmexp.models.weights import GIB

SHOWN = 5  # divergences printed; all of them are in the JSON


def text(result: dict[str, Any]) -> str:
    parts = (_head, _speed, _forwards, _memory, _growth, _exact, _sharing)
    return "\n".join(line for part in parts for line in part(result))


def _head(result: dict[str, Any]) -> Iterator[str]:
    m, where = result["model"], result["environment"]
    commits = f"τ = {m['tau']:g}" if m["steps_per_block"] is None else f"{m['steps_per_block']} forwards per block"
    low, high = result["prompt_tokens"]
    yield (
        f"{m['name']}: {m['parameters'] / 1e6:.1f} M parameters in {m['dtype']}, {m['logits']} logits, on"
        f" {where.get('gpu', where['device'])} ({where['threads']} threads), torch {where['packages']['torch']}"
    )
    yield (
        f"{result['questions']} questions with prompts of {low} to {high} tokens, canvas {m['canvas_length']}, blocks"
        f" of {m['block_length']}, {commits}; {result['repeats']} rounds, in turns: median [lowest, highest]"
    )
    yield Subject.RULE
    if "load" in result:
        took = result["load"]
        yield (
            f"loaded in {took['seconds']:.2f} s ({took['gib_per_second']:.2f} GiB/s), peak"
            f" {took['peak_bytes'] / GIB:.2f} GiB"
        )


def _speed(result: dict[str, Any]) -> Iterator[str]:
    rows = result.get("speed", [])
    if not rows:
        return
    yield (
        "\ndecoder  cache      batch             tokens/s   questions/s            × plain       × processor   NFE "
        " token-identical"
    )
    for row in rows:
        ratio, busy = (
            ("", "")
            if row["who"] == "plain"
            else (_spread(row["ratio"], ".2f"), _spread(row["ratio_processor"], ".2f"))
        )
        yield (
            f"{row['who']:8s} {row['cache']:9s} {row['batch']:6d} {_spread(row['tokens_per_second'], '.1f'):>20s}"
            f" {row['questions_per_second']['median']:13.3f} {ratio:>18s} {busy:>17s} {row['nfe_mean']:5.1f} "
            f" {_identical(row)}"
        )
    if any(row.get("against") not in (None, row["cache"]) for row in rows):
        yield "× plain: against the plain decoder with the same cache; against cache=none where it has no such cache."
    for row in rows:
        if "times_none" in row:
            wall, processor = (_spread(row[name], ".2f") for name in ("times_none", "times_none_processor"))
            said = f"the same questions with cache={row['cache']} {wall} times as fast as with cache=none"
            yield f"warmexp, batch {row['batch']}: {said} ({processor} of processor time)"
    for row in rows:
        for d in (row.get("divergences") or [])[:SHOWN]:
            where = (
                f"question {d['question']}, forward {d['iteration']}, positions {', '.join(map(str, d['positions']))}"
            )
            yield f"diverges: cache={row['cache']}, batch {row['batch']}, {where}: margin {d['margin']:.2g}"


def _identical(row: dict[str, Any]) -> str:
    return "" if row.get("identical") is None else f"{row['identical']} of {row['questions']} questions token-identical"


def _spread(s: dict[str, float], spec: str) -> str:
    return f"{s['median']:{spec}} [{s['low']:{spec}}, {s['high']:{spec}}]"


def _forwards(result: dict[str, Any]) -> Iterator[str]:
    if "forwards" not in result:
        return
    copy, flops = result["copy_bytes_per_second"], result["matmul_flops_per_second"]
    yield (
        f"\nfloors from a copy of {copy / 1e9:.1f} GB/s and a matrix product of {flops / 1e9:.1f} GFLOP/s, both"
        " measured here"
    )
    yield "in parentheses: processor time per thread, which other processes do not lengthen"
    yield (
        "cache      batch  outside forwards  kind    forwards  rows            ms/forward  weights floor  FLOPs floor"
        "        × floor"
    )
    for row in result["forwards"]:
        if "out_of_memory" in row:
            yield f"{row['cache']:9s} {row['batch']:6d}  out of memory"
            continue
        for n, (kind, f) in enumerate(row["kinds"].items()):
            start = f"{row['cache']:9s} {row['batch']:6d}  {100 * row['share_outside']:14.1f} %" if n == 0 else " " * 34
            spent, times = f"{1e3 * f['seconds']:.2f}", f"{f['times_the_floor']:.2f}"
            if "seconds_processor" in f:
                spent, times = (
                    f"{spent} ({1e3 * f['seconds_processor']:.2f})",
                    f"{times} ({f['times_the_floor_processor']:.2f})",
                )
            yield (
                f"{start}  {kind:6s} {f['forwards']:9d} {f['rows']:5d} {spent:>21s} {1e3 * f['floor_weights']:14.2f}"
                f" {1e3 * f['floor_flops']:12.2f} {times:>14s}"
            )


def _memory(result: dict[str, Any]) -> Iterator[str]:
    if "memory" not in result:
        return
    yield "\ncache      batch  peak MiB  weights + caches + eligible logits  × needed"
    for row in result["memory"]:
        if "out_of_memory" in row:
            yield f"{row['cache']:9s} {row['batch']:6d}  out of memory"
            continue
        needed = " + ".join(f"{row['needed_bytes'][name] * 1024 / GIB:.1f}" for name in ("weights", "caches", "logits"))
        yield (
            f"{row['cache']:9s} {row['batch']:6d} {row['peak_bytes'] * 1024 / GIB:9.1f}  {needed:>34s}"
            f" {row['times_needed']:9.2f}"
        )


def _growth(result: dict[str, Any]) -> Iterator[str]:
    rows = result.get("growth", [])
    if not rows:
        return
    yield "\nseconds grow with (0 is free, 1 proportional)"
    for row in rows:
        points = ", ".join(f"{n}: {s:.3g}" for n, s in zip(row["sizes"], row["seconds"], strict=True))
        last = f" (processor time {row['exponent_processor']:.2f}), at the end {row['exponent_last']:.2f}"
        yield f"{row['what']:9s} cache={row['cache']:9s} exponent {row['exponent']:5.2f}{last}   ({points} s)"


def _exact(result: dict[str, Any]) -> Iterator[str]:
    rows = result.get("exact", [])
    if not rows:
        return
    yield "\nin float64, small random backbones, against the plain decoder with the same cache"
    for row in rows:
        yield (
            f"cache={row['cache']:9s} {row['logits']:8s} {row['identical']} of {row['canvases']} canvases"
            " token-identical"
        )
        for d in row["divergences"][:SHOWN]:
            yield (
                f"diverges: {d['question']}, forward {d['iteration']}, positions"
                f" {', '.join(map(str, d['positions']))}: {d['margin']:.2g}"
            )


def _sharing(result: dict[str, Any]) -> Iterator[str]:
    if "sharing" not in result:
        return
    s = result["sharing"]
    low, high = (f(pair["saved"] for pair in s["pairs"]) for f in (min, max))
    yield (
        f"\nτ-sweep of {len(s['taus'])} runs on the lab ({', '.join(map(str, s['taus']))}; {s['questions']}"
        f" questions): {s['distinct']}"
        f" of {s['rows']} forwards differ, so {100 * s['saved']:.0f} % are taken from memory ({100 * low:.0f} to"
        f" {100 * high:.0f} % of two"
        f" neighbours', {s['bytes'] / 2**20:.1f} MiB in all); the sweep is {_spread(s['ratio'], '.2f')} times as fast"
        f" ({_spread(s['ratio_processor'], '.2f')} of processor time), {s['identical']} of {s['answers']} answers"
        " identical, their seconds"
        f" {_spread(s['charged'], '.2f')} times those without; where nothing repeats, a run takes"
        f" {_spread(s['cost_processor'], '.3f')} times as long"
    )
