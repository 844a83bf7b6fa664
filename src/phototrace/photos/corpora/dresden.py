"""The corpus "dresden": many cameras, several devices of each model, the same scenes.

Gloe and Böhme, *The Dresden Image Database for Benchmarking Digital Image Forensics*, 2010; its
natural photos. A photo is told by its file name, `Canon_Ixus70_1_3867.JPG`: make, model, number of
the device, running number. Folders do not matter, as every mirror has its own, nor does case, nor
a `_` for a `-` (`Olympus_mju_1050SW`, which the index writes `Olympus_mju-1050SW`).

The collection's index is a CSV with the columns `filename, brand, model, instance, shot,
position_num, position_name, motive_num, motive_name`, with commas, semicolons or tabs. It is looked
for in the folder, then beside it. With it, the scene is position and motive, what it does not list
is left out (flat-field and dark-field pictures, JPEG series), and every file that it lists and the
folder lacks is named.
Without it there are no scenes, pictures in folders called flat or dark are left out, and what is
missing is counted by device.

The index lists 16,961 photos of 74 devices of 27 models in 83 scenes. D70 and D70s are two models,
as they are there; the literature often takes them for one.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from phototrace.errors import UsageError
from phototrace.photos.corpora.labels import Labels, Reading, misnamed, repeated
from phototrace.photos.finding import find_photos
from phototrace.photos.manifest import Manifest, PhotoRecord, Problem
from phototrace.photos.photo import legible
from phototrace.photos.tables import has_columns, rows_of, text_of

MODELS: dict[str, tuple[int, ...]] = {
    "Agfa_DC-504": (169,),
    "Agfa_DC-733s": (281,),
    "Agfa_DC-830i": (363,),
    "Agfa_Sensor505-x": (172,),
    "Agfa_Sensor530s": (372,),
    "Canon_Ixus55": (224,),
    "Canon_Ixus70": (187, 194, 186),
    "Canon_PowerShotA640": (188,),
    "Casio_EX-Z150": (181, 189, 187, 187, 181),
    "FujiFilm_FinePixJ50": (210, 205, 215),
    "Kodak_M1063": (464, 458, 438, 460, 571),
    "Nikon_CoolPixS710": (186, 196, 184, 175, 184),
    "Nikon_D200": (372, 380),
    "Nikon_D70": (180, 189),
    "Nikon_D70s": (178, 189),
    "Olympus_mju-1050SW": (204, 209, 218, 207, 202),
    "Panasonic_DMC-FZ50": (265, 415, 251),
    "Pentax_OptioA40": (169, 158, 156, 155),
    "Pentax_OptioW60": (192,),
    "Praktica_DCZ5.9": (209, 200, 205, 206, 199),
    "Ricoh_GX100": (192, 164, 175, 165, 158),
    "Rollei_RCP-7325XS": (198, 194, 197),
    "Samsung_L74wide": (232, 224, 231),
    "Samsung_NV15": (217, 214, 214),
    "Sony_DSC-H50": (284, 257),
    "Sony_DSC-T77": (181, 171, 189, 184),
    "Sony_DSC-W170": (205, 200),
}
"""Make_Model as in file names -> natural photos of device 0, 1, ..., by the index."""

SIZES: dict[str, tuple[int, int]] = {
    "Agfa_DC-504": (4032, 3024),
    "Agfa_DC-733s": (3072, 2304),
    "Agfa_DC-830i": (3264, 2448),
    "Agfa_Sensor505-x": (2592, 1944),
    "Agfa_Sensor530s": (4032, 3024),
    "Canon_Ixus55": (2592, 1944),
    "Canon_Ixus70": (3072, 2304),
    "Canon_PowerShotA640": (3648, 2736),
    "Casio_EX-Z150": (3264, 2448),
    "FujiFilm_FinePixJ50": (3264, 2448),
    "Kodak_M1063": (3664, 2748),
    "Nikon_CoolPixS710": (4352, 3264),
    "Nikon_D200": (3872, 2592),
    "Nikon_D70": (3008, 2000),
    "Nikon_D70s": (3008, 2000),
    "Olympus_mju-1050SW": (3648, 2736),
    "Panasonic_DMC-FZ50": (3648, 2736),
    "Pentax_OptioA40": (4000, 3000),
    "Pentax_OptioW60": (3648, 2736),
    "Praktica_DCZ5.9": (2560, 1920),
    "Ricoh_GX100": (3648, 2736),
    "Rollei_RCP-7325XS": (3072, 2304),
    "Samsung_L74wide": (3072, 2304),
    "Samsung_NV15": (3648, 2736),
    "Sony_DSC-H50": (3456, 2592),
    "Sony_DSC-T77": (3648, 2736),
    "Sony_DSC-W170": (3648, 2736),
}
"""Make_Model -> width and height of the model's largest pictures, px."""

