"""Read one photo as evidence: read-only, once, as stored, and never a surprise.

What is read: 8-bit grey and RGB pictures in JPEG, PNG and TIFF. Content decides, not the name's
ending. Grey values serve as green (and as all three of RGB); alpha is dropped and the colour taken
as stored; of a multi-picture JPEG the first picture is read. Nothing is turned, colour-managed or
decoded in a reduced form. Everything else is refused with a `PhotoError` that says what it is:
CMYK, palette, more or fewer than 8 bits, floating point, Lab, YCbCr TIFF, animated PNG, TIFF with
several pictures, raw, HEIC, AVIF, GIF, WebP, empty and damaged files, and what is not a plain file.

A JPEG of which a part was lost in the middle decodes all the same, to pixels that are not the
camera's. `read_whole` names it as damaged, by what libjpeg remarks while it decodes (see `damage`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phototrace.errors import PhotoError, UsageError
from phototrace.photos.content import HEAD_BYTES, kind_of, refusal_of
from phototrace.photos.damage import decode_jpeg
from phototrace.photos.decoding import PIXEL_LIMIT, Picture, Refused, open_picture

BYTE_LIMIT = 1 << 30
Box = tuple[int, int, int, int]
Channels = Literal["green", "rgb"]
_GREY_MODES = ("L", "LA")


@dataclass(frozen=True)
class Photo:
    """What one file says of itself; the unit of evidence.

    Attributes:
        path: As given.
        sha256: Of the file's bytes, 64 hexadecimal digits.
        format: "JPEG", "MPO" (a JPEG with further pictures), "PNG" or "TIFF".
        width: Pixels, as stored: EXIF orientation is not applied.
        height: Pixels, as stored.
        mode: Pillow's name of the stored colour: "L", "LA", "RGB", "RGBA", "RGBX".
        make: EXIF; like all EXIF text at most 200 named characters, "" where absent.
        model: EXIF.
        software: EXIF.
        orientation: EXIF, 1 to 8; 1 where absent.
        taken: When it was taken, ISO text without a zone, with its fraction; "" where absent.
        qtables: Name of the quantisation tables, 10 hexadecimal digits; "" if not JPEG.
        quality: Nearest Independent JPEG Group quality of the luma table; None if not JPEG.
        subsampling: Luma sampling factors, "2x2" (across x down); "" if not JPEG.
        serial: Serial number of the camera body, by EXIF or the maker's note; "" where absent, or
            where something like 0000000000 stands in its place.
        taken_from: What `taken` is by: "" EXIF DateTimeOriginal, "digitized" DateTimeDigitized,
            "modified" DateTime.
        damage: What libjpeg says of data that a JPEG has lost; "" if nothing, or not decoded.
    """

    path: Path
    sha256: str
    format: str
    width: int
    height: int
    mode: str
    make: str
    model: str
    software: str
    orientation: int
    taken: str
    qtables: str
    quality: int | None
    subsampling: str
    serial: str = ""
    taken_from: str = ""
    damage: str = ""


def read_photo(path: Path) -> Photo:
    """Read what the file at `path` says of itself; its pixels are not decoded.

    Raises:
        PhotoError: The file cannot be read as a photo; the message says why and what to do.
    """
    data = _read_bytes(path)
    return _describe(path, data, _open(path, data))


def read_pixels(
    path: Path,
    *,
    channels: Channels = "green",
    box: Box | None = None,
    sha256: str | None = None,
    keep_damaged: bool = True,
) -> NDArray[np.uint8]:
    """Decode the photo at `path`, as stored.

    A JPEG that has lost data gives wrong pixels and is not refused, unless `keep_damaged` is false:
    indexing has judged the photos of a manifest already.

    Args:
        path: A JPEG, PNG or TIFF of at most 210 megapixels and 1 GiB. A JPEG of 200 megapixels
            takes 1.6 GB of memory for green and 2.1 GB for rgb; a TIFF 2.0 and 2.6 GB.
        channels: "green", or "rgb" for all three colours.
        box: Part to cut out, (left, top, right, bottom) in pixels; right and bottom are exclusive.
        sha256: What the file's SHA-256 must be.
        keep_damaged: Take JPEG whose data libjpeg calls corrupt.

    Returns:
        uint8 array of shape (height, width) for green, (height, width, 3) for RGB.

    Raises:
        PhotoError: The file cannot be read as a photo, or is not the file that `sha256` names.
        UsageError: `box` is empty or reaches outside the photo, or `channels` is unknown.
    """
    data = _read_bytes(path)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise PhotoError(
            f"{legible(path)} has changed since it was indexed. Restore it, or index again."
        )
    picture = _open(path, data)
    if keep_damaged:
        return _decode(path, picture, channels, box)
    return _decode_checked(path, data, picture, channels, box, keep_damaged)[0]


def read_whole(
    path: Path, *, channels: Channels = "green", keep_damaged: bool = False
) -> tuple[Photo, NDArray[np.uint8]]:
    """`read_photo` and `read_pixels` in one reading of the file, so that both speak of it.

    A JPEG whose data libjpeg calls corrupt is refused as damaged; with `keep_damaged` it is read,
    and the photo's `damage` says what is wrong.

    Raises:
        PhotoError: The file cannot be read as a photo, or has lost data.
    """
    data = _read_bytes(path)
    picture = _open(path, data)
    pixels, damage = _decode_checked(path, data, picture, channels, None, keep_damaged)
    return replace(_describe(path, data, picture), damage=damage), pixels


def legible(path: Path | str) -> str:
    """A path as it can be printed: what is not named or not UTF-8 is escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lost_a_part(path: Path | str, damage: str) -> str:
    """What to say of a JPEG that has lost data, by libjpeg's words `damage`."""
    return (
        f"{legible(path)} is a damaged JPEG that has lost a part ({legible(damage)}): its pixels "
        "are not the camera's. Copy it again from its source, leave it out, or take it all the "
        "same with --keep-damaged (in Python keep_damaged=True)."
    )


