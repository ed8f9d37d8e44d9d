"""A training that may be stopped at any time and goes on to the step: what the long lab's backbone and proposers share.

Every step's randomness is keyed by (seed, step), and the state file holds weights, optimisers, the running average, the
last losses and the step, so a training in parts gives the same weights, and the same curve, as one at a stretch. The
curve is a file of one JSON object a line.
"""

from __future__ import annotations

import io
import json
import logging
import signal
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from warmexp.errors import UserError, out_of_memory
from warmexp.lab import tokenizers
from warmexp.lab.long.feed import Batch, Draw, Schedule, Segments, Stage, batches
from warmexp.lab.training import KERNELS, Average, first_line, mixed, read_state, replace_folder
from warmexp.locks import Lock

log = logging.getLogger("warmexp.lab.train")


class Training:
    """Everything that a state file holds, and one step. Subclasses say what is trained and what a batch's loss is.

    Raises:
        UserError: another process trains in this folder (`run` gives it back), it cannot be written, or its state
        cannot be gone on from.
    """

    draw: Draw  # a function of a module, which makes a step's batch
    net: nn.Module
    opts: list[torch.optim.Optimizer]
    tokenizer: PreTrainedTokenizerFast

    def __init__(self, out: Path, schedule: Schedule, seed: int, device: str):
        schedule.check()
        torch.manual_seed(seed)
        self.out, self.schedule, self.seed, self.device = out, schedule, seed, torch.device(device)
        self.done, self.tokens, self.seconds, self.finished = 0, 0, 0.0, False
        self.stopped = False  # by a signal
        self.losses: Mapping[str, Iterable[Tensor]] = {}  # the last ones by kind of batch
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            self.lock = Lock(out / "state.lock")
            try:
                self.lock.acquire(timeout=0)
            except Timeout:
                raise UserError(
                    f"{out} is being trained by another process: stop that one, even if it is suspended, or wait for"
                    " it."
                ) from None
        try:
            self.build()
            self.base = [o.param_groups[0]["lr"] for o in self.opts]
            self.average = Average(self.net, schedule.ema)
            self._load()
        except BaseException:
            self.lock.release()
            raise

    def build(self) -> None:
        """Set tokenizer, net and opts."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """Of one batch, a scalar."""
        raise NotImplementedError

    def judge(self, stage: Stage) -> dict[str, float]:
        """Measurements on held-out problems, of the running average; may set `finished`."""
        raise NotImplementedError

    def export(self) -> None:
        """Write the running average as a model folder."""
        raise NotImplementedError

    def first_tokenizer(self, make) -> PreTrainedTokenizerFast:
        """The one that training began with, so that a later change of the generator's words cannot shift the ids under
        the weights."""
        folder = self.out / "tokenizer"
        if not (folder / "tokenizer_config.json").exists():  # the last of its files to be there
            with writing(folder):
                replace_folder(folder, lambda where: tokenizers.save(make(), where))
        try:
            return AutoTokenizer.from_pretrained(folder)
        except Exception as error:  # the library raises many kinds
            if out_of_memory(error):
                raise
            raise UserError(
                f"{folder} cannot be read as a tokenizer ({first_line(error)}): put it back, or, to begin anew, give"
                " another folder."
            ) from None

    @property
    def file(self) -> Path:
        return self.out / "state.ckpt"

    @property
    def curve(self) -> Path:
        return self.out / "curve.jsonl"

    def about(self) -> dict[str, Any]:
        """What a training must have in common with its state."""
        return {"seed": self.seed, **_plain(self.schedule)}

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "opts": [o.state_dict() for o in self.opts],
            "average": self.average.weights,
            "count": self.average.count,
            "step": self.done,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "finished": self.finished,
            "losses": {k: torch.stack(tuple(v)) for k, v in self.losses.items()},
            "about": json.dumps(self.about()),
        }
        content = io.BytesIO()
        torch.save(state, content)
        _replace(self.file, content.getvalue())

    def _load(self) -> None:
        if not self.file.exists():
            return
        saved = read_state(self.file, self.device, self.schedule.steps)
        try:
            about = json.loads(saved.get("about", "{}"))
        except (ValueError, TypeError):
            about = None
        if differs := _difference(about, json.loads(json.dumps(self.about()))):
            raise UserError(
                f"{self.file} is of another training ({differs}): go on as it was begun, or give another folder."
            )
        try:
            self.net.load_state_dict(saved["net"])
            for o, s in zip(self.opts, saved["opts"], strict=True):
                o.load_state_dict(s)
            if {k: v.shape for k, v in saved["average"].items()} != {
                k: v.shape for k, v in self.average.weights.items()
            }:
                raise ValueError("its average has other shapes")
            self.average.weights, self.average.count = saved["average"], saved["count"]
            self.done, self.tokens, self.seconds = saved["step"], saved["tokens"], saved["seconds"]
            self.finished = saved.get("finished", False)
            self.losses = {k: list(v) for k, v in saved.get("losses", {}).items()}
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            if out_of_memory(error):
                raise
            raise UserError(
                f"{self.file} does not fit this recipe ({first_line(error)}): go on with the one that it was made by,"
                " or give another folder."
            ) from None

    def cut_curve(self) -> None:
        """Take out the lines of steps behind the state, which come again."""
        if not self.curve.exists():
            return
        lines = self.curve.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith(b"\n") and _step(line) <= self.done]
        if kept != lines:
            _replace(self.curve, b"".join(kept))

    def batches(self, last: int, workers: int) -> Iterator[Batch]:
        """Those of the steps from the next one up to `last`."""
        draw = type(self).draw
        return batches(Segments(self.tokenizer, self.schedule, draw, self.seed, self.done, last), workers)

    def step(self, batch: Batch) -> Tensor:
        """One update; returns the loss, a scalar on the device, which is not waited for."""
        for o, lr in zip(self.opts, self.base, strict=True):
            o.param_groups[0]["lr"] = lr * self.schedule.rate(self.done)
        with mixed(self.device), sdpa_kernel(KERNELS[self.device.type]):
            loss = self.loss(batch)
        for o in self.opts:
            o.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for o in self.opts:
            o.step()
        self.average.update(self.net)
        self.done += 1
        self.tokens += batch.data.ids.size
        return loss.detach()


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raises UserError: the disk is full, or the place cannot be written."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{place} cannot be written ({getattr(error, 'strerror', None) or first_line(error)}): free some space or"
            " give another folder; the last state is kept, and the same command goes on from there."
        ) from None


def _replace(file: Path, content: bytes) -> None:
    """In one step, or not at all."""
    part = file.with_suffix(".tmp")
    with writing(file):
        try:
            part.write_bytes(content)
            part.replace(file)
        except OSError:
            with suppress(OSError):
                part.unlink()  # half a state on a full disk helps nobody
            raise


def _step(line: bytes) -> float:
    """Of a curve's line; one that is none is behind everything."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _plain(recipe: Any) -> Any:
    """Dataclasses as dictionaries, functions as their names."""
    if is_dataclass(recipe):
        return {f.name: _plain(getattr(recipe, f.name)) for f in fields(recipe)}
    if isinstance(recipe, (list, tuple)):
        return [_plain(v) for v in recipe]
    return f"{recipe.__module__}.{recipe.__qualname__}" if callable(recipe) else recipe