_NAME = re.compile(r"(.+)_(\d{1,2})_(\d{1,6})\.jpe?g", re.IGNORECASE)
_INDEX_COLUMNS = {"filename", "position_num", "motive_num"}
_INDEX_ENDINGS = (".csv", ".tsv", ".txt")
_INDEX_BYTES = 64 << 20
_NOT_NATURAL = re.compile(r"flat|dark", re.IGNORECASE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Shot:
    stem: str  # Make_Model, a key of MODELS
    device: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.stem}_{self.device}_{self.number}.JPG"


@dataclass(frozen=True)
class _Index:
    """The collection's own list: the scene ("" where a row has none) of each photo."""

    path: Path
    scenes: Mapping[_Shot, str]
    problems: list[Problem]


def dresden(source: Path, paths: Sequence[str]) -> Reading:
    """Labels by the file names and the index; what a whole copy has and this one lacks."""
    shots = {path: shot for path in paths if (shot := _shot(PurePosixPath(path).name)) is not None}
    if not shots:
        return Reading(["is not named as Canon_Ixus70_1_3867.JPG."] * len(paths))
    index = _find_index(source)
    reading = Reading([_labels(path, shots.get(path), index) for path in paths])
    kept = [p for p, label in zip(paths, reading.labels, strict=True) if isinstance(label, Labels)]
    there = {shots[path] for path in kept}
    reading.problems.extend(_missing(there, index) if index else _uncounted(there))
    reading.problems.extend(p for path in kept for p in misnamed(path, shots[path].name))
    reading.problems.extend(repeated((path, shots[path]) for path in kept))
    reading.notes.append(
        f"A whole copy of the Dresden Image Database holds {sum(map(sum, MODELS.values())):,} "
        f"natural photos of {sum(map(len, MODELS.values()))} devices of {len(MODELS)} models."
    )
    if index:
        reading.notes.append(f"Scenes are by the index {legible(index.path)}.")
    else:
        reading.notes.append(
            "No index CSV lies in the folder or beside it: scenes are unknown, and pictures that "
            "are not natural photos are told by their folders alone."
        )
    return reading


def planned(source: Path) -> Manifest | None:
    """The photos that the index lists, to plan with before one has them.

    Make, model, device, scene and `original` are those that indexing the files would give. The rest
    is made up, good for a plan and nothing else: `path` is the name of a file that is not there,
    `sha256` is drawn from that name, width and height are those of the model's largest pictures
    (some photos are smaller), and bursts are unknown.

    Args:
        source: The index CSV, or a folder that holds it and no photos.

    Returns:
        The photos in the index's order; None where `source` is neither.

    Raises:
        UsageError: The index cannot be read, or lists no photo.
    """
    index = _index_alone(source)
    if index is None:
        return None
    if not index.scenes:
        raise UsageError(f"The index {legible(index.path)} lists no photo. Restore it.")
    if index.problems:
        _log.warning("%s %s", index.problems[0].text, f"Such rows: {len(index.problems)}.")
    return Manifest(tuple(_planned_photo(shot, index) for shot in index.scenes), index.path.parent)


def _index_alone(source: Path) -> _Index | None:
    if source.is_file():
        return _read_index(source) if _is_index(source) else None
    index = _index_in(source.absolute())
    if index is None:
        return None
    found = find_photos(source)
    return None if found.paths or found.broken else index


def _planned_photo(shot: _Shot, index: _Index) -> PhotoRecord:
    label = _labels(shot.name, shot, index)
    assert isinstance(label, Labels)  # the index lists it
    sha256 = hashlib.sha256(f"planned:{shot.name}".encode()).hexdigest()
    width, height = SIZES[shot.stem]
    return PhotoRecord(
        sha256[:16], shot.name, sha256, label.make, label.model, label.device, label.scene,
        width=width, height=height, corpus="dresden", extra=dict(label.extra),
    )  # fmt: skip


