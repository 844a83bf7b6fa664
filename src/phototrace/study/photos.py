"""The photos of a study stay the same from its first start to its last."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from phototrace.errors import UsageError
from phototrace.files import sha256_of
from phototrace.photos.manifest import Manifest, changed_problem
from phototrace.photos.photo import shown
from phototrace.progress import parallel_map, say


def same_photos(manifest: Manifest, kept: Path) -> tuple[Manifest, list[dict[str, str]]]:
    """The photos that are there and unchanged, and those left out with the reason.

    Every file is hashed. At the first start the list goes to `kept`; later starts are held against
    it, so that one study never mixes two collections.

    Raises:
        UsageError: A photo has changed or gone, or others came, since the study began.
    """
    jobs = [(manifest.path_of(p), p.sha256) for p in manifest.photos]
    reasons = list(parallel_map(_what_is_wrong, jobs, "Checking photos"))
    left_out = [
        {"path": p.path, "text": reason}
        for p, reason in zip(manifest.photos, reasons, strict=True)
        if reason
    ]
    sound = tuple(
        p for p, reason in zip(manifest.photos, reasons, strict=True) if not reason
    )  # fmt: skip
    found = replace(manifest, photos=sound)
    if kept.is_file():
        _require_same(Manifest.read(kept), found, left_out, kept)
        return found, left_out
    if not sound:
        raise UsageError(
            f"None of the {len(jobs)} photos is there and unchanged. {left_out[0]['text']}"
            if left_out
            else "There are no photos for the study."
        )
    for one in left_out[:20]:
        say(one["text"])
    if left_out:
        say(f"{len(left_out)} of {len(jobs)} photos are left out.")
    found.write(kept)
    return found, left_out


def _what_is_wrong(job: tuple[Path, str]) -> str:
    path, sha256 = job
    try:
        return "" if sha256_of(path) == sha256 else changed_problem(path).text
    except OSError as error:
        return f"{shown(path)} cannot be read ({error.strerror or error}). Restore it."


def _require_same(
    begun: Manifest, found: Manifest, left_out: list[dict[str, str]], kept: Path
) -> None:
    if begun.hash == found.hash:
        return
    gone = {p.sha256: p for p in begun.photos}
    came = [p for p in found.photos if gone.pop(p.sha256, None) is None]
    changed = [*gone.values(), *came]
    first = left_out[0]["text"] if left_out else ""
    if not first and changed:
        state = "is not among the photos any more" if gone else "was not there then"
        first = f"{shown(changed[0].path)} {state}."
    if not changed:
        first = "Cameras, devices or scenes are named otherwise."
    raise UsageError(
        f"The photos are not those that the study in {kept.parent} began with ({len(changed)} "
        f"differ). {first} Restore them, or begin anew in another --out."
    )
