"""JPEG quantisation tables: the standard's, scaled, and forms that makers of cameras chose.

A table is 64 whole numbers in [1, 255], row by row (vertical frequency first), not zigzag.
"""

from __future__ import annotations

from math import hypot

Table = tuple[int, ...]

# ITU-T T.81, Annex K, tables K.1 and K.2.
_STANDARD_LUMA: Table = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_STANDARD_CHROMA: Table = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *[99] * 32,
)  # fmt: skip


def ijg(quality: int, *, chroma: bool = False) -> Table:
    """The standard's table at libjpeg's quality 1..100, as most phones write it."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    standard = _STANDARD_CHROMA if chroma else _STANDARD_LUMA
    return tuple(min(max((value * scale + 50) // 100, 1), 255) for value in standard)


def radial(finest: int, coarsest: int, power: float) -> Table:
    """Steps that grow with the distance from the mean, hypot(u, v)^power, to `coarsest`."""
    return _grown(finest, coarsest, power, [hypot(u, v) / hypot(7, 7) for v, u in _FREQUENCIES])


def diagonal(finest: int, coarsest: int, power: float) -> Table:
    """Steps that grow with u + v to `coarsest`; vertical detail a little coarser (interlaced)."""
    return _grown(finest, coarsest, power, [(u + 1.2 * v) / 15.4 for v, u in _FREQUENCIES])


_FREQUENCIES = [(v, u) for v in range(8) for u in range(8)]


def _grown(finest: int, coarsest: int, power: float, distances: list[float]) -> Table:
    return tuple(round(finest + (coarsest - finest) * far**power) for far in distances)
