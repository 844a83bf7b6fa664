"""Find what leaks from one part of a split into another, and what stands twice in a manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import PhotoError, UsageError
from phototrace.files import hash_of
from phototrace.photos.dealing import PARTS
from phototrace.photos.grouping import connected
from phototrace.photos.manifest import Manifest, PhotoRecord, cell
from phototrace.photos.perceptual import (
    hashes_of,
    is_hash,
    is_look,
    look,
    looks_of,
    near_pairs,
    phash,
    same_picture,
)
from phototrace.photos.photo import legible, read_pixels
from phototrace.photos.splits import BY, Split, count_reasons
from phototrace.progress import parallel_map

_BLOCK = 4096


@dataclass(frozen=True)
class Leak:
    """One leak, or (without a split) one repetition.

    Attributes:
        kind: "same file" (equal bytes), "resaved" (recompressed or resized, or two exposures
            that look the same), "same burst", "same device", "same scene".
        a: Path, as in the manifest, of one photo.
        b: Path of the other.
        parts: Their parts, in the order train, validation, test; ("", "") without a split.
        text: A sentence on it.
    """

    kind: str
    a: str
    b: str
    parts: tuple[str, str]
    text: str


def audit(
    manifest: Manifest, split: Split | None = None, *, skip_unreadable: bool = False
) -> list[Leak]:
    """Look for leaks between the parts of `split`, or for repetitions in the whole manifest.

    Between any two parts: the same file, a resaved photo, one burst. Between test and the other
    parts, where the split is by device: one device. Between any two parts, where it is by scene:
    one scene. For burst, device and scene one leak stands for all photos of the two parts that
    share it. Copies that were turned, mirrored, cropped or are without contrast are not found. Two
    photos of one scene by two devices, as the manifest says, may look the same without being a
    resaved photo: they leak where the split is by scene.

    Perceptual hashes are taken from the column `phash`, and pairs of near hashes are confirmed by
    the column `look`; where a column lacks, by the files.

    Args:
        manifest: The photos.
        split: Their parts.
        skip_unreadable: Do not compare files that cannot be read or have changed, as these give
            no patches either.

    Raises:
        PhotoError: A file that must be looked at cannot be read, or has changed.
        UsageError: The split is of other photos.
    """
    photos = sorted({p.id: p for p in reversed(manifest.photos)}.values(), key=lambda p: p.sha256)
    if split is None:
        again = _saved_again(manifest, photos, None, skip_unreadable)
        return [*_same_rows(manifest), *again]
    photos = [photo for photo in photos if photo.id in split.part]
    if not photos:
        raise UsageError("The split is of other photos than the manifest. Make the split again.")
    # A file in several parts is one leak: its labels in the one part say nothing of the other.
    photos = [photo for photo in photos if photo.id not in split.conflicts]
    again = _saved_again(manifest, photos, split, skip_unreadable)
    leaks = [*_same_files(split), *again]
    told = {frozenset((leak.a, leak.b)) for leak in again}
    leaks += _shared(photos, split, "burst", [p.burst for p in photos], told)
    if "device" in split.by:
        leaks += _shared(photos, split, "device", _devices(photos), only_test=True)
    if "scene" in split.by:
        leaks += _shared(photos, split, "scene", [p.scene for p in photos])
    return leaks


def split_from_column(manifest: Manifest, column: str = "part", *, by: str = "photo") -> Split:
    """Take a hand-made split from a manifest's column of "train", "validation" and "test".

    Other plain words for a part are understood (`part_of`), and rows that say none are excluded.
    `by` says what the split promises to keep apart, which `audit` then checks. A photo that the
    column puts in several parts stands in `conflicts`, and in the part that comes last of train,
    validation, test.

    Raises:
        UsageError: There is no such column, no row has a part in it, a row says something else, or
            `by` is unknown.
    """
    if by not in BY:
        raise UsageError(f"A split cannot be by {by!r}. Choose one of: {', '.join(BY)}.")
    if column not in manifest.columns:
        raise UsageError(
            f"The manifest has no column {column!r}. It has: {', '.join(manifest.columns)}."
        )
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    excluded: dict[str, str] = {}
    strange: list[PhotoRecord] = []
    for photo in manifest.photos:
        value = cell(photo, column)
        if meant := part_of(value):
            found[photo.id].append((photo.path, meant))
        elif value.strip():
            strange.append(photo)
        else:
            excluded[photo.id] = f"{column} is empty"
    if not found:
        but = f", but {cell(strange[0], column)!r} of {legible(strange[0].path)}" if strange else ""
        raise UsageError(
            f"The column {column!r} says train, validation or test of no photo{but}. Correct it, "
            "or name another."
        )
    if strange:
        raise UsageError(
            f"The column {column!r} says {cell(strange[0], column)!r} of "
            f"{legible(strange[0].path)}, which is none of train, validation and test; "
            f"{len(strange)} of {len(manifest.photos)} rows say such words. Correct them, or leave "
            "them empty to leave the photos out."
        )
    part = {i: max((part for _, part in rows), key=PARTS.index) for i, rows in found.items()}
    conflicts = {i: tuple(rows) for i, rows in found.items() if len({r[1] for r in rows}) > 1}
    name = hash_of({"by": by, "column": column, "parts": sorted(part.items())})
    rest = {i: reason for i, reason in excluded.items() if i not in part}
    return Split(by, 0, part, rest, name, tuple(count_reasons(rest)), conflicts)


_PART_WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "validate": "validation",
    "val": "validation", "dev": "validation", "development": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def part_of(text: str) -> str:
    """The part that a word in a table plainly means, whatever its case; "" if none."""
    return _PART_WORDS.get(text.strip().casefold(), "")


def _same_rows(manifest: Manifest) -> list[Leak]:
    first: dict[str, PhotoRecord] = {}
    leaks = []
    for photo in manifest.photos:
        earlier = first.setdefault(photo.sha256, photo)
        if earlier is not photo:
            text = f"{legible(earlier.path)} and {legible(photo.path)} are the same file."
            leaks.append(Leak("same file", earlier.path, photo.path, ("", ""), text))
    return leaks


def _same_files(split: Split) -> Iterator[Leak]:
    """Files that a hand-made split puts in several parts; a drawn split has none."""
    for rows in split.conflicts.values():
        first = {part: path for path, part in reversed(rows)}
        for a, b in combinations([part for part in PARTS if part in first], 2):
            text = f"{legible(first[a])} in {a} and {legible(first[b])} in {b} are the same file."
            yield Leak("same file", first[a], first[b], (a, b), text)


def _saved_again(
    manifest: Manifest, photos: Sequence[PhotoRecord], split: Split | None, skip: bool
) -> list[Leak]:
    # Looks without contrast correlate with nothing.
    photos = [p for p in photos if set(cell(p, "look")) != {"0"}]
    photos, hashes = _hashed(manifest, photos, skip)
    parts = [split.part[photo.id] if split else "" for photo in photos]
    apart = np.array([PARTS.index(part) for part in parts], dtype=np.int64) if split else None
    # Twice over the pairs instead of keeping them: many flat pictures make millions.
    near = {int(n) for block in near_pairs(hashes, apart=apart) for n in np.unique(block)}
    looks = _looks(manifest, photos, sorted(near), skip)
    leaks = []
    for block in near_pairs(hashes, apart=apart):
        for pair in _alike(block, looks):
            # In the order of the parts; in a manifest without parts by path.
            a, b = sorted(pair, key=lambda n: (_rank(parts[n]), photos[n].path))
            if _one_scene_by_two(photos[a], photos[b]):
                continue
            text = (
                f"{_placed(photos[a], parts[a])} and {_placed(photos[b], parts[b])} are one photo "
                "resaved, or two photos that look the same."
            )
            names = photos[a].path, photos[b].path
            leaks.append(Leak("resaved", *names, (parts[a], parts[b]), text))
    return sorted(leaks, key=lambda leak: (leak.a, leak.b))


def _one_scene_by_two(a: PhotoRecord, b: PhotoRecord) -> bool:
    """Whether two photos are, by their labels, of one scene but by two devices."""
    known = a.scene and a.device and b.device
    return bool(known) and a.scene == b.scene and a.device_id != b.device_id


def _alike(pairs: NDArray[np.int64], looks: NDArray[np.int8]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        same = same_picture(looks[block[:, 0]], looks[block[:, 1]])
        yield from ((a, b) for a, b in block[same].tolist())


def _hashed(
    manifest: Manifest, photos: Sequence[PhotoRecord], skip: bool
) -> tuple[list[PhotoRecord], NDArray[np.uint64]]:
    """The photos and their hashes, without those that have none because they cannot be read."""
    texts = [cell(photo, "phash") for photo in photos]
    lacking = [n for n, text in enumerate(texts) if not is_hash(text)]
    jobs = [(manifest.path_of(photos[n]), photos[n].sha256, skip) for n in lacking]
    for n, text in zip(lacking, parallel_map(_phash_of, jobs, "Hashing photos"), strict=True):
        texts[n] = text
    kept = [n for n, text in enumerate(texts) if text]
    return [photos[n] for n in kept], hashes_of([texts[n] for n in kept])


def _looks(
    manifest: Manifest, photos: Sequence[PhotoRecord], numbers: Sequence[int], skip: bool
) -> NDArray[np.int8]:
    """Looks (len(photos), 64) of the numbered photos; the other rows stay zero."""
    texts = [""] * len(photos)
    for n in numbers:
        texts[n] = cell(photos[n], "look")
    lacking = [n for n in numbers if not is_look(texts[n])]
    jobs = [(manifest.path_of(photos[n]), photos[n].sha256, skip) for n in lacking]
    for n, text in zip(lacking, parallel_map(_look_of, jobs, "Comparing photos"), strict=True):
        texts[n] = text
    return looks_of(texts)


_Job = tuple[Path, str, bool]  # path, SHA-256, whether to pass over what cannot be read


def _phash_of(job: _Job) -> str:
    green = _green_of(job)
    return "" if green is None else phash(green)


def _look_of(job: _Job) -> str:
    green = _green_of(job)
    return "" if green is None else look(green)


def _green_of(job: _Job) -> NDArray[np.uint8] | None:
    path, sha256, skip = job
    try:
        return read_pixels(path, sha256=sha256)
    except PhotoError:
        if skip:
            return None
        raise


def _shared(
    photos: Sequence[PhotoRecord],
    split: Split,
    what: str,
    names: Sequence[str],
    told: Set[frozenset[str]] = frozenset(),
    *,
    only_test: bool = False,
) -> Iterator[Leak]:
    """One leak for each name ("" names nothing) and two parts that share it.

    `told` holds pairs of paths that need no second mention.
    """
    groups: dict[str, dict[str, list[PhotoRecord]]] = defaultdict(lambda: defaultdict(list))
    for photo, name in zip(photos, names, strict=True):
        if name:
            groups[name][split.part[photo.id]].append(photo)
    for name, members in sorted(groups.items()):
        for first, second in combinations([part for part in PARTS if part in members], 2):
            if only_test and second != "test":
                continue
            pair = next(
                (
                    (a.path, b.path)
                    for a, b in product(members[first], members[second])
                    if frozenset((a.path, b.path)) not in told
                ),
                None,
            )
            if pair is not None:
                text = (
                    f"The {what} {legible(name)} has {len(members[first])} photo(s) in {first} and "
                    f"{len(members[second])} in {second}, for example {legible(pair[0])} and "
                    f"{legible(pair[1])}."
                )
                yield Leak(f"same {what}", *pair, (first, second), text)


def _devices(photos: Sequence[PhotoRecord]) -> list[str]:
    """One name a device, also where one body (column `body`) goes by several; "" if unknown."""
    named = [(p.id, p.device_id if p.device else "", cell(p, "body")) for p in photos]
    names: dict[str, str] = {}
    for group in connected(named, lambda one: one[1:]):
        name = next((device for _, device, _ in group if device), group[0][2])
        names |= {photo: name for photo, _, _ in group}
    return [names[p.id] for p in photos]


def _placed(photo: PhotoRecord, part: str) -> str:
    return f"{legible(photo.path)} in {part}" if part else legible(photo.path)


def _rank(part: str) -> int:
    return PARTS.index(part) if part else 0
