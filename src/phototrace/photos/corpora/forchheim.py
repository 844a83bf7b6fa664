"""The corpus "forchheim": the same scenes by many phones, and their copies from social networks.

Hadwiger and Riess, *The Forchheim Image Database for Camera Identification in the Wild*, 2020
(FODB). Layout: `D01_Motorola_E3_1/orig/D01_img_orig_0001.jpg`. The first folder names device, make,
model and which device of its model it is; the second is the version, which becomes the manifest's
column `variant`: `orig`, as the phone wrote it, and its copies from `facebook`, `instagram`,
`telegram`, `twitter` and `whatsapp`. The number is the scene.

Device, version and scene are told by the file name; the camera's name only by the folder. Photos of
a device none of whose folders names the camera take it from EXIF. Where the number is equal on the
same device, a copy and its original share the manifest's column `original` and its burst, so that
no split parts them; `where = { variant = ["orig"] }` in a recipe takes the originals alone.

A whole copy holds 27 phones of 25 models (D15 and D16 are of one model, and so are D23 and D25) in
143 scenes: more than 23,000 images, a few short of 27 x 143 x 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from phototrace.photos.corpora.labels import Labels, Reading, Shot, lacking, misnamed, repeated
from phototrace.photos.manifest import Problem
from phototrace.photos.photo import legible

VARIANTS = ("orig", "facebook", "instagram", "telegram", "twitter", "whatsapp")
DEVICES = tuple(f"D{number:02d}" for number in range(1, 28))
SCENES = range(1, 144)

_NAME = re.compile(r"(D\d\d)_img_([a-z]+)_(\d{1,6})\.jpe?g", re.IGNORECASE)
_FOLDER = re.compile(r"(D\d\d)_([^_]+)_(.+)", re.IGNORECASE)
_UNIT = re.compile(r"_\d$")


def forchheim(source: Path, paths: Sequence[str]) -> Reading:
    """Labels by file and folder names; what a whole copy has and this one lacks."""
    shots = {path: shot for path in paths if (shot := _shot(path)) is not None}
    cameras = _cameras(shots)
    reading = Reading([_labels(path, shots.get(path), cameras) for path in paths])
    kept = [p for p, label in zip(paths, reading.labels, strict=True) if isinstance(label, Labels)]
    if not kept:
        return reading
    there = {shots[path] for path in kept}
    named = {device: " ".join(cameras.get(device, ("a phone",))) for device in DEVICES}
    reading.problems.extend(lacking(there, named, VARIANTS, lambda device: SCENES, _name_of))
    reading.problems.extend(_unnamed(there, cameras))
    reading.problems.extend(p for path in kept for p in misnamed(path, _name_of(shots[path])))
    reading.problems.extend(repeated((path, shots[path]) for path in kept))
    reading.notes.append(
        "A whole copy of the Forchheim Image Database holds more than 23,000 images: 27 phones of "
        f"25 models, 143 scenes, six versions ({', '.join(VARIANTS)}), with a few files missing."
    )
    return reading


def _shot(path: str) -> Shot | None:
    match = _NAME.fullmatch(PurePosixPath(path).name)
    if match is None or match[1].upper() not in DEVICES or int(match[3]) not in SCENES:
        return None
    variant = match[2].lower()
    return Shot(match[1].upper(), int(match[3]), variant) if variant in VARIANTS else None


def _cameras(shots: Mapping[str, Shot]) -> dict[str, tuple[str, str]]:
    """Make and model of each device, by any folder of its photos that names them.

    The last number of a folder's name is that of the device within its model, unless some mirror
    took these numbers away: then some names end without one, and none is cut.
    """
    named: dict[str, tuple[str, str]] = {}
    for path, shot in shots.items():
        for folder in PurePosixPath(path).parts[:-1]:
            match = _FOLDER.fullmatch(folder)
            if match and match[1].upper() == shot.device:
                named.setdefault(shot.device, (match[2], match[3]))
    if all(_UNIT.search(model) for _, model in named.values()):
        named = {device: (make, model[:-2]) for device, (make, model) in named.items()}
    return {device: (make, model.replace("_", " ")) for device, (make, model) in named.items()}


def _labels(path: str, shot: Shot | None, cameras: Mapping[str, tuple[str, str]]) -> Labels | str:
    if shot is None:
        return "is not named as D01_img_orig_0001.jpg."
    for folder in PurePosixPath(path).parts[:-1]:
        said = folder[:3].upper() if re.match(r"D\d\d(_|$)", folder, re.IGNORECASE) else None
        if (said or shot.device) != shot.device:
            return f"lies in {legible(folder)} but is named as a photo of {shot.device}."
        if folder.lower() in VARIANTS and folder.lower() != shot.variant:
            return f"lies in {legible(folder)} but is named as of {shot.variant}."
    make, model = cameras.get(shot.device, ("", ""))
    original = f"forchheim {shot.device} {shot.number:04d}"
    extra = {"variant": shot.variant, "original": original}
    return Labels(make, model, shot.device, f"{shot.number:04d}", extra)


def _unnamed(shots: set[Shot], cameras: Mapping[str, tuple[str, str]]) -> list[Problem]:
    text = "No folder of {0} is named as D01_Motorola_E3_1: its camera is taken from EXIF."
    devices = sorted({shot.device for shot in shots} - set(cameras))
    return [Problem(device, "misnamed", text.format(device)) for device in devices]


def _name_of(shot: Shot) -> str:
    return f"{shot.device}_img_{shot.variant}_{shot.number:04d}.jpg"
