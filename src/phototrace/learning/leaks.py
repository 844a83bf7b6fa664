"""No training on leaks: what the tasks of one network would tell each other, found beforehand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phototrace.errors import UsageError
from phototrace.files import hash_of, write_json
from phototrace.learning.run import Run
from phototrace.photos.audit import Leak, audit
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import legible
from phototrace.photos.remembered import Recognised, recognise
from phototrace.photos.splits import Split

TRAINED = ("train", "validation")
"""The parts that a training opens; the test part is left to the evaluation."""
VERSION = 3  # goes up when the same photos and split come to give other leaks


def check_leaks(
    manifest: Manifest,
    split: Split,
    stores: Path,
    *,
    trunk: Run | None = None,
    test_devices: Sequence[str] = (),
    allowed: bool = False,
) -> list[Leak]:
    """The leaks between the parts of a split that all tasks of one network share.

    What was found is kept in `stores`, so that the same photos and split are looked at once.
    Photos that cannot be read are passed over: they give no patches either.

    Args:
        manifest: The photos of all tasks, with the columns of `with_traces`.
        split: Their parts.
        stores: Folder of patch stores.
        trunk: The run whose trunk is taken over, if one is: see `trunk_leaks`.
        test_devices: Devices for test only.
        allowed: Return leaks instead of raising.

    Raises:
        UsageError: There are leaks, and they are not `allowed`.
    """
    leaks = _known_or_found(manifest, split, stores)
    leaks += trunk_leaks(manifest, split, trunk, test_devices) if trunk else []
    if leaks and not allowed:
        counts = Counter(leak.kind for leak in leaks)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        raise UsageError(
            f"The split leaks ({kinds}). {leaks[0].text} `phototrace audit RECIPE` lists all; "
            "split in another way, leave photos out, or train anyway with --allow-leaks."
        )
    return leaks


def trained_hashes(run: Run) -> frozenset[str]:
    """SHA-256 of the photos that trained or validated a run, those of its trunk included."""
    return frozenset(sha256 for sha256, part in run.split["part"].items() if part in TRAINED)


def recognised(run: Run, manifest: Manifest) -> Recognised:
    """Which photos of a manifest, with the columns of `with_traces`, trained a run.

    Where the run keeps no list of them, they are known by their file hashes alone.
    """
    hashes = trained_hashes(run)
    if run.trained is not None:
        return recognise(run.trained, manifest, hashes)
    same = {p.id for p in manifest.photos if p.sha256 in hashes}
    bursts = {p.burst for p in manifest.photos if p.id in same} - {""}
    found = {p.id: "same burst" for p in manifest.photos if p.burst in bursts}
    return Recognised({**found, **dict.fromkeys(same, "same file")})


def trunk_leaks(
    manifest: Manifest, split: Split, trunk: Run, test_devices: Sequence[str] = ()
) -> list[Leak]:
    """The leaks between test photos here and the photos that trained a trunk that is reused.

    Args:
        manifest: The photos of this training, with the columns of `with_traces`.
        split: Their parts.
        trunk: The run that the trunk is from.
        test_devices: Devices for test only, which the trunk must not have been trained on.
    """
    found = recognised(trunk, manifest)
    leaks = []
    device, scene = "device" in split.by, "scene" in split.by
    for photo in split.photos(manifest, "test").photos:
        kept_out = device or photo.device_id in test_devices
        if photo.id in found.reasons:
            kind = found.reasons[photo.id]
        elif kept_out and photo.id in found.device:
            kind = "same device"
        elif scene and photo.id in found.scene:
            kind = "same scene"
        else:
            continue
        what = "a photo that looks the same" if kind == "resaved" else f"the {kind}"
        text = f"{legible(photo.path)} is for test, but the trunk was trained on {what}."
        leaks.append(Leak(kind, photo.path, photo.path, ("train", "test"), text))
    return leaks


def _known_or_found(manifest: Manifest, split: Split, stores: Path) -> list[Leak]:
    photos = sorted((p.sha256, p.path) for p in manifest.photos)
    key = hash_of([VERSION, manifest.hash, photos, split.by, split.hash])
    path = stores / f"leaks-{key[:12]}.json"
    known = _read(path)
    if known is None:
        known = audit(manifest, split, skip_unreadable=True)
        write_json(path, {"version": VERSION, "leaks": [vars(leak) for leak in known]})
    return known


def _read(path: Path) -> list[Leak] | None:
    try:
        written: Sequence[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["leaks"]
        return [Leak(**{**leak, "parts": tuple(leak["parts"])}) for leak in written]
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not audited yet, or not readable: audited again
