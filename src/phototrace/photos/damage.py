"""Decode a JPEG and hear what libjpeg remarks: data that are lost decode to wrong pixels.

Pillow keeps libjpeg's warnings to itself. simplejpeg tells the first one, and its pixels are those
of Pillow (both are libjpeg-turbo, with its exact transform and smooth upsampling).

Not every remark means a loss. Cameras leave stray bytes between the parts of a header, write odd
revision numbers, and pad the picture with zeros before its end. A picture that needs more data than
there are, holds codes that do not exist, or leaves data over has lost some.
"""

from __future__ import annotations

import re
import struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray

# Not "Premature end of JPEG file": Pillow tells a file that was cut off from one without its end.
_LOST = re.compile(
    r"premature end of data|bad (Huffman|arithmetic) code|instead of RST|Inconsistent progression"
)
_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_OF_HEADER = re.compile(r"extraneous bytes|unknown JFIF|Unknown Adobe|bad ICC|Invalid SOS")
_SOI, _EOI, _SOS, _DRI, _DQT, _APP14 = 0xD8, 0xD9, 0xDA, 0xDD, 0xDB, 0xEE
_FRAMES = range(0xC0, 0xD0)  # with the Huffman tables among them
_SEQUENTIAL = (0xC0, 0xC1)


def decode_jpeg(
    data: bytes, size: tuple[int, int], grey: bool
) -> tuple[NDArray[np.uint8] | None, str]:
    """The pixels of a JPEG as stored, and what libjpeg says of data that are lost.

    Args:
        data: The file.
        size: Width and height that its header gives, found to be within the limit.
        grey: Whether it stores grey values alone.

    Returns:
        uint8 pixels (height, width, 3), (height, width, 1) if grey, and "". Where libjpeg remarks
        anything, or cannot decode it, None; and its words, if they mean that data are lost.
    """
    try:
        return _strictly(data, size, "GRAY" if grey else "RGB"), ""
    except ValueError as error:
        remark = str(error)
    if _OF_HEADER.search(remark):
        # Only the first remark is told: it may hide another on the picture itself.
        try:
            _strictly(_bare(data), size, "GRAY")
        except ValueError as error:
            remark = str(error)
        else:
            return None, ""
    lost = _LOST.search(remark) or (_SURPLUS.search(remark) and not _is_padding(remark, data))
    return None, remark if lost else ""


def _strictly(data: bytes, size: tuple[int, int], colours: str) -> NDArray[np.uint8]:
    """Decode; any remark is raised as a `ValueError`."""
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    if (width, height) != size:  # of a hostile header another reader may make another size
        raise ValueError("another size")
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colours)
    return pixels


def _is_padding(remark: str, data: bytes) -> bool:
    """Whether what is left over before the picture's end is one byte value alone."""
    found = _SURPLUS.search(remark)
    if found is None or int(found[2], 16) != _EOI:
        return False
    picture = _bare(data)
    end = picture.find(b"\xff\xd9", picture.find(b"\xff\xda"))
    return len(set(picture[end - int(found[1]) : end])) == 1


def _bare(data: bytes) -> bytes:
    """The JPEG without what its pixels do not need: remarks on that would hide others.

    Stray bytes and all but tables, frame and scans are left out; a sequential scan gets the
    parameters that it must have.
    """
    parts = [b"\xff\xd8"]
    sequential, place = False, 2
    while (place := _next_marker(data, place)) >= 0 and place + 4 <= len(data):
        marker, length = data[place + 1], struct.unpack_from(">H", data, place + 2)[0]
        if marker == _SOS:
            break
        if _SOI <= marker <= _EOI:
            place += 2
            continue
        if marker in _FRAMES or marker in (_DQT, _DRI, _APP14):
            parts.append(data[place : place + 2 + length])
            sequential |= marker in _SEQUENTIAL
        place += 2 + length
    if place < 0:
        return data
    scan = bytearray(data[place : place + 2 + length])
    if sequential and len(scan) >= 3:
        scan[-3:] = b"\x00\x3f\x00"
    return b"".join([*parts, scan, data[place + 2 + length :]])


def _next_marker(data: bytes, place: int) -> int:
    """Where the next marker begins, from `place` on; -1 if there is none."""
    while 0 <= (place := data.find(b"\xff", place)) < len(data) - 1:
        if data[place + 1] not in (0x00, 0xFF):
            return place
        place += 1
    return -1
