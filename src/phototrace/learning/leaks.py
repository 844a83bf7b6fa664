"""No training on leaks: what the tasks of one network would tell each other, found beforehand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phototrace.errors import UsageError
from phototrace.files import hash_of, write_json
from phototrace.photos.audit import Leak, audit
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import legible
from phototrace.photos.splits import Split

TRAINED = ("train", "validation")
"""The parts that a training opens; the test part is left to the evaluation."""
VERSION = 2  # goes up when the same photos and split come to give other leaks


def check_leaks(
    manifest: Manifest,
    split: Split,
    stores: Path,
    *,
    trained: Mapping[str, Any] | None = None,
    test_devices: Sequence[str] = (),
    allowed: bool = False,
) -> list[Leak]:
    """The leaks between the parts of a split that all tasks of one network share.

    What was found is kept in `stores`, so that the same photos and split are looked at once.
    Photos that cannot be read are passed over: they give no patches either.

    Args:
        manifest: The photos of all tasks.
        split: Their parts.
        stores: Folder of patch stores.
        trained: `Run.split` of the run whose trunk is taken over, if one is: see `trunk_leaks`.
        test_devices: Devices for test only.
        allowed: Return leaks instead of raising.

    Raises:
        UsageError: There are leaks, and they are not `allowed`.
    """
    leaks = _known_or_found(manifest, split, stores)
    leaks += trunk_leaks(manifest, split, trained, test_devices) if trained else []
    if leaks and not allowed:
        counts = Counter(leak.kind for leak in leaks)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        raise UsageError(
            f"The split leaks ({kinds}). {leaks[0].text} `phototrace audit RECIPE` lists all; "
            "split in another way, leave photos out, or train anyway with --allow-leaks."
        )
    return leaks


def trained_bursts(manifest: Manifest, trained: Mapping[str, Any]) -> set[str]:
    """Bursts with a photo that trained the run whose `Run.split` is `trained`.

    Also by the names that `manifest` gives them now: a burst that grew may have another.
    """
    known = {p.burst for p in manifest.photos if trained["part"].get(p.sha256) in TRAINED}
    return {*known, *trained.get("bursts", ())} - {""}


def trunk_leaks(
    manifest: Manifest,
    split: Split,
    trained: Mapping[str, Any],
    test_devices: Sequence[str] = (),
) -> list[Leak]:
    """The leaks between test photos here and training photos of a trunk that is reused.

    Photos of another training are known by their hashes alone, so a resaved copy is
    not found here: index the photos of both trainings together and audit that.

    Args:
        manifest: The photos of this training.
        split: Their parts.
        trained: `Run.split` of the run that the trunk is from.
        test_devices: Devices for test only, which the trunk must not have been trained on.
    """
    leaks = []
    tests = [p for p in manifest.photos if split.part.get(p.id) == "test"]
    device, scene = "device" in split.by, "scene" in split.by
    bursts = trained_bursts(manifest, trained)
    for photo in tests:
        kept_out = device or photo.device_id in test_devices
        if trained["part"].get(photo.sha256) in TRAINED:
            kind = "same file"
        elif photo.burst in bursts:
            kind = "same burst"
        elif kept_out and photo.device and photo.device_id in trained["devices"]:
            kind = "same device"
        elif scene and photo.scene and photo.scene in trained["scenes"]:
            kind = "same scene"
        else:
            continue
        text = f"{legible(photo.path)} is for test, but the trunk was trained on the {kind}."
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