def _read_bytes(path: Path) -> bytes:
    try:
        _require_plain_file(path, os.stat(path))
        # A pipe may have taken the file's place since.
        with open(path, "rb", opener=_open_at_once) as file:
            _require_plain_file(path, os.fstat(file.fileno()))
            data = file.read(BYTE_LIMIT + 1)
    except FileNotFoundError:
        raise PhotoError(f"{legible(path)} is not there. Check the path.") from None
    except (OSError, ValueError, MemoryError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "no room"
        raise PhotoError(
            f"{legible(path)} cannot be read ({reason}). Check its path and permissions."
        ) from None
    if len(data) > BYTE_LIMIT:
        raise PhotoError(f"{legible(path)} is larger than 1 GiB: no camera's photo. Leave it out.")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe, which Windows does not do anyway."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _require_plain_file(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PhotoError(f"{legible(path)} is a folder, not a photo. Name the files in it.")
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError(f"{legible(path)} is a pipe or device, not a file. Name a file.")


def _open(path: Path, data: bytes) -> Picture:
    """Open the header and refuse what is not read; nothing is decoded yet."""
    kind = kind_of(data[:HEAD_BYTES])
    if not kind:
        raise PhotoError(f"{legible(path)} {refusal_of(data[:HEAD_BYTES])}")
    try:
        picture = open_picture(kind, data)
    except Refused as refused:
        raise PhotoError(f"{legible(path)} {refused}") from None
    except Exception as error:
        # Pillow raises a dozen kinds of exception on a hostile header; all mean the same here.
        raise _damaged(path, kind, error) from error
    width, height = picture.image.size
    if width * height > PIXEL_LIMIT:
        raise PhotoError(
            f"{legible(path)} says it has {width} x {height} pixels, above the limit of "
            f"{PIXEL_LIMIT // 1_000_000} megapixels. It is taken for a decompression bomb: "
            "leave it out."
        )
    return picture


def _describe(path: Path, data: bytes, picture: Picture) -> Photo:
    exif = picture.exif
    return Photo(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        format=picture.format,
        width=picture.image.width,
        height=picture.image.height,
        mode=picture.image.mode,
        make=exif.make,
        model=exif.model,
        software=exif.software,
        orientation=exif.orientation,
        taken=exif.taken,
        taken_from=exif.taken_from,
        qtables=picture.qtables,
        quality=picture.quality,
        subsampling=picture.subsampling,
        serial=exif.serial,
    )


def _decode_checked(
    path: Path, data: bytes, picture: Picture, channels: Channels, box: Box | None, keep: bool
) -> tuple[NDArray[np.uint8], str]:
    """The pixels, and what libjpeg says of lost data; raises where it does, unless `keep`."""
    if picture.format not in ("JPEG", "MPO"):
        return _decode(path, picture, channels, box), ""
    image, grey = picture.image, picture.image.mode in _GREY_MODES
    _check_call(path, image.size, channels, box)
    try:
        values, damage = decode_jpeg(data, image.size, grey)
    except Exception as error:
        raise _damaged(path, picture.format, error) from error
    if damage and not keep:
        raise PhotoError(lost_a_part(path, damage))
    if values is None:  # Pillow decodes what has flaws, and says what it cannot decode
        return _decode(path, picture, channels, box), damage
    if box is not None:
        values = values[box[1] : box[3], box[0] : box[2]]
    if channels == "green":
        return np.ascontiguousarray(values[..., 0 if grey else 1]), ""
    return np.repeat(values, 3, axis=2) if grey else np.ascontiguousarray(values), ""


def _decode(path: Path, picture: Picture, channels: Channels, box: Box | None) -> NDArray[np.uint8]:
    image: Image.Image = picture.image
    _check_call(path, image.size, channels, box)
    try:
        image.load()
        if box is not None:
            image = image.crop(box)
        return _channels_of(image, channels)
    except Exception as error:
        raise _damaged(path, picture.format, error) from error


def _channels_of(image: Image.Image, channels: Channels) -> NDArray[np.uint8]:
    grey = image.mode in _GREY_MODES
    if channels == "green":
        return np.array(image.getchannel(0 if grey else 1), dtype=np.uint8)
    values = np.array(image, dtype=np.uint8)
    if grey:
        values = values[..., :1] if values.ndim == 3 else values[..., None]
        return np.repeat(values, 3, axis=2)
    return np.ascontiguousarray(values[..., :3])


def _check_call(path: Path, size: tuple[int, int], channels: str, box: Box | None) -> None:
    if channels not in ("green", "rgb"):
        raise UsageError(f"There are no channels {channels!r}. Choose green or rgb.")
    if box is None:
        return
    left, top, right, bottom = box
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise UsageError(
            f"The box {box} is empty or reaches outside {legible(path)}, which has {size[0]} x "
            f"{size[1]} pixels. Give left, top, right, bottom within it."
        )


def _damaged(path: Path, kind: str, error: Exception) -> PhotoError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    if isinstance(error, MemoryError):
        return PhotoError(f"{legible(path)} does not fit into memory. Use a larger machine.")
    return PhotoError(
        f"{legible(path)} is a damaged or unusual {kind} file ({legible(reason)}). "
        "Copy it again from its source, or leave it out."
    )
