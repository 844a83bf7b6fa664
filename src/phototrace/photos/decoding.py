"""Open JPEG, PNG and TIFF bytes with Pillow, and refuse what would not be read as stored.

Pillow's plugins are called directly: its own limits on size warn and raise at other numbers than
ours, and changing them would change them for the whole process.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from phototrace.photos import jpeg
from phototrace.photos.content import HEAD_BYTES, RAW, is_raw, kind_of
from phototrace.photos.exif import Exif, read_exif
from phototrace.photos.ifd import read_directory

_READ_MODES = ("L", "LA", "RGB", "RGBA", "RGBX")
PIXEL_LIMIT = 210_000_000
"""Pixels of a photo at most; phones of 200 megapixels have up to 201,326,592."""
_NEXT = "Ask for the file as the camera wrote it."
_warnings_lock = threading.Lock()


class Refused(Exception):  # noqa: N818 - not an error of the program: a decision
    """A picture that is whole but not read; the text ends a sentence that begins with its path."""


@dataclass(frozen=True)
class Picture:
    """An opened, not yet decoded picture. `image.load()` decodes it as stored."""

    image: Image.Image
    format: str
    exif: Exif
    qtables: str = ""
    quality: int | None = None
    subsampling: str = ""


def open_picture(kind: str, data: bytes) -> Picture:
    """Open `data`, which starts as a file of `kind` ("JPEG", "PNG", "TIFF").

    Raises:
        Refused: It is a picture of a sort that is not read.
        Exception: Whatever Pillow raises where the bytes are damaged.
    """
    opened = {"JPEG": _open_jpeg, "PNG": _open_png, "TIFF": _open_tiff}[kind](data)
    if opened.image.mode not in _READ_MODES:
        raise Refused(f"stores its colours as {opened.image.mode}, which is not read. {_NEXT}")
    return opened


def size_in_header(path: Path) -> tuple[int, int] | None:
    """Width and height that a file's header says, at a glance; None where it is no photo."""
    try:
        with path.open("rb") as file, _quietly():
            kind = kind_of(file.read(HEAD_BYTES))
            file.seek(0)
            if kind == "TIFF":
                return _StoredTiff(file)._tile_size  # what Pillow announces may be turned
            return (
                _PlainJpeg(file).size if kind == "JPEG" else PngImagePlugin.PngImageFile(file).size
            )
    except Exception:
        return None  # whoever reads the file will say what is wrong with it


class _PlainJpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG whose EXIF is left alone while it is opened: broken EXIF must not fail a photo."""

    quantization: dict[int, list[int]]
    layer: list[tuple[int, int, int, int]]

    def _read_dpi_from_exif(self) -> None:
        pass


class _StoredTiff(TiffImagePlugin.TiffImageFile):
    """A TIFF that is not turned by its orientation tag, and not held against Pillow's limit."""

    _size: tuple[int, int]
    _tile_size: tuple[int, int]

    def load_prepare(self) -> None:
        # With the memory there already, Pillow leaves out its own check of the size.
        self.im = Image.new(self.mode, self._tile_size).im
        super().load_prepare()

    def load_end(self) -> None:
        pass


def _open_jpeg(data: bytes) -> Picture:
    with _quietly():
        image = _PlainJpeg(io.BytesIO(data))
    if image.mode == "CMYK":
        raise Refused(f"is a CMYK picture, made for print and not by a camera. {_NEXT}")
    tables = image.quantization
    number = image.layer[0][3]
    exif = image.info.get("exif")
    return Picture(
        image,
        "MPO" if jpeg.holds_several(image.info.get("mp")) else "JPEG",
        read_exif(exif) if isinstance(exif, bytes) else Exif(),
        jpeg.tables_hash(tables),
        jpeg.nearest_quality(tables[number]) if number in tables else None,
        f"{image.layer[0][1]}x{image.layer[0][2]}",
    )


