"""The few tags of a TIFF directory (EXIF is one) that phototrace needs, read without trust.

A broken or hostile directory gives fewer tags; it never raises and never reads far.

Pillow's own reader (`Image.Exif`, `ImageFileDirectory_v2`) gives the same on sound files. It is not
used here because one damaged entry costs it the entries that follow, not that one alone; because it
raises where a header is damaged, and warns through filters that the whole process shares; and
because it does not tell that a tag is there whose values cannot be read, by which kinds of TIFF are
refused.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, field

_TEXT_BYTES = 1024
_VALUES = 64
_ENTRIES = 4096
_ASCII = 2
_INTEGERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8}  # fmt: skip


@dataclass(frozen=True)
class Directory:
    """One directory: text tags (at most 1024 characters), whole-number tags, and what follows.

    `present` holds every tag number that occurs, whatever its type. `next` is the offset of the
    directory after this one, 0 where there is none.
    """

    text: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, tuple[int, ...]] = field(default_factory=dict)
    present: frozenset[int] = frozenset()
    next: int = 0

    def number(self, tag: int, default: int) -> int:
        """First value of a whole-number tag, or `default`."""
        values = self.numbers.get(tag)
        return values[0] if values else default


def read_directory(data: bytes, wanted: Collection[int], offset: int | None = None) -> Directory:
    """Read the tags `wanted` of the directory at `offset` (None: the first) of a TIFF's bytes."""
    try:
        return _read(data, frozenset(wanted), offset)
    except (struct.error, ValueError, OverflowError):
        return Directory()


def _read(data: bytes, wanted: frozenset[int], offset: int | None) -> Directory:
    order = {b"II": "<", b"MM": ">"}[data[:2]] if data[:2] in (b"II", b"MM") else ""
    if not order:
        return Directory()
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    if offset is None:
        offset = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)[0]
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    start, size = (offset + 8, 20) if big else (offset + 2, 12)
    text: dict[int, str] = {}
    numbers: dict[int, tuple[int, ...]] = {}
    present: set[int] = set()
    for entry in range(min(count, _ENTRIES)):
        place = start + entry * size
        if place + size > len(data):
            break
        tag, kind, length = struct.unpack_from(order + ("HHQ" if big else "HHL"), data, place)
        if tag in present:
            continue
        present.add(tag)
        if tag not in wanted:
            continue
        where = _value_offset(data, order, place, kind, length, big)
        if where is None:
            continue
        if kind == _ASCII:
            text[tag] = _decoded(data[where : where + min(length, _TEXT_BYTES)])
        elif kind in _INTEGERS:
            numbers[tag] = struct.unpack_from(
                f"{order}{min(length, _VALUES)}{_INTEGERS[kind]}", data, where
            )
    return Directory(text, numbers, frozenset(present), _next(data, order, start, count, big))


def _decoded(text: bytes) -> str:
    """EXIF text should be ASCII; cameras also write UTF-8 and Latin-1."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _value_offset(
    data: bytes, order: str, place: int, kind: int, length: int, big: bool
) -> int | None:
    """Where an entry's values stand; None where they lie outside the data."""
    inline, letter = (8, "Q") if big else (4, "L")
    where = place + (12 if big else 8)
    needed = length * _SIZES.get(kind, 1)
    if needed > inline:
        where = struct.unpack_from(order + letter, data, where)[0]
    return where if needed > 0 and where + needed <= len(data) else None


def _next(data: bytes, order: str, start: int, count: int, big: bool) -> int:
    end = start + count * (20 if big else 12)
    width = 8 if big else 4
    if end + width > len(data):
        return 0
    return int(struct.unpack_from(order + ("Q" if big else "L"), data, end)[0])
