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
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

TEXT_LIMIT = 200
_TEXT_BYTES = 1024
_VALUES = 64
_ENTRIES = 4096
_TEXTS = (2, 7, 129)  # ASCII; UNDEFINED, as some programs write text; UTF-8, new in Exif 3.0
_INTEGERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q", 17: "q", 18: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8, 129: 1}  # fmt: skip


@dataclass(frozen=True)
class Directory:
    """One directory: text tags (at most 1024 bytes), whole-number tags, and what follows.

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


def value_of(data: bytes, tag: int, offset: int) -> tuple[int, int] | None:
    """Where the value of a tag of the directory at `offset` begins, and its length in bytes."""
    try:
        for entry in _entries(data, _layout(data, offset)):
            if entry.tag == tag:
                return (entry.where, entry.size) if entry.where + entry.size <= len(data) else None
    except (struct.error, ValueError, OverflowError):
        pass
    return None


def values_follow(data: bytes, offset: int) -> bool:
    """Whether all values of the directory at `offset` lie behind it and within the data.

    Where a program moved the directory without mending it, they seem to lie elsewhere.
    """
    try:
        layout = _layout(data, offset)
        return all(
            entry.inline or layout.end <= entry.where <= len(data) - entry.size
            for entry in _entries(data, layout)
        )
    except (struct.error, ValueError, OverflowError):
        return False


@dataclass(frozen=True)
class _Layout:
    """Byte order, whether BigTIFF, and where the directory's entries begin and end."""

    order: str
    big: bool
    start: int
    end: int


class _Entry(NamedTuple):
    tag: int
    kind: int
    length: int  # number of values
    size: int  # of all values, bytes
    where: int  # the values begin; may lie outside the data
    inline: bool


def _layout(data: bytes, offset: int | None) -> _Layout:
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    if not order:
        raise ValueError("no byte order")
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    if offset is None:
        offset = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)[0]
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    start, size = (offset + 8, 20) if big else (offset + 2, 12)
    return _Layout(order, big, start, start + count * size)


def _entries(data: bytes, layout: _Layout) -> Iterator[_Entry]:
    """The directory's entries as far as the data go; of a tag that occurs again, the first."""
    order, big = layout.order, layout.big
    size, inline, letter = (20, 8, "Q") if big else (12, 4, "L")
    end = min(layout.end, layout.start + _ENTRIES * size, len(data) + 1 - size)
    seen: set[int] = set()
    for place in range(layout.start, end, size):
        tag, kind, length = struct.unpack_from(f"{order}HH{letter}", data, place)
        if tag in seen:
            continue
        seen.add(tag)
        needed = length * _SIZES.get(kind, 1)
        where = place + size - inline
        if needed > inline:
            where = struct.unpack_from(order + letter, data, where)[0]
        yield _Entry(tag, kind, length, needed, where, needed <= inline)


def _read(data: bytes, wanted: frozenset[int], offset: int | None) -> Directory:
    layout = _layout(data, offset)
    text: dict[int, str] = {}
    numbers: dict[int, tuple[int, ...]] = {}
    present: set[int] = set()
    for tag, kind, length, size, where, _ in _entries(data, layout):
        present.add(tag)
        if tag not in wanted or not 0 < size <= len(data) - where:
            continue
        if kind in _TEXTS:
            text[tag] = _decoded(data[where : where + min(length, _TEXT_BYTES)])
        elif kind in _INTEGERS:
            numbers[tag] = struct.unpack_from(
                f"{layout.order}{min(length, _VALUES)}{_INTEGERS[kind]}", data, where
            )
    return Directory(text, numbers, frozenset(present), _next(data, layout))


def _decoded(text: bytes) -> str:
    """EXIF text should be ASCII; cameras also write UTF-8 and Latin-1."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _next(data: bytes, layout: _Layout) -> int:
    letter = "Q" if layout.big else "L"
    if layout.end + struct.calcsize(f"<{letter}") > len(data):
        return 0
    return int(struct.unpack_from(layout.order + letter, data, layout.end)[0])


def clean(text: str) -> str:
    """Text up to the first NUL, without control, format and private characters."""
    text = text.split("\x00", 1)[0]
    kept = "".join(
        " " if unicodedata.category(letter)[0] == "Z" else letter
        for letter in text
        if unicodedata.category(letter)[0] != "C"
    )
    return kept.strip()[:TEXT_LIMIT].strip()