def _open_png(data: bytes) -> Picture:
    chunks = _png_chunks(data)
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13:
        raise SyntaxError("no PNG header")
    depth, colour = header[8], header[9]
    if colour == 3:
        raise Refused(f"is a palette PNG: its colours were reduced after the camera. {_NEXT}")
    if depth == 1:
        raise Refused(f"has 1 bit a pixel; photos have 8 bits a colour. {_NEXT}")
    if depth != 8:
        raise Refused(f"has {depth} bits a colour; only 8 are read. {_NEXT}")
    if b"acTL" in chunks:
        raise Refused("is an animated PNG: several pictures in one file. Examine a single photo.")
    with _quietly():
        image = PngImagePlugin.PngImageFile(io.BytesIO(_without_extras(data)))
    return Picture(image, "PNG", read_exif(chunks.get(b"eXIf", b"")))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of each chunk of a PNG, and where its content begins and ends."""
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">L4s", data, place)
        yield name, place + 8, place + 8 + length
        place += 12 + length


def _png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The first header, animation and EXIF chunk; EXIF may also stand behind the pixels."""
    found: dict[bytes, bytes] = {}
    for name, start, end in _chunks(data):
        if name in (b"IHDR", b"acTL", b"eXIf") and name not in found:
            found[name] = data[start:end]
    return found


def _without_extras(data: bytes) -> bytes:
    """The PNG without what its pixels do not need: Pillow refuses long profiles and texts."""
    parts = [data[:8]]
    for name, start, end in _chunks(data):
        needed = not name[0] & 0x20  # a capital letter
        if needed or end > len(data):  # Pillow is to see that it is cut off
            parts.append(data[start - 8 : end + 4])
    return b"".join(parts)


_BITS, _COMPRESSION, _PHOTOMETRIC = 258, 259, 262
_TILE_WIDTH, _TILE_HEIGHT, _SUB_PICTURES, _EXTRA, _FORMAT = 322, 323, 330, 338, 339
_PHOTOMETRIC_REFUSED = {
    3: "is a palette TIFF: its colours were reduced after the camera.",
    4: "is a transparency mask, not a photo.",
    5: "is a CMYK picture, made for print and not by a camera.",
    6: "is a TIFF in YCbCr colours, which is not read.",
    8: "is a picture in Lab colours, which is not read.",
    9: "is a picture in Lab colours, which is not read.",
    10: "is a picture in Lab colours, which is not read.",
}


def _open_tiff(data: bytes) -> Picture:
    _refuse_tiff(data)
    with _quietly():
        image = _StoredTiff(io.BytesIO(data))
    image._size = image._tile_size  # Pillow announces the size that turning would give.
    return Picture(image, "TIFF", read_exif(data))


def reads_tiff(data: bytes) -> bool:
    """Whether the first directory of a TIFF, which `data` holds, is of a sort that is read."""
    try:
        _refuse_tiff(data)
    except Refused:
        return False
    return True


def _refuse_tiff(data: bytes) -> None:
    tags = (_BITS, _COMPRESSION, _PHOTOMETRIC, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _FORMAT)
    directory = read_directory(data, tags)
    photometric = directory.number(_PHOTOMETRIC, 0)
    bits = directory.numbers.get(_BITS, (1,))
    if is_raw(data):
        raise Refused(RAW)
    if photometric in _PHOTOMETRIC_REFUSED:
        raise Refused(f"{_PHOTOMETRIC_REFUSED[photometric]} {_NEXT}")
    if directory.number(_COMPRESSION, 1) == 6:
        raise Refused(f"{_PHOTOMETRIC_REFUSED[6]} {_NEXT}")
    if 3 in directory.numbers.get(_FORMAT, (1,)):
        raise Refused(f"holds floating-point values; only 8 bits a colour are read. {_NEXT}")
    if set(bits) == {1}:
        raise Refused(f"has 1 bit a pixel; photos have 8 bits a colour. {_NEXT}")
    if set(bits) != {8}:
        raise Refused(f"has {max(bits)} bits a colour; only 8 are read. {_NEXT}")
    if directory.number(_FORMAT, 1) != 1:
        raise Refused(f"holds signed values; only whole numbers from 0 to 255 are read. {_NEXT}")
    if 1 in directory.numbers.get(_EXTRA, ()):
        raise Refused(f"has its colours multiplied by a transparency, not as stored. {_NEXT}")
    if directory.next or _SUB_PICTURES in directory.present:
        raise Refused("is a TIFF with several pictures in it. Save the photo alone, untouched.")
    tile = directory.number(_TILE_WIDTH, 0) * directory.number(_TILE_HEIGHT, 0)
    if tile > PIXEL_LIMIT:
        raise Refused(
            f"has tiles above the limit of {PIXEL_LIMIT // 1_000_000} megapixels: taken for a "
            "decompression bomb. Leave it out."
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Pillow's remarks on odd tags from the user; under a lock, as the filters are global."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
