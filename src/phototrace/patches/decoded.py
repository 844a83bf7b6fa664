"""Photos kept decoded on disk, so that every epoch can cut other patches.

A folder: `planes-00000.u8` and on (pixels as stored, one photo after another, about 256 MiB each),
`decoded.json` (where each photo lies) and `contents.json`, whose presence says that it is complete.
Files are mapped, not read: memory stays flat however many photos there are.

Of a photo of more than `MOST_PIXELS` the middle is kept. It begins on the photo's own 8 x 8 grid,
so a patch has the offset to it that it would have in the photo.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import DamagedError, PhotoError, UsageError
from phototrace.files import (
    CONTENTS,
    check_contents,
    free_bytes,
    hash_of,
    is_complete,
    sha256_of,
    write_contents,
    write_json,
    written_whole,
)
from phototrace.patches.building import stored_pixels
from phototrace.patches.cutting import JPEG_GRID
from phototrace.patches.plan import PatchSettings
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.progress import parallel_map

MOST_PIXELS = 4_000_000
LEAST_SIDE = 512  # of a part, where the photo has it: panoramas stay wide enough for a patch
FILE_BYTES = 1 << 28
SPARE_BYTES = 1 << 30
VERSION = 1
FACTS = "decoded.json"

Place = tuple[str, int, int, int]
"""File, offset in bytes, height, width."""


@dataclass(frozen=True)
class DecodedPhotos:
    """Pixels of photos, by their SHA-256.

    Attributes:
        folder: Where they lie.
        channels: "green" or "rgb".
        places: SHA-256 -> where the pixels lie.
        skipped: Photos that could not be read: id, path and reason.
    """

    folder: Path
    channels: str
    places: Mapping[str, Place]
    skipped: Sequence[Mapping[str, str]]

    @classmethod
    def load(cls, folder: Path) -> DecodedPhotos:
        """Open a finished folder, every hash checked; `DamagedError` where a file has changed."""
        check_contents(folder)
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            places = {sha256: tuple(place) for sha256, place in facts["places"].items()}
            return cls(folder, facts["channels"], places, facts["skipped"])
        except (OSError, ValueError, TypeError, KeyError):
            raise DamagedError(f"{folder / FACTS} cannot be read. Remove the folder.") from None

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the hashes of all pixels."""
        contents = json.loads((self.folder / CONTENTS).read_text(encoding="utf-8"))
        return hash_of({name: entry["sha256"] for name, entry in contents["files"].items()})

    @cached_property
    def _files(self) -> dict[str, NDArray[np.uint8]]:
        names = {place[0] for place in self.places.values()}
        return {name: np.memmap(self.folder / name, np.uint8, "r") for name in sorted(names)}

    def pixels(self, sha256: str) -> NDArray[np.uint8]:
        """The pixels kept of a photo: uint8 (h, w) or (h, w, 3), read-only."""
        name, start, height, width = self.places[sha256]
        shape = (height, width, 3) if self.channels == "rgb" else (height, width)
        return self._files[name][start : start + prod(shape)].reshape(shape)


def decode_photos(photos: Manifest, settings: PatchSettings, folder: Path) -> DecodedPhotos:
    """Decode photos into `folder`, on all cores, or open what is there.

    Args:
        photos: With width and height.
        settings: Their channels, and the quality at which they are recompressed first, if any.
        folder: Where the pixels go; what an interruption left is finished.

    Raises:
        UsageError: The disk has no room, other pixels lie there, or no photo can be read.
        DamagedError: What lies there has changed.
    """
    folder = folder.absolute()  # worker processes may stand in another folder
    key = decoded_key(photos, settings)
    if is_complete(folder):
        _require_same(folder, key)
        return DecodedPhotos.load(folder)
    files = _files_of(photos.photos, settings)
    _require_room(folder, files, settings)
    folder.mkdir(parents=True, exist_ok=True)
    job = partial(_decode_file, photos.root, settings, folder)
    written = list(parallel_map(job, list(enumerate(files)), "Decoding photos"))
    places = {sha256: place for one in written for sha256, place in one["places"].items()}
    skipped = [photo for one in written for photo in one["skipped"]]
    if not places:
        raise UsageError(
            f"None of the {len(photos.photos)} photos can be read. {skipped[0]['reason']}"
        )
    write_json(folder / FACTS, {
        "version": VERSION, "key": key, "channels": settings.channels,
        "most_pixels": MOST_PIXELS, "places": places, "skipped": skipped,
    })  # fmt: skip
    hashes = {one["file"]: one["sha256"] for one in written}
    write_contents(folder, [*hashes, FACTS], hashes)
    for one in written:
        (folder / one["file"]).with_suffix(".json").unlink(missing_ok=True)
    return DecodedPhotos.load(folder)


