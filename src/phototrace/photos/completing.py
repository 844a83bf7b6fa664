"""Give a manifest what photos are known again by, where whoever made it did not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.reading import Facts, read_all, without_shared_serials

TRACES = ("phash", "look", "body", "taken")
"""The columns that indexing adds to know photos again by: those of `Facts.traces`."""
_JOURNAL = "photos.jsonl"


def with_traces(manifest: Manifest, folder: Path) -> Manifest:
    """The same photos with the columns `TRACES`; cells that are filled stay.

    Photos without them are decoded once, which `folder / "photos.jsonl"` remembers. One that cannot
    be read, or has changed, stays as it is.
    """
    lacking = [p for p in manifest.photos if not p.extra.keys() >= set(TRACES)]
    if not lacking:
        return manifest
    folder.mkdir(parents=True, exist_ok=True)
    paths = {p.path: str(manifest.path_of(p)) for p in lacking}
    found = read_all(list(dict.fromkeys(paths.values())), folder / _JOURNAL)
    read, _ = without_shared_serials(found)

    def completed(photo: PhotoRecord) -> PhotoRecord:
        facts = read.get(paths.get(photo.path, ""))
        if not isinstance(facts, Facts) or facts.sha256 != photo.sha256:
            return photo
        filled = {name: text for name, text in photo.extra.items() if text}
        return replace(photo, extra={**photo.extra, **facts.traces(), **filled})

    return replace(manifest, photos=tuple(map(completed, manifest.photos)))
