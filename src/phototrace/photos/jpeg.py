"""What a JPEG's header says of its compression: quantisation tables, quality, subsampling."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from phototrace.photos.ifd import read_directory

# Position in natural (row by row) order of the k-th coefficient in zigzag order (T.81, Fig. A.6).
_ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
)  # fmt: skip

# Luma table of T.81, Table K.1, which the Independent JPEG Group's "quality" scales.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip

_NUMBER_OF_PICTURES = 0xB001


def tables_hash(tables: Mapping[int, Sequence[int]]) -> str:
    """Name a set of quantisation tables: 10 hexadecimal digits, "" for no table.

    Args:
        tables: Table number to its 64 values in natural order, as Pillow gives them.

    Returns:
        The start of the SHA-1 of Python's text of `[(number, [64 values in zigzag order]), ...]`
        in order of the numbers. It names tables, it does not protect them.
    """
    if not tables:
        return ""
    listed = [(int(n), [int(tables[n][k]) for k in _ZIGZAG]) for n in sorted(tables)]
    return hashlib.sha1(repr(listed).encode(), usedforsecurity=False).hexdigest()[:10]


def nearest_quality(table: Sequence[int]) -> int:
    """Quality, 1 to 100, whose Independent JPEG Group luma table lies nearest (sum of |a - b|).

    `table` holds 64 values in natural order. Of two equally near, the higher is given.
    """
    return _nearest_quality(tuple(table))


@lru_cache(maxsize=1024)  # the photos of a collection share a few tables
def _nearest_quality(table: tuple[int, ...]) -> int:
    distances = {
        quality: sum(abs(a - b) for a, b in zip(_scaled(quality), table, strict=True))
        for quality in range(1, 101)
    }
    return max(distances, key=lambda quality: (-distances[quality], quality))


def _scaled(quality: int) -> list[int]:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(max((value * scale + 50) // 100, 1), 255) for value in _LUMA]


def holds_several(multi_picture: object) -> bool:
    """Whether a multi-picture index (the APP2 "MPF" block) lists more than one picture."""
    if not isinstance(multi_picture, bytes):
        return False
    return read_directory(multi_picture, (_NUMBER_OF_PICTURES,)).number(_NUMBER_OF_PICTURES, 1) > 1