def decoded_key(photos: Manifest, settings: PatchSettings) -> str:
    """Names what `decode_photos` would keep."""
    hashes = sorted(p.sha256 for p in photos.photos)
    return hash_of([VERSION, MOST_PIXELS, settings.channels, settings.recompress, hashes])


def kept_part(height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is kept of a photo of that size."""
    if height * width <= MOST_PIXELS:
        return 0, 0, height, width
    scale = sqrt(MOST_PIXELS / (height * width))
    short, long = sorted((height, width))
    short = max(int(short * scale), min(short, LEAST_SIDE)) // JPEG_GRID * JPEG_GRID
    long = min(long, MOST_PIXELS // short) // JPEG_GRID * JPEG_GRID
    kept = (short, long) if height <= width else (long, short)
    top, left = (
        (side - part) // 2 // JPEG_GRID * JPEG_GRID
        for side, part in zip((height, width), kept, strict=True)
    )
    return top, left, *kept


def _bytes_of(record: PhotoRecord, settings: PatchSettings) -> int:
    _, _, height, width = kept_part(record.height, record.width)
    return height * width * (3 if settings.channels == "rgb" else 1)


def _files_of(photos: Sequence[PhotoRecord], settings: PatchSettings) -> list[list[PhotoRecord]]:
    """The photos, each once, in the order of their hashes, parted into files."""
    files: list[list[PhotoRecord]] = []
    size = FILE_BYTES
    for record in sorted({p.sha256: p for p in photos}.values(), key=lambda p: p.sha256):
        if size >= FILE_BYTES:
            files.append([])
            size = 0
        files[-1].append(record)
        size += _bytes_of(record, settings)
    return files


def _require_room(
    folder: Path, files: Sequence[Sequence[PhotoRecord]], settings: PatchSettings
) -> None:
    needed = sum(_bytes_of(record, settings) for of_file in files for record in of_file)
    done = sum(path.stat().st_size for path in folder.glob("planes-*.u8"))
    free = free_bytes(folder)
    if needed - done + SPARE_BYTES > free:
        raise UsageError(
            f"The decoded photos take {needed / 1e9:.1f} GB, and there is room for "
            f'{free / 1e9:.1f} GB. Make room, or train on fixed patches (patches = "fixed").'
        )


def _require_same(folder: Path, key: str) -> None:
    try:
        same = json.loads((folder / FACTS).read_text(encoding="utf-8"))["key"] == key
    except (OSError, ValueError, TypeError, KeyError):
        same = False
    if not same:
        raise UsageError(f"{folder} holds other photos. Choose another folder, or remove it.")


def _decode_file(
    root: Path, settings: PatchSettings, folder: Path, job: tuple[int, Sequence[PhotoRecord]]
) -> dict[str, Any]:
    """Write one file of pixels, unless it is there; its record: places, skipped photos, hash."""
    number, photos = job
    path = folder / f"planes-{number:05d}.u8"
    note = path.with_suffix(".json")
    if note.is_file() and path.is_file():
        record: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if sha256_of(path) == record["sha256"]:
            return record
    places: dict[str, Place] = {}
    skipped: list[dict[str, str]] = []
    digest, start = hashlib.sha256(), 0
    with written_whole(path) as temporary, temporary.open("wb") as file:
        for about in photos:
            try:
                pixels = stored_pixels(root / about.path, about, settings)
            except PhotoError as error:
                skipped.append({"id": about.id, "path": about.path, "reason": str(error)})
                continue
            top, left, height, width = kept_part(about.height, about.width)
            data = np.ascontiguousarray(pixels[top : top + height, left : left + width]).tobytes()
            places[about.sha256] = (path.name, start, height, width)
            digest.update(data)
            file.write(data)
            start += len(data)
    record = {"file": path.name, "places": places, "skipped": skipped, "sha256": digest.hexdigest()}
    write_json(note, record)
    return record
