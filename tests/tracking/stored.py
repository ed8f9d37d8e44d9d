"""What the W&B client wrote into an offline run, read back with the client's own message types."""

from __future__ import annotations

import json
import time
from pathlib import Path

_HEADER, _BLOCK = 7, 32768


def messages(file: Path) -> list[bytes]:
    """The whole records of a .wandb file: LevelDB's log format behind a 7-byte file header (crc 4, length 2, type 1; 32
    KiB blocks)."""
    data, at, found, part = file.read_bytes(), _HEADER, [], b""
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        start = at + _HEADER
        at = start + length
        if at > len(data):  # the client is still writing it
            break
        part += data[start:at]
        if kind in (1, 4):  # whole, or last part
            found.append(part)
            part = b""
    return found


def stored(offline: Path) -> dict[str, dict]:
    """What an offline run holds, as the client wrote it: run, config, metrics, summary (history included), artifact."""
    from wandb.proto import wandb_internal_pb2

    found: dict[str, dict] = {"config": {}, "summary": {}, "run": {}, "metrics": {}, "artifact": {}}
    deadline = time.monotonic() + 30  # the client's own process may write its records after `finish` returns
    while True:
        records = [
            wandb_internal_pb2.Record.FromString(data) for file in offline.glob("*.wandb") for data in messages(file)
        ]
        if (records and records[-1].WhichOneof("record_type") == "exit") or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for record in records:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found["run"] |= {"id": run.run_id, "project": run.project, "group": run.run_group, "job_type": run.job_type}
            found["run"] |= {"tags": list(run.tags), "name": run.display_name}
            found["config"] |= {u.key: json.loads(u.value_json) for u in run.config.update}
        elif kind == "metric":
            metric = record.metric
            best = [name for name in ("min", "max") if getattr(metric.summary, name)]
            found["metrics"][metric.name or metric.glob_name] = best[0] if best else metric.step_metric
        elif kind == "artifact":
            found["artifact"] = {
                "name": record.artifact.name,
                "files": [entry.path for entry in record.artifact.manifest.contents],
            }
        elif kind == "summary":
            found["summary"] |= {
                (u.key or "/".join(u.nested_key)): json.loads(u.value_json) for u in record.summary.update
            }
        elif kind == "history":
            found["summary"] |= {
                (i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item
            }
    return found
