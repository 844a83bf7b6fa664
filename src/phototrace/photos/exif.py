"""What EXIF says of a photo, as clean short text. It is a claim: it proves nothing by itself."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from phototrace.photos.ifd import Directory, read_directory

TEXT_LIMIT = 200
_MAKE, _MODEL, _ORIENTATION, _SOFTWARE, _EXIF = 271, 272, 274, 305, 34665
_TAKEN, _SUBSECOND, _SERIAL = 36867, 37521, 42033


@dataclass(frozen=True)
class Exif:
    """Make, model, software, serial: text without control characters, at most 200 long.

    `orientation` is 1 to 8 (1 where absent or out of range). `taken` is DateTimeOriginal with its
    fraction as ISO text (`2024-05-06T07:08:09.25`), "" where absent or no date.
    """

    make: str = ""
    model: str = ""
    software: str = ""
    serial: str = ""
    orientation: int = 1
    taken: str = ""


def read_exif(data: bytes) -> Exif:
    """Read EXIF from a TIFF structure: a whole TIFF file, or an EXIF block. Never raises."""
    while data.startswith(b"Exif\x00\x00"):
        data = data[6:]
    main = read_directory(data, (_MAKE, _MODEL, _ORIENTATION, _SOFTWARE, _EXIF))
    offset = main.number(_EXIF, 0)
    inner = Directory()
    if offset:
        inner = read_directory(data, (_TAKEN, _SUBSECOND, _SERIAL), offset)
    orientation = main.number(_ORIENTATION, 1)
    return Exif(
        make=_clean(main.text.get(_MAKE, "")),
        model=_clean(main.text.get(_MODEL, "")),
        software=_clean(main.text.get(_SOFTWARE, "")),
        serial=_clean(inner.text.get(_SERIAL, "")),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        taken=_iso(_clean(inner.text.get(_TAKEN, "")), _clean(inner.text.get(_SUBSECOND, ""))),
    )


def _clean(text: str) -> str:
    """Text up to the first NUL, without control, format and private characters."""
    text = text.split("\x00", 1)[0]
    kept = "".join(
        " " if unicodedata.category(letter)[0] == "Z" else letter
        for letter in text
        if unicodedata.category(letter)[0] != "C"
    )
    return kept.strip()[:TEXT_LIMIT].strip()


def _iso(text: str, fraction: str) -> str:
    try:
        moment = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return ""
    digits = fraction[:6] if fraction.isascii() and fraction.isdigit() else ""
    return moment.isoformat() + (f".{digits}" if digits else "")
