"""Read many photos on all cores, in a way that can be interrupted and taken up again."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from phototrace.errors import PhotoError
from phototrace.photos.manifest import Problem
from phototrace.photos.perceptual import look, phash
from phototrace.photos.photo import legible, read_whole
from phototrace.progress import parallel_map

SHARED_BY = 3
_CHUNK = 8
_VERSION = 2


@dataclass(frozen=True)
class Facts:
    """What indexing keeps of one file; see `Photo` and `perceptual`."""

    sha256: str
    width: int
    height: int
    qtables: str
    make: str
    model: str
    serial: str
    taken: str
    taken_from: str
    phash: str
    look: str
    damage: str = ""

    def traces(self) -> dict[str, str]:
        """What the photo is known again by, as the columns that indexing adds."""
        return {"phash": self.phash, "look": self.look, "body": self.serial, "taken": self.taken}


def read_all(paths: Sequence[str], journal: Path | None) -> dict[str, Facts | Problem]:
    """Decode every file once; the facts or the problem of each path.

    Of a JPEG that has lost data the facts say so; whether it is taken is for the caller to say.

    Args:
        paths: Absolute paths.
        journal: Where finished work is noted, so that a later call with the same journal goes on
            from there. A file that has changed its size or time since is read again.
    """
    results: dict[str, Facts | Problem] = {}
    known = _read_journal(journal) if journal else {}
    for path in paths:
        key = _key(path)
        if key is not None and key in known:
            results[path] = known[key]
    left = [path for path in paths if path not in results]
    chunks = [left[start : start + _CHUNK] for start in range(0, len(left), _CHUNK)]
    label = f"Reading photos ({_CHUNK} a step)"
    for chunk, read in zip(chunks, parallel_map(_read_chunk, chunks, label), strict=True):
        if journal:
            _note(journal, read)
        results |= {path: result for path, (_, result) in zip(chunk, read, strict=True)}
    return results


def without_shared_serials(
    results: Mapping[str, Facts | Problem],
) -> tuple[dict[str, Facts | Problem], list[str]]:
    """The results without serial numbers that three camera models or more have; notes on these.

    Such a number is the maker's or a program's, not a body's.
    """
    models: dict[str, set[str]] = defaultdict(set)
    for facts in results.values():
        if isinstance(facts, Facts) and facts.serial:
            models[facts.serial].add(f"{facts.make} {facts.model}".casefold())
    shared = {serial for serial, of in models.items() if len(of) >= SHARED_BY}
    kept = dict(results)
    for path, facts in results.items():
        if isinstance(facts, Facts) and facts.serial in shared:
            kept[path] = replace(facts, serial="")
    text = "The serial number {} stands in photos of {} camera models: it names no device."
    return kept, [text.format(serial, len(models[serial])) for serial in sorted(shared)]


_Key = tuple[str, int, int]


def _key(path: str) -> _Key | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return path, status.st_size, status.st_mtime_ns


def _read_chunk(paths: list[str]) -> list[tuple[_Key | None, Facts | Problem]]:
    # The key is taken before reading: a file that changes meanwhile is read again later.
    return [(_key(path), read_file(path)) for path in paths]


def read_file(path: str) -> Facts | Problem:
    """What indexing keeps of one file, or what is wrong with it."""
    if not os.path.exists(path):
        return Problem(path, "missing", f"{legible(path)} is not there. Restore it.")
    try:
        photo, green = read_whole(Path(path), keep_damaged=True)
    except PhotoError as error:
        return Problem(path, "unreadable", str(error))
    return Facts(
        photo.sha256, photo.width, photo.height, photo.qtables, photo.make, photo.model,
        photo.serial, photo.taken, photo.taken_from, phash(green), look(green), photo.damage,
    )  # fmt: skip


def _note(journal: Path, read: list[tuple[_Key | None, Facts | Problem]]) -> None:
    """Append one line. It begins with a line break: a half-written line before it stays alone."""
    files = [[*key, asdict(facts)] for key, facts in read if key and isinstance(facts, Facts)]
    line = json.dumps({"version": _VERSION, "files": files})
    with journal.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")


def _read_journal(journal: Path) -> Mapping[_Key, Facts]:
    try:
        lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    known: dict[_Key, Facts] = {}
    for line in lines:
        try:
            noted: Any = json.loads(line)
            if noted["version"] == _VERSION:
                known |= {
                    (p, size, time): Facts(**facts) for p, size, time, facts in noted["files"]
                }
        except (ValueError, TypeError, KeyError):
            continue  # A line cut off by the interruption: its photos are read again.
    return known
