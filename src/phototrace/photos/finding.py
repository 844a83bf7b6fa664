"""Find the photos in a folder: sorted, without hanging on loops of links, pipes or devices."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from phototrace.errors import UsageError
from phototrace.files import relative_path
from phototrace.photos.content import (
    HEAD_BYTES,
    RAW,
    TIFF_BYTES,
    has_raw_ending,
    is_raw,
    kind_of,
    refusal_of,
)
from phototrace.photos.decoding import reads_tiff
from phototrace.photos.manifest import Problem
from phototrace.photos.photo import legible

_PHOTO_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff")


@dataclass
class Found:
    """Relative paths (with forward slashes, sorted) of what should be photos, and the rest."""

    paths: list[str] = field(default_factory=list)
    broken: list[Problem] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)


def find_photos(folder: Path, leave_out: frozenset[str] = frozenset()) -> Found:
    """Look through `folder` and all below it.

    A file is taken for a photo if its content or its ending says JPEG, PNG or TIFF. Links are
    followed, each folder is entered once. Hidden files and folders, raw files, and whatever is no
    photo, are listed as skipped. What cannot be opened, or has a name that is not UTF-8, is listed
    as broken.

    Args:
        folder: Where to look.
        leave_out: Absolute paths of files to pass over without a word.

    Raises:
        UsageError: `folder` cannot be opened.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UsageError(
            f"The folder {legible(folder)} cannot be opened ({error.strerror}). Check the path."
        ) from None
    found = Found()
    for path in _files(folder, found):
        if os.path.abspath(path) not in leave_out:
            _sort_in(path, relative_path(path, os.fspath(folder)), found)
    found.paths.sort()
    found.broken.sort(key=lambda problem: problem.path)
    found.skipped.sort(key=lambda problem: problem.path)
    return found


def _files(folder: Path, found: Found) -> Iterator[str]:
    """All files; linked folders come last, so that a folder goes by its own name if it has one."""
    entered: set[object] = set()
    top = os.fspath(folder)
    folders, links = [top], list[str]()
    while folders or links:
        place = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(place)
            # Some file systems number no folders when Windows asks.
            known = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(place)
            if known in entered:
                continue
            entered.add(known)
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            found.broken.append(_unreadable(relative_path(place, top), error))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                found.skipped.append(_skipped(relative_path(entry.path, top), "is hidden."))
            elif not os.path.isdir(entry.path):  # unlike entry.is_dir(), false for a looping link
                yield entry.path
            elif entry.is_symlink():
                links.append(entry.path)
            else:
                folders.append(entry.path)


def _sort_in(path: str, name: str, found: Found) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        text = f"The name {legible(name)} is not valid UTF-8. Rename the file."
        found.broken.append(Problem(name, "unreadable", text))
        return
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            found.skipped.append(_skipped(name, "is a pipe or device."))
            return
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            if kind_of(head) == "TIFF":
                head += file.read(TIFF_BYTES - HEAD_BYTES)
    except FileNotFoundError:
        text = f"{legible(name)} is a link to a file that is not there. Remove or restore it."
        found.broken.append(Problem(name, "missing", text))
        return
    except OSError as error:
        found.broken.append(_unreadable(name, error))
        return
    if _is_left_out_as_raw(head, name):
        found.skipped.append(_skipped(name, RAW))
    elif kind_of(head):
        found.paths.append(name)
    elif name.lower().endswith(_PHOTO_ENDINGS):
        found.broken.append(Problem(name, "unreadable", f"{legible(name)} {refusal_of(head)}"))
    else:
        found.skipped.append(_skipped(name, refusal_of(head)))


def _is_left_out_as_raw(head: bytes, name: str) -> bool:
    """By the content; the name's ending tells where the content is nothing that is read."""
    kind = kind_of(head)
    if is_raw(head) if kind == "TIFF" else refusal_of(head) == RAW:
        return True
    read = reads_tiff(head) if kind == "TIFF" else bool(kind)
    return has_raw_ending(name) and bool(head) and not read


def _skipped(name: str, reason: str) -> Problem:
    return Problem(name, "skipped", f"{legible(name)} {reason}")


def _unreadable(name: str, error: OSError) -> Problem:
    text = f"{legible(name)} cannot be read ({error.strerror}). Check its permissions."
    return Problem(name, "unreadable", text)
