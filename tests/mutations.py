"""Damage to files, drawn from a seed: what kills, full disks, editors and strangers leave behind, and worse."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2.5, -0.0, 1e308, -1e308, 2**31, 2**63, 10**30, float("nan"), float("inf"), float("-inf"),
    "", "x", "7", "NaN", "\x00", "\x1b[31m", "a\nb", "../../../etc", "/etc/passwd", "\ud800", "$x^{", "x" * 5000, "mask", "finished",
    [], [[]], [1, 2], [None] * 3, ["x"], [1e308, 2], [5, 4], {}, {"a": 1}, {"": None}, {"strict": 1},
)  # fmt: skip


def json_text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def changed(rng: random.Random, value: Any) -> Any:
    """The value with one place in it replaced, removed, added to or moved."""
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in items:
            places.append((node, key))
            if not isinstance(child, list) or len(child) < 40 or rng.random() < 0.3:
                collect(child)

    collect(value)
    if not places or rng.random() < 0.05:
        return rng.choice(VALUES)
    node, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.7:
        node[key] = rng.choice(VALUES)
    elif kind < 0.85:
        del node[key]
    elif isinstance(node, dict):
        node[rng.choice(("x", "id", "n", "folder", "_target_", ""))] = rng.choice(VALUES)
    else:
        node.insert(key, rng.choice(VALUES))
    return value


def in_json(rng: random.Random, file: Path) -> None:
    file.write_text(json_text(changed(rng, json.loads(file.read_text()))))


def in_yaml(rng: random.Random, file: Path) -> None:
    value = changed(rng, yaml.safe_load(file.read_text()))
    file.write_bytes(yaml.safe_dump(value, allow_unicode=False).encode("utf-8", "surrogatepass"))


def in_a_line(rng: random.Random, file: Path) -> None:
    lines = file.read_text().splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = json_text(changed(rng, json.loads(lines[at]))) + "\n"
    file.write_text("".join(lines))


def among_lines(rng: random.Random, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    at = rng.randrange(len(lines))
    rows = (
        b"\n",
        b"[]\n",
        b"{}\n",
        b"null\n",
        b"{\n",
        b"NaN\n",
        b"\x00" * 64 + b"\n",
        b"[" * 3000 + b"\n",
        lines[0],
        lines[-1],
    )
    other = rng.choice(rows)
    kind = rng.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, other)
    elif kind == 2:
        lines[at] = other
    else:
        rng.shuffle(lines)
    file.write_bytes(b"".join(lines))


def in_bytes(rng: random.Random, file: Path) -> None:
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content) + 1)
    kind = rng.randrange(6)
    if kind == 0:
        del content[at:]
    elif kind == 1:
        for _ in range(rng.randrange(1, 9)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == 2:
        content[at:at] = rng.choice(
            (b"\xef\xbb\xbf", b"\x00", b"\xff\xfe", b"[" * 5000, b'"', b"}", b"\xe4", b"\r\n", b"\xe2\x80\xa8")
        )
    elif kind == 3:
        del content[at : at + rng.randrange(1, 50)]
    elif kind == 4:
        content[:0] = b"\xef\xbb\xbf"
    else:
        content[at : at + 40] = b"\x00" * 40
    file.write_bytes(bytes(content))


def the_file(rng: random.Random, file: Path) -> None:
    """Something else under its name, or nothing."""
    content = file.read_bytes()
    file.unlink()
    kind = rng.randrange(8)
    if kind == 0:
        file.mkdir()
    elif kind == 1:
        os.mkfifo(file)
    elif kind == 2:
        file.symlink_to("/dev/zero")
    elif kind == 3:
        file.symlink_to(file.name)
    elif kind == 4:
        file.symlink_to("nowhere")
    elif kind == 5:
        file.write_bytes(b"")
    elif kind == 6:
        file.write_bytes(rng.randbytes(200))
    elif rng.random() < 0.5:
        file.write_bytes(content * 2)


def the_folder(rng: random.Random, file: Path) -> None:
    """Beside the file: what no program of ours puts there."""
    kind = rng.randrange(5)
    if kind == 0:
        (file.parent / "loop").symlink_to(".")
        (file.parent / "again").symlink_to("..")
    elif kind == 1:
        shutil.rmtree(file.parent)
    elif kind == 2:
        (file.parent / f"{file.name}.part").write_bytes(b"{")
    elif kind == 3:
        (file.parent / "9.json").write_text(json_text(rng.choice(VALUES)))
    else:
        (file.parent / "summary.json").unlink(missing_ok=True)
        (file.parent / "summary.json").mkdir()


def damages(file: Path) -> list[Callable[[random.Random, Path], None]]:
    """What can be done to a file of its kind; the likelier ones more often."""
    inside = {".jsonl": [in_a_line] * 5 + [among_lines] * 3, ".json": [in_json] * 6, ".yaml": [in_yaml] * 6}
    return [*inside.get(file.suffix, []), in_bytes, in_bytes, the_file, the_folder]


def damage(rng: random.Random, files: list[Path]) -> str:
    """Damage one of the files; what was done, in words, for the message of a test that fails."""
    file = rng.choice(files)
    act = rng.choice(damages(file))
    try:
        act(rng, file)
    except (ValueError, IsADirectoryError, RecursionError, yaml.YAMLError):  # a file that is empty, or damaged before
        file.write_bytes(b"\xff")
    return f"{act.__name__} {file.name}"
