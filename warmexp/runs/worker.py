"""The other end of workers.py: a process that decodes on one device what it is given, one run after the other, until it
is ended."""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any


def work(asked: Connection, told: Connection) -> None:
    """Carry out runs until the other process is gone.

    asked: what is sent here, heard by a thread of its own, so that the end of the other process is this one's end even
    in the middle of a forward. told: what is sent back, always with the number of the run that it belongs to.
    """
    inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, inbox), daemon=True).start()
    _, device, threads = inbox.get()
    import torch

    from warmexp.runs.environment import keep_float32, no_cudnn_attention

    torch.set_num_threads(threads)
    keep_float32()
    no_cudnn_attention()
    while True:
        what, *content = inbox.get()
        if what == "job":  # anything else belongs to a run that is over
            sys.path[:] = content.pop(0)
            _Run(device, inbox, told, *content).carry_out()


def _listen(asked: Connection, inbox: queue.SimpleQueue) -> None:
    try:
        while True:
            inbox.put(asked.recv())
    except BaseException:  # closed, or torn: nobody is there any more
        os._exit(1)


class _Run:
    def __init__(self, device: str, inbox: queue.SimpleQueue, told: Connection, number: int, job: bytes) -> None:
        self.device, self.inbox, self.told, self.number, self.job = device, inbox, told, number, job
        self.over = False
        self.proposals: dict[str, Any] = {}

    def tell(self, *message: Any) -> None:
        self.told.send((self.number, *message))

    def carry_out(self) -> None:
        from warmexp.errors import UserError

        try:
            self._decode()
        except UserError as error:
            self.tell("failed", str(error).rstrip("."))
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self.tell("failed", text.rstrip(": "), "".join(traceback.format_exception(error)))

    def _decode(self) -> None:
        from warmexp.runs.environment import environment
        from warmexp.runs.run import decoded, loaded

        plan, batch_size, tokens = pickle.loads(self.job)
        plan = replace(plan, device=self.device, devices=(self.device,))
        plan.proposer.say = lambda sentence: self.tell("say", sentence)
        self.questions = {question.id: question for question in plan.questions}
        backbone = loaded(plan)
        self.tell("ready", environment(plan.device, plan.identity, backbone, tokens))
        while (first := self._next(hungry=True)) is not None:
            some = self._some(first)
            for question, record in decoded(
                plan, backbone, some, self.proposals.get, batch_size, tokens, lambda s: self.tell("say", s)
            ):
                self.proposals.pop(question.id, None)
                self.tell("record", record)

    def _some(self, first: Any) -> Iterator[Any]:
        """A question and those that there are besides, each asked for when there is a place for it."""
        yield first
        while (question := self._next(hungry=False)) is not None:
            yield question

    def _next(self, hungry: bool) -> Any:
        """A question; None where there is none now, or, if this process has nothing else to do, when the run is
        over."""
        if self.over:
            return None
        self.tell("question?", hungry)
        what, *content = self.inbox.get()
        if what == "question":
            name, self.proposals[content[0]] = content
            return self.questions[name]
        self.over = what == "over"
        return None
