"""The photos of a study stay the same from its first start to its last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from phototrace.errors import UsageError
from phototrace.files import sha256_of
from phototrace.photos.decoding import size_in_header
from phototrace.photos.manifest import (
    Manifest,
    PhotoRecord,
    changed_problem,
    check_file,
    duplicate_problem,
    is_kept_damaged,
    size_problem,
)
from phototrace.photos.photo import legible
from phototrace.progress import parallel_map, say

LISTED = 20


def same_photos(manifest: Manifest, kept: Path) -> tuple[Manifest, list[dict[str, str]]]:
    """The photos that are there, whole and unchanged, each once; and those left out, with why.

    At the first start every photo is decoded, and the list goes to `kept`. At later ones every file
    of the list is hashed, and others are decoded, so that one study never mixes two collections.

    Raises:
        UsageError: A photo has changed or gone, others came, or the manifest describes them in
            another way, since the study began.
    """
    begun = Manifest.load(kept) if kept.is_file() else None
    whole = {photo.sha256 for photo in begun.photos} if begun else set()
    jobs = [
        (manifest.path_of(p), p.sha256, p.sha256 in whole, is_kept_damaged(p))
        for p in manifest.photos
    ]
    looked_at = parallel_map(_what_is_wrong, jobs, "Checking photos")
    both = zip(looked_at, _repeated(manifest), strict=True)
    reasons = [wrong or repeated for wrong, repeated in both]
    pairs = list(zip(manifest.photos, reasons, strict=True))
    left_out = [{"path": photo.path, "text": reason} for photo, reason in pairs if reason]
    found = replace(manifest, photos=tuple(photo for photo, reason in pairs if not reason))
    if begun:
        _require_same(begun, found, left_out, kept)
    elif not found.photos:
        first = left_out[0]["text"] if left_out else "Check the path."
        raise UsageError(f"None of the {len(jobs)} photos can be used. {first}")
    else:
        for one in left_out[:LISTED]:
            say(one["text"])
        if left_out:
            say(f"{len(left_out)} of {len(jobs)} photos are left out.")
        found.save(kept)
    return found, left_out


def other_sizes(manifest: Manifest) -> list[str]:
    """A note on photos whose header says another size than the manifest, if there are any."""
    jobs = [(manifest.path_of(p), p) for p in manifest.photos if p.width and p.height]
    wrong = [text for text in parallel_map(_other_size, jobs, "Looking at sizes") if text]
    return [f"{len(wrong)} photos have other sizes than listed. {wrong[0]}"] if wrong else []


def _other_size(job: tuple[Path, PhotoRecord]) -> str:
    path, record = job
    found = size_in_header(path)
    problem = size_problem(path, found, record) if found else None
    return problem.text if problem else ""


def _what_is_wrong(job: tuple[Path, str, bool, bool]) -> str:
    """Of a file that should have an SHA-256; "" if nothing.

    The job says besides whether it was decoded before, and whether it is kept though damaged.
    """
    path, sha256, decoded, kept = job
    if not decoded:
        problem = check_file((path, sha256), keep_damaged=kept)
        return problem.text if problem else ""
    try:
        return "" if sha256_of(path) == sha256 else changed_problem(path).text
    except OSError as error:
        return f"{legible(path)} cannot be read ({error.strerror or error}). Restore it."


def _repeated(manifest: Manifest) -> Iterator[str]:
    first: dict[str, PhotoRecord] = {}
    for photo in manifest.photos:
        earlier = first.setdefault(photo.sha256, photo)
        yield "" if earlier is photo else duplicate_problem(photo.path, earlier.path).text


def _require_same(
    begun: Manifest, found: Manifest, left_out: list[dict[str, str]], kept: Path
) -> None:
    columns = sorted({name for photo in begun.photos for name in photo.extra})
    then = {p.sha256: _said(p, columns) for p in begun.photos}
    now = {p.sha256: _said(p, columns) for p in found.photos}
    if then == now:
        return
    both = (*found.photos, *begun.photos)
    other = [p for p in both if then.get(p.sha256) != now.get(p.sha256)]
    first = legible(other[0].path)
    if other[0].sha256 not in now:
        why = left_out[0]["text"] if left_out else f"{first} is not among the photos any more."
    elif other[0].sha256 not in then:
        why = f"{first} was not there before."
    else:
        why = f"The manifest describes {first} in another way."
    raise UsageError(
        f"The photos are not those that the study in {kept.parent} began with "
        f"({len({p.sha256 for p in other})} differ). {why} Restore them, or start again in another "
        "--out."
    )


def _said(photo: PhotoRecord, columns: Sequence[str]) -> tuple[object, ...]:
    """All that is said of a photo but where it lies; of further columns those named."""
    plain = replace(photo, path="", extra={})
    return (plain, *(photo.extra.get(name, "") for name in columns))
