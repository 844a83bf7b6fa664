"""What EXIF says of a photo, as clean short text. It is a claim: it proves nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from phototrace.photos.ifd import Directory, clean, read_directory
from phototrace.photos.serials import maker_serial, plain, stands_in

_MAKE, _MODEL, _ORIENTATION, _SOFTWARE, _EXIF = 271, 272, 274, 305, 34665
_TIMES = (
    ("", 36867, 37521),  # DateTimeOriginal
    ("digitized", 36868, 37522),  # DateTimeDigitized
    ("modified", 306, 37520),  # DateTime: of the file, by the camera or by a program
)
"""What a time is of, and the tags of the time and its fraction; the first that is there counts."""
_COLONS = str.maketrans("-/.", ":::")  # as some phones and programs write dates
_BODY_SERIAL, _CAMERA_SERIAL, _SERIAL = 0xA431, 0xC62F, 0xFDE9
_MAIN = (
    _MAKE, _MODEL, _ORIENTATION, _SOFTWARE, _EXIF, _BODY_SERIAL, _CAMERA_SERIAL,
    *(tag for _, tag, _ in _TIMES),  # as TIFF/EP has them
)  # fmt: skip
_INNER = (
    *(tag for _, *tags in _TIMES for tag in tags), _BODY_SERIAL, _CAMERA_SERIAL, _SERIAL
)  # fmt: skip


@dataclass(frozen=True)
class Exif:
    """Make, model, software, serial: text without control characters, at most 200 long.

    `serial` is of the camera's body, from EXIF or else from the maker's note; what stands in for a
    number (`0000000000`, `N/A`) is left out. `orientation` is 1 to 8 (1 where absent or out of
    range). `taken` is ISO text with its fraction (`2024-05-06T07:08:09.25`), "" where absent or no
    date: DateTimeOriginal, where `taken_from` is ""; without it DateTimeDigitized ("digitized"),
    and without that DateTime ("modified").
    """

    make: str = ""
    model: str = ""
    software: str = ""
    serial: str = ""
    orientation: int = 1
    taken: str = ""
    taken_from: str = ""


def read_exif(data: bytes) -> Exif:
    """Read EXIF from a TIFF structure: a whole TIFF file, or an EXIF block. Never raises."""
    while data.startswith(b"Exif\x00\x00"):
        data = data[6:]
    main = read_directory(data, _MAIN)
    offset = main.number(_EXIF, 0)
    inner = read_directory(data, _INNER, offset) if offset else Directory()
    orientation = main.number(_ORIENTATION, 1)
    taken, taken_from = _time(main, inner)
    make, model = _text(main, _MAKE), _text(main, _MODEL)
    return Exif(
        make=make,
        model=model,
        software=_text(main, _SOFTWARE),
        serial=_serial(main, inner) or maker_serial(data, offset, make, model),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        taken=taken,
        taken_from=taken_from,
    )


def _time(main: Directory, inner: Directory) -> tuple[str, str]:
    for taken_from, tag, fraction in _TIMES:
        for directory in (inner, main):
            if taken := _iso(_text(directory, tag), _text(inner, fraction)):
                return taken, taken_from
    return "", ""


def _serial(main: Directory, inner: Directory) -> str:
    places = [(inner, _BODY_SERIAL), (main, _BODY_SERIAL), (main, _CAMERA_SERIAL)]
    for directory, tag in [*places, (inner, _CAMERA_SERIAL), (inner, _SERIAL)]:
        numbers = directory.numbers.get(tag, ())
        text = plain(directory.text.get(tag, "")) or (str(numbers[0]) if len(numbers) == 1 else "")
        if not stands_in(text):
            return text
    return ""


def _text(directory: Directory, tag: int) -> str:
    return clean(directory.text.get(tag, ""))


def _iso(text: str, fraction: str) -> str:
    date, time = text[:10].translate(_COLONS), text[11:19]
    try:
        moment = datetime.strptime(f"{date} {time}", "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return ""
    digits = fraction[:6] if fraction.isascii() and fraction.isdigit() else ""
    return moment.isoformat() + (f".{digits}" if digits else "")
