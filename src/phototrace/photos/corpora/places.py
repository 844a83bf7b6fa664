"""Which folders name a camera: the layout of the corpus "auto", told without opening a photo.

A folder's name is taken for a camera only where it is plausible: it begins with a known maker (or
with a product line that tells the maker, such as iPhone), and what follows is a model:

- one that the table of names has, or
- with a word of letters and digits (`Nikon_D70`, `Casio EX-Z150`), or
- with a number after a product line, or after a word that numbers go with (`Apple_iPhone_6`,
  `Sony-NEX-7`).

It is no camera if a date (`Canon_2016-07`) or a word such as photos, test or trip is in it, if it
is named as cameras name their own folders (`100CANON`), or if the maker's name is a common word and
no product line or known model follows (`apple_pie_2`). Two folders count as one where the first is
a maker and the second its model (`Canon/EOS40D`). The innermost folder that names a camera counts.
A number at the end (`Nikon_D70_1`), else the folder inside it, is the device, unless that folder is
a date, a part (`train`), or a camera's own folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from phototrace.photos.names import CameraNames, squashed

_OWN_FOLDER = re.compile(r"\d{3}[A-Z0-9_]{5}|DCIM", re.IGNORECASE)
_DATE = re.compile(r"(19[5-9]|20[0-4])\d|\d{6}|\d{8}")
_MIXED = re.compile(r"(?=.*\d)(?=.*[^\W\d_]).+")
_NUMBERED_WORD = re.compile(r"([^\W\d_]+)\d+")
_LABEL = re.compile(r"[^\W\d_]?0\d+")  # D01: a number with a leading zero is no model
_DEVICE_LAST = re.compile(r"((?:.*[ -])?([^ -]+))[ -](\d{1,2})")
_VARIANT = re.compile(r"plus|pro|max|mini|air|mark|mk|[ivx]+|lite|ultra|edge|compact|note|.*\d.*")


@dataclass(frozen=True)
class Place:
    """The camera that a photo's folders name: its canonical name, and the device.

    `model` is "" where only a maker is named; `folder` is the folder that names the camera.
    """

    make: str
    model: str
    device: str
    folder: str


def place_of(folders: Sequence[str], names: CameraNames) -> Place | None:
    """What the folders of a photo, outermost first, say of its camera; None where nothing."""
    for number in reversed(range(len(folders))):
        name, inside = folders[number], folders[number + 1 :]
        if _OWN_FOLDER.fullmatch(name):
            continue
        told = _camera(name, names)
        if told is None and number and _make_alone(folders[number - 1], names):
            told = _camera(f"{folders[number - 1]}_{name}", names)
            name = f"{folders[number - 1]}/{name}"
        if told is not None:
            make, model, device = told
            return Place(make, model, device or device_in(inside, names), name)
    for name in reversed(folders):
        make = _make_alone(name, names)
        if make and squashed(make) not in names.folders["ambiguous"]:
            return Place(make, "", "", name)
    return None


def device_of(folders: Sequence[str], key: str, names: CameraNames) -> str:
    """The device that a photo's folders name, where one of them is called as its camera."""
    for number, name in enumerate(folders):
        if squashed(name) == key or names.key("", name.replace("_", " ")) == key:
            return device_in(folders[number + 1 :], names)
    place = place_of(folders, names)
    return place.device if place and names.key(place.make, place.model) == key else ""


def device_in(folders: Sequence[str], names: CameraNames) -> str:
    """The first of the folders inside a camera's folder, if it can be a device's name."""
    if not folders or _OWN_FOLDER.fullmatch(folders[0]):
        return ""
    tokens = _tokens(folders[0])
    words = names.folders["words"] - {"device", "body", "phone", "camera", "tablet"}
    no_device = not tokens or any(_DATE.fullmatch(t) or squashed(t) in words for t in tokens)
    return "" if no_device else folders[0].strip()


def contradicts(place: Place, make: str, model: str, names: CameraNames) -> bool:
    """Whether a photo's folders name another camera than its EXIF does.

    Where a maker's EXIF has numbers of models in place of their names, the two are compared only
    if they begin with the same letters: a Galaxy S7 may well be an SM-G930V.
    """
    make, model = names.canonical(make, model)
    if place.model and squashed(place.model) == squashed(model):
        return False  # whoever is said to make it: LG makes Google's Nexus 5X
    if place.make and make and squashed(place.make) != squashed(make):
        return True
    if not place.model or not model:
        return False
    ours, theirs = _tokens(place.model), _tokens(model)
    starts = {re.sub(r"\d.*", "", tokens[0]) for tokens in (ours, theirs) if tokens}
    if squashed(make) in names.folders["by_number"] and len(starts) > 1:
        return False
    more = ours[len(theirs) :]  # "iPhone 6 Anna" is an iPhone 6, but "iPhone 6 Plus" is not
    return ours[: len(theirs)] != theirs or any(_VARIANT.fullmatch(token) for token in more)


def _camera(name: str, names: CameraNames) -> tuple[str, str, str] | None:
    """Make, model and device that a folder's name says, or None where it names no camera."""
    make, rest = names.split_make(name)
    if not make:
        make, rest = _glued(name, names)
    line = names.line_of(rest)
    if not make and line:
        make = line
    model = re.sub(r"[\s_]+", " ", rest).strip(" -")
    tokens = _tokens(model)
    words = names.folders["words"]
    numbered = [m[1] for t in tokens if (m := _NUMBERED_WORD.fullmatch(t)) and m[1] in words]
    if not make or numbered or any(_DATE.fullmatch(t) or t in words for t in tokens):
        return None
    ends = _DEVICE_LAST.fullmatch(model)
    device = ""
    if ends and _MIXED.fullmatch(ends[2]):
        model, device = ends[1], ends[3]
    if not _is_model(make, model, line == make, names):
        return None
    return *names.canonical(make, model), device


def _is_model(make: str, model: str, in_line: bool, names: CameraNames) -> bool:
    if squashed(model) in names.models.get(make, {}):
        return True
    tokens = _tokens(model)
    pairs = zip([squashed(make), *tokens], tokens, strict=False)  # each after the one before it
    number = any(t.isdigit() and (in_line or b in names.folders["numbered"]) for b, t in pairs)
    mixed = any(_MIXED.fullmatch(t) and not _LABEL.fullmatch(t) for t in tokens)
    return number or (mixed and (in_line or squashed(make) not in names.folders["ambiguous"]))


def _glued(name: str, names: CameraNames) -> tuple[str, str]:
    """A maker and a model without a space between them: NikonD70."""
    first = name.split("_")[0]
    for end in range(len(first) - 1, 3, -1):
        make = names.makes.get(squashed(first[:end]))
        if make and not first[end:].isdigit():
            return make, name[end:]
    return "", name


def _make_alone(name: str, names: CameraNames) -> str:
    return names.makes.get(squashed(name), "")


def _tokens(text: str) -> list[str]:
    return [token for token in re.split(r"[\W_]+", text.casefold()) if token]
