"""What commands say of the photos they were given: what was read, left out, or looks wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phototrace.cli.app import list_items
from phototrace.errors import UsageError

if TYPE_CHECKING:
    from phototrace.photos.indexing import IndexResult

CorpusChoice = Annotated[
    str | None,
    typer.Option(
        "--corpus",
        help="How a folder is read: auto, folder, exif, dresden, vision or forchheim.",
    ),
]

_LISTS = {
    "broken": "could not be read",
    "duplicates": "are copies of others and left out",
    "conflicts": "stand under two cameras or devices and are left out",
    "contradictions": "are by their EXIF of another camera than is said of them",
}


def photos_of(
    path: Path, corpus: str | None, otherwise: str = "auto", *, keep_damaged: bool = False
) -> IndexResult:
    """The photos of a folder, read as `corpus` says or `otherwise`, or of a manifest."""
    from phototrace.photos.indexing import is_manifest, survey

    if corpus and is_manifest(path):
        raise UsageError("--corpus goes with a folder. A manifest says itself whose photos it has.")
    return survey(path, corpus or otherwise, keep_damaged=keep_damaged)


def facts_of(found: IndexResult) -> dict[str, Any]:
    """What was found of the photos, as JSON values."""
    lists = {name: [vars(p) for p in getattr(found, name)] for name in _LISTS}
    return {**lists, "notes": list(found.notes)}


def summary_of(found: IndexResult) -> list[str]:
    """The notes, and a sentence on each list with its first photo, for a page."""
    lists = ((what, getattr(found, name)) for name, what in _LISTS.items())
    counted = [f"{len(listed)} photos {what}. {listed[0].text}" for what, listed in lists if listed]
    return [*found.notes, *counted]


def list_found(found: IndexResult, *apart: str) -> None:
    """Name on stderr what was found of the photos, but for the lists named in `apart`."""
    for name, what in _LISTS.items():
        if name not in apart:
            list_items(what, getattr(found, name))


def tell(found: IndexResult, *apart: str) -> None:
    """The same with the notes before it, where stdout is for another result."""
    for note in found.notes:
        print(note, file=sys.stderr)
    list_found(found, *apart)