def _shot(name: str) -> _Shot | None:
    match = _NAME.fullmatch(name)
    stem = _STEMS.get(_squashed(match[1])) if match else None
    return _Shot(stem, int(match[2]), int(match[3])) if match and stem else None


def _squashed(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


_STEMS = {_squashed(stem): stem for stem in MODELS}


def _labels(path: str, shot: _Shot | None, index: _Index | None) -> Labels | str:
    if shot is None:
        return "is not named as Canon_Ixus70_1_3867.JPG."
    if index and shot not in index.scenes:
        return f"is not one of the natural photos in {legible(index.path.name)}."
    if index is None and any(_NOT_NATURAL.search(part) for part in PurePosixPath(path).parts[:-1]):
        return "lies in a folder of flat-field or dark-field pictures."
    make, _, model = shot.stem.partition("_")
    scene = index.scenes[shot] if index else ""
    extra = {"original": f"dresden {shot.name}"}
    return Labels(make, model, str(shot.device), scene, extra)


def _missing(there: set[_Shot], index: _Index) -> list[Problem]:
    names = sorted(shot.name for shot in index.scenes.keys() - there)
    text = f"{{}} is in {legible(index.path.name)} but not in the folder."
    return [*index.problems, *(Problem(name, "missing", text.format(name)) for name in names)]


def _uncounted(there: set[_Shot]) -> list[Problem]:
    """By device, what differs from the numbers of a whole copy."""
    found = Counter((shot.stem, shot.device) for shot in there)
    whole = {(stem, n): count for stem, of in MODELS.items() for n, count in enumerate(of)}
    problems = []
    for stem, device in sorted(found.keys() | whole.keys()):
        count, wanted = found[stem, device], whole.get((stem, device), 0)
        if count != wanted:
            text = f"{stem}, device {device}: {count} photos, where a whole copy has {wanted}."
            kind = "missing" if count < wanted else "surplus"
            problems.append(Problem(f"{stem}_{device}", kind, text))
    return problems


def _find_index(source: Path) -> _Index | None:
    """The index in the folder, or else in the one that holds it."""
    source = source.absolute()
    return _index_in(source) or _index_in(source.parent)


def _index_in(folder: Path) -> _Index | None:
    """The first table in a folder that has an index's columns."""
    try:
        tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in _INDEX_ENDINGS)
    except OSError:
        return None
    for path in tables:
        if path.is_file() and _is_index(path):
            return _read_index(path)
    return None


def _is_index(path: Path) -> bool:
    """Whether a file has an index's columns; raises where they are there and cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    line, *_ = text_of(head, "replace").splitlines() or [""]
    if has_columns(line, _INDEX_COLUMNS):
        return True
    plain, *_ = head.replace(b"\0", b"").lower().splitlines() or [b""]
    if all(name.encode() in plain for name in _INDEX_COLUMNS):
        raise UsageError(
            f"The index {legible(path)} cannot be read: its columns are not separated by commas, "
            "semicolons or tabs. Save it as CSV in UTF-8, or remove it."
        )
    return False


def _read_index(path: Path) -> _Index:
    try:
        if path.stat().st_size > _INDEX_BYTES:
            raise UsageError(
                f"The index {legible(path)} is larger than 64 MB. Restore or remove it."
            )
        header, *rows = rows_of(text_of(path.read_bytes(), "replace"), _INDEX_COLUMNS)
    except (OSError, csv.Error) as error:
        raise UsageError(
            f"The index {legible(path)} cannot be read ({error}). Restore or remove it."
        ) from None
    columns = {name.strip().lower(): n for n, name in enumerate(header)}
    name, position, motive = (columns[c] for c in ("filename", "position_num", "motive_num"))
    scenes: dict[_Shot, str] = {}
    problems = []
    for number, row in enumerate(rows, start=2):
        shot = _shot(row[name].strip()) if len(row) == len(header) else None
        place = [row[position].strip(), row[motive].strip()] if shot else []
        if row and (shot is None or shot in scenes or not all(place)):
            text = f"Row {number} of {legible(path)} names no photo, one again, or no scene."
            problems.append(Problem(str(path.name), "index", text))
        if shot is not None:
            scene = f"position {place[0]}, motive {place[1]}" if all(place) else ""
            scenes.setdefault(shot, scene)
    return _Index(path, scenes, problems)
