"""The corpus "vision": photos of phones and tablets, and their copies from social networks.

Shullani et al., *VISION: a video and image dataset for source identification*, EURASIP Journal on
Information Security 2017. Layout: `D01_Samsung_GalaxyS3Mini/images/nat/D01_I_nat_0001.jpg`. The
folders of `images` are the versions, which become the manifest's column `variant`:

- `nat`, a photo as the device wrote it, and its copies `natFBH` and `natFBL` (from Facebook, in
  high and low quality) and `natWA` (from WhatsApp), all with the number of the original;
- `flat`, a wall or the sky.

A photo is told by its file name, so folders may be missing or have other names; folders that
contradict the name lead to the photo being left out. Where the number is equal on the same device,
a copy and its original share the manifest's column `original` and its burst, so that no split parts
them; `where = { variant = ["nat"] }` in a recipe takes the originals alone.

The collection says nothing of scenes. Each photo of `nat` with its copies counts as one scene of
its own, and all flat pictures as one: a split by device and scene keeps devices and copies apart,
but cannot know that two photos show the same place.

A whole copy holds 34,427 images: 11,732 as the devices wrote them, of which 7,565 in `nat` came
back from the networks three times each.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from phototrace.photos.corpora.labels import Labels, Reading, Shot, lacking, misnamed, repeated
from phototrace.photos.manifest import Problem
from phototrace.photos.photo import legible

NATURAL = ("nat", "natFBH", "natFBL", "natWA")
COUNTS = {"flat": 4167, **dict.fromkeys(NATURAL, 7565)}
"""Version -> images in a whole copy."""

# Make_Model of D01, D02, ... Several devices are of one model.
_CAMERAS = (
    "Samsung_GalaxyS3Mini", "Apple_iPhone4s", "Huawei_P9", "LG_D290", "Apple_iPhone5c",
    "Apple_iPhone6", "Lenovo_P70A", "Samsung_GalaxyTab3", "Apple_iPhone4", "Apple_iPhone4s",
    "Samsung_GalaxyS3", "Sony_XperiaZ1Compact", "Apple_iPad2", "Apple_iPhone5c", "Apple_iPhone6",
    "Huawei_P9Lite", "Microsoft_Lumia640LTE", "Apple_iPhone5c", "Apple_iPhone6Plus",
    "Apple_iPadMini", "Wiko_Ridge4G", "Samsung_GalaxyTrendPlus", "Asus_Zenfone2Laser",
    "Xiaomi_RedmiNote3", "OnePlus_A3000", "Samsung_GalaxyS3Mini", "Samsung_GalaxyS5", "Huawei_P8",
    "Apple_iPhone5", "Huawei_Honor5c", "Samsung_GalaxyS4Mini", "OnePlus_A3003", "Huawei_Ascend",
    "Apple_iPhone5", "Samsung_GalaxyTabA",
)  # fmt: skip
DEVICES = {f"D{number:02d}": camera for number, camera in enumerate(_CAMERAS, 1)}
"""Device -> make and model as its folder has them: 35 devices of 29 models by 11 makers."""

_NAME = re.compile(r"(D\d\d)_I_(flat|nat|natFBH|natFBL|natWA)_(\d{1,6})\.jpe?g", re.IGNORECASE)
_VARIANTS = {name.lower(): name for name in COUNTS}


def vision(source: Path, paths: Sequence[str]) -> Reading:
    """Labels by the file names; what a whole copy has and this one lacks."""
    shots = {path: shot for path in paths if (shot := _shot(path)) is not None}
    reading = Reading([_labels(path, shots.get(path)) for path in paths])
    kept = [p for p, label in zip(paths, reading.labels, strict=True) if isinstance(label, Labels)]
    if not kept:
        return reading
    reading.problems.extend(_missing({shots[path] for path in kept}))
    reading.problems.extend(p for path in kept for p in misnamed(path, _name_of(shots[path])))
    reading.problems.extend(repeated((path, shots[path]) for path in kept))
    reading.notes.append(
        "A whole copy of VISION holds 34,427 images of 35 devices of 29 models: 4,167 in flat, and "
        "7,565 each in nat, natFBH, natFBL and natWA."
    )
    return reading


def _shot(path: str) -> Shot | None:
    match = _NAME.fullmatch(PurePosixPath(path).name)
    if match is None or match[1].upper() not in DEVICES:
        return None
    return Shot(match[1].upper(), int(match[3]), _VARIANTS[match[2].lower()])


def _labels(path: str, shot: Shot | None) -> Labels | str:
    if shot is None:
        return "is not named as D01_I_nat_0001.jpg."
    for folder in PurePosixPath(path).parts[:-1]:
        said = folder[:3].upper() if re.match(r"D\d\d(_|$)", folder, re.IGNORECASE) else None
        if (said or shot.device) != shot.device:
            return f"lies in {legible(folder)} but is named as a photo of {shot.device}."
        if _VARIANTS.get(folder.lower(), shot.variant) != shot.variant:
            return f"lies in {legible(folder)} but is named as of {shot.variant}."
    make, _, model = DEVICES[shot.device].partition("_")
    kind = "flat" if shot.variant == "flat" else "nat"
    original = f"vision {shot.device} {kind} {shot.number:04d}"
    scene = "flat" if kind == "flat" else f"{shot.device} {shot.number:04d}"
    extra = {"variant": shot.variant, "original": original}
    return Labels(make, model, shot.device, scene, extra)


def _missing(shots: set[Shot]) -> list[Problem]:
    """Whole devices and versions, single versions of photos that are there, and the totals."""
    numbers = defaultdict(set)
    for shot in shots:
        if shot.variant != "flat":
            numbers[shot.device].add(shot.number)
    natural = {shot for shot in shots if shot.variant != "flat"}
    cameras = {device: camera.replace("_", " ") for device, camera in DEVICES.items()}
    flat = {shot.device for shot in shots} - {shot.device for shot in natural}
    known = {device: camera for device, camera in cameras.items() if device not in flat}
    problems = lacking(natural, known, NATURAL, lambda device: sorted(numbers[device]), _name_of)
    there = Counter(shot.variant for shot in shots)
    for variant, count in COUNTS.items():
        if there[variant] < count and (there[variant] or variant == "flat"):
            text = f"Of the version {variant}, {there[variant]} of {count} photos are there."
            problems.append(Problem(variant, "missing", text))
    return problems


def _name_of(shot: Shot) -> str:
    return f"{shot.device}_I_{shot.variant}_{shot.number:04d}.jpg"
