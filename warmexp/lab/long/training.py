"""A training that may be stopped at any time and goes on to the step: what the long lab's backbone and proposers share.

Every step's randomness is keyed by (seed, step), and the state file holds weights, optimisers, the running average and
the step, so a training in parts gives the same weights as one at a stretch. The curve is a file of one JSON object a
line.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from warmexp.errors import UserError
from warmexp.lab import tokenizers
from warmexp.lab.long.feed import Batch, Draw, Schedule, Segments, Stage, batches
from warmexp.lab.training import KERNELS, Average, mixed
from warmexp.locks import Lock

log = logging.getLogger("warmexp.lab.train")


class Training:
    """Everything that a state file holds, and one step. Subclasses say what is trained and what a batch's loss is.

    Raises:
        UserError: another process trains in this folder; `run` gives it back.
    """

    draw: Draw  # a function of a module, which makes a step's batch
    net: nn.Module
    opts: list[torch.optim.Optimizer]
    tokenizer: PreTrainedTokenizerFast

    def __init__(self, out: Path, schedule: Schedule, seed: int, device: str):
        torch.manual_seed(seed)
        self.out, self.schedule, self.seed, self.device = out, schedule, seed, torch.device(device)
        self.done, self.tokens, self.seconds, self.finished = 0, 0, 0.0, False
        out.mkdir(parents=True, exist_ok=True)
        self.lock = Lock(out / "state.lock")
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{out} is being trained by another process: stop that one, even if it is suspended, or wait for it."
            ) from None
        self.build()
        self.base = [o.param_groups[0]["lr"] for o in self.opts]
        self.average = Average(self.net, schedule.ema)
        self._load()

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
        if not (folder / "tokenizer.json").exists():
            tokenizers.save(make(), folder)
        return AutoTokenizer.from_pretrained(folder)

    @property
    def file(self) -> Path:
        return self.out / "state.ckpt"

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
        }
        torch.save(state, self.file.with_suffix(".tmp"))
        self.file.with_suffix(".tmp").replace(self.file)

    def _load(self) -> None:
        if self.file.exists():
            saved = torch.load(self.file, map_location=self.device, weights_only=True)
            self.net.load_state_dict(saved["net"])
            for o, s in zip(self.opts, saved["opts"], strict=True):
                o.load_state_dict(s)
            self.average.weights, self.average.count = saved["average"], saved["count"]
            self.done, self.tokens, self.seconds = saved["step"], saved["tokens"], saved["seconds"]
            self.finished = saved.get("finished", False)

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


def run(
    t: Training,
    until: float = float("inf"),
    save_every: float = 240.0,
    log_every: int = 20,
    judge_every: int = 100,
    stop_after: int | None = None,
    workers: int = 0,
) -> Training:
    """Go on until the schedule ends, the aim is reached, the clock says so or SIGTERM comes; then save and export.

    Args:
        until: seconds since the epoch. save_every: seconds. judge_every: steps, 0 for never. stop_after: leave after
        this step. workers: processes that make batches ahead.
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
    before = signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    losses: dict[str, deque] = defaultdict(lambda: deque(maxlen=log_every))
    saved = logged = time.time()
    tokens = t.tokens
    last = min(s.steps, stop_after or s.steps)
    ready = t.batches(last, workers)
    while t.done < last and not t.finished and time.time() < until and not stopped:
        began = time.time()
        batch = next(ready)
        losses[batch.kind].append(t.step(batch))
        t.seconds += time.time() - began
        if t.done % log_every == 0:
            stage = s.stage(t.done - 1)
            note: dict[str, Any] = {
                "step": t.done,
                "level": stage.level,
                **{k: round(float(torch.stack(list(v)).mean()), 4) for k, v in losses.items()},
            }
            note |= {"tokens_per_s": round((t.tokens - tokens) / (time.time() - logged)), "tokens": t.tokens}
            note |= {"minutes": round(t.seconds / 60, 1), "time": datetime.now().strftime("%H:%M")}
            if judge_every and t.done % judge_every == 0:
                note |= t.judge(stage)
            logged, tokens = time.time(), t.tokens
            log.info("%s %s", t.out.name, json.dumps(note))
            with open(t.out / "curve.jsonl", "a") as file:
                file.write(json.dumps(note) + "\n")
        if time.time() - saved > save_every:
            t.save()
            saved = time.time()
    t.save()
    t.export()
    t.lock.release()
    signal.signal(signal.SIGTERM, before)
    log.info(
        "%s: %d of %d steps done, state saved%s", t.out.name, t.done, s.steps, ", aim reached" if t.finished else ""
    )
    return t