def _difference(old: Any, new: Any, key: str = "recipe") -> str | None:
    """The first place at which two of `_plain` differ, keys that only one of them has aside."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = (_difference(old[k], new[k], k) for k in new if k in old)
        return next((f for f in found if f), None)
    return None if old == new else f"{key}={json.dumps(old):.60} there, {json.dumps(new):.60} here"


def run(
    t: Training,
    until: float = float("inf"),
    save_every: float = 240.0,
    log_every: int = 20,
    judge_every: int = 100,
    stop_after: int | None = None,
    workers: int = 0,
) -> Training:
    """Go on until the schedule ends, the aim is reached, the clock says so or SIGTERM or SIGINT comes; then save and
    export.

    Args:
        until: seconds since the epoch. save_every: seconds. judge_every: steps, 0 for never. stop_after: leave after
        this step. workers: processes that make batches ahead.

    Raises:
        KeyboardInterrupt: after SIGINT, when all is saved.
    """
    s = t.schedule
    log.info(
        "%s: %.2f M weights, %d of %d steps done",
        t.out.name,
        sum(p.numel() for p in t.net.parameters()) / 1e6,
        t.done,
        s.steps,
    )
    stopped: list[int] = []

    def stop(number: int, _: Any) -> None:
        if signal.SIGINT == number in stopped:  # somebody does not want to wait
            raise KeyboardInterrupt
        stopped.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        t.cut_curve()
        _go_on(t, until, save_every, log_every, judge_every, min(s.steps, stop_after or s.steps), workers, stopped)
        t.stopped = bool(stopped)
        t.save()
        with writing(t.out / "model"):
            t.export()
    finally:
        t.lock.release()
        for number, handler in before.items():
            signal.signal(number, handler)
    log.info(
        "%s: %d of %d steps done, state saved%s", t.out.name, t.done, s.steps, ", aim reached" if t.finished else ""
    )
    if signal.SIGINT in stopped:
        raise KeyboardInterrupt
    return t


def _go_on(
    t: Training,
    until: float,
    save_every: float,
    log_every: int,
    judge_every: int,
    last: int,
    workers: int,
    stopped: list[int],
) -> None:
    """The steps of `run`."""
    losses: dict[str, deque[Tensor]] = defaultdict(lambda: deque(maxlen=log_every))
    for kind, found in t.losses.items():
        losses[kind].extend(found)
    t.losses = losses
    saved = logged = time.time()
    tokens = t.tokens
    ready = t.batches(last, workers)
    while t.done < last and not t.finished and time.time() < until and not stopped:
        began = time.time()
        batch = next(ready)
        losses[batch.kind].append(t.step(batch))
        t.seconds += time.time() - began
        judged = judge_every and t.done % judge_every == 0
        if judged or t.done % log_every == 0:
            stage = t.schedule.stage(t.done - 1)
            note: dict[str, Any] = {
                "step": t.done,
                "level": stage.level,
                **{k: round(float(torch.stack(list(v)).mean()), 4) for k, v in losses.items()},
            }
            note |= {"tokens_per_s": round((t.tokens - tokens) / (time.time() - logged)), "tokens": t.tokens}
            note |= {"minutes": round(t.seconds / 60, 1), "time": datetime.now().strftime("%H:%M")}
            if judged:
                note |= t.judge(stage)
            logged, tokens = time.time(), t.tokens
            log.info("%s %s", t.out.name, json.dumps(note))
            with writing(t.curve), open(t.curve, "a", encoding="utf-8") as file:
                file.write(json.dumps(note) + "\n")
        if time.time() - saved > save_every:
            t.save()
            saved = time.time()
