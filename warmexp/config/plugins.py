"""Methods from outside the project: of packages that a user names as trusted, and of no others.

Trusted is what the environment variable WARMEXP_PLUGINS names (the names of importable packages or the paths of their
folders, with commas between them), what the word plugins=[…] of a command line names, and what an installed
distribution registers as an entry point of the group `warmexp.plugins`. A configuration file cannot widen the list:
`plugins` is no key of the configuration.

A trusted package may have a folder `conf` with YAML files in the groups' folders, as the project's own; they become
options.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from warmexp.errors import UserError

VARIABLE = "WARMEXP_PLUGINS"
ENTRY_POINTS = "warmexp.plugins"
WORD = "plugins="


@dataclass(frozen=True)
class Root:
    """A trusted package: its top-level name and the folder that its files lie in."""

    name: str
    folder: Path


def roots() -> list[Root]:
    """The trusted packages, each once, in the order in which they are named. Imports none of them.

    Raises:
        UserError: one of them cannot be found.
    """
    importlib.invalidate_caches()
    named = [name for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    found = {root.name: root for root in map(_root, [*named, *_registered(tuple(sys.path))])}
    return list(found.values())


@cache
def _registered(path: tuple[str, ...]) -> list[str]:
    """The packages that distributions on a path register: looking through all of them takes tens of milliseconds."""
    return [entry.value.partition(":")[0].partition(".")[0] for entry in metadata.entry_points(group=ENTRY_POINTS)]


def conf_folders() -> list[Path]:
    """The folders with options of trusted packages."""
    return [root.folder / "conf" for root in roots() if (root.folder / "conf").is_dir()]


def trusts(module: str) -> bool:
    """Whether classes of a module may be instantiated."""
    top = module.partition(".")[0]
    return top == "warmexp" or any(root.name == top for root in roots())


def source_sha256(cls: type) -> str | None:
    """A hash of the Python files of the package that a class comes from, which belongs to a run's identity; None of a
    class of the project.

    Of all files, since a method may use any of them: a change of one makes other runs, never old results under a new
    meaning.
    """
    top = cls.__module__.partition(".")[0]
    if top == "warmexp":
        return None
    folder = next(root.folder for root in roots() if root.name == top)
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def take_words(words: Sequence[str]) -> list[str]:
    """The words of a command line without plugins=…, whose packages are trusted by this process and those that it
    starts."""
    given = [
        name.strip(" '\"")
        for word in words
        if word.startswith(WORD)
        for name in word[len(WORD) :].strip("[]").split(",")
    ]
    paths = [str(Path(name).expanduser().resolve()) if _is_path(name) else name for name in given if name]
    if paths:
        said = os.environ.get(VARIABLE, "")
        before = [name for name in said.split(",") if name.strip()]
        os.environ[VARIABLE] = ",".join(dict.fromkeys([*before, *paths]))
        try:
            roots()
        except UserError:  # nothing that is asked afterwards is refused because of it
            os.environ[VARIABLE] = said
            raise
    return [word for word in words if not word.startswith(WORD)]


def _is_path(name: str) -> bool:
    return os.sep in name or name.startswith(("~", ".")) or Path(name).is_dir()


def _root(name: str) -> Root:
    name = name.strip()
    if _is_path(name):
        return _of_folder(Path(name).expanduser().resolve())
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise UserError(
            f"plugins={name} is no package that can be imported: install it, or give its folder,"
            f" plugins=[path/to/{name}]."
        )
    return Root(name, Path(places[0]))


def _of_folder(folder: Path) -> Root:
    if not folder.is_dir() or not folder.name.isidentifier():
        raise UserError(f"plugins={folder} is not a folder whose name Python can import: give a package's folder.")
    if str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))  # last, so that it hides nothing
    spec = importlib.util.find_spec(folder.name)
    places = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
    if folder not in places:
        raise UserError(f"plugins={folder} cannot be used: another package is called {folder.name}; rename the folder.")
    return Root(folder.name, folder)
