"""Name the bursts: photos of one device taken in a row or nearly equal, and versions of a photo."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from operator import itemgetter

import numpy as np

from phototrace.photos.grouping import joined
from phototrace.photos.manifest import PhotoRecord, cell
from phototrace.photos.perceptual import hashes_of, is_hash, near_pairs

SECONDS = 10.0
_REACH = timedelta(seconds=SECONDS)
FROZEN = 3
# Wider than what makes two files one picture: among photos of one body on real collections, pairs
# that differ in eight or ten bits were still one series of a scene.
BURST_BITS = 10


def find_bursts(photos: Sequence[PhotoRecord]) -> dict[str, str]:
    """Photo id to the name of its burst, for photos that share one.

    Two photos of one device share a burst if one was taken at most ten seconds after the other
    (column `taken`), or if their perceptual hashes (column `phash`) differ in at most ten bits. Two
    photos of any devices share one if they are versions of one photo (column `original`, as the
    corpora fill it). Further photos can link them. A photo that does not tell its device may be by
    any of its model, known or not: too wide a burst costs a little, too narrow a one lets training
    photos into the test. A time that all photos of a device carry says nothing (`reset_clocks`).

    The name is derived from the smallest SHA-256 in the burst.
    """
    photos = sorted(photos, key=lambda photo: photo.sha256)
    devices: dict[str, list[int]] = defaultdict(list)
    originals: dict[str, list[int]] = defaultdict(list)
    for number, photo in enumerate(photos):
        devices[photo.device_id].append(number)
        originals[cell(photo, "original")].append(number)
    originals.pop("", None)
    pairs = [pair for versions in originals.values() for pair in pairwise(versions)]
    reset = reset_clocks(photos)
    for device, numbers in devices.items():
        members = [photos[n] for n in numbers]
        near = [*([] if device in reset else _in_a_row(members)), *_nearly_equal(members)]
        pairs += [(numbers[a], numbers[b]) for a, b in near]
    pairs += _maybe_one_device(photos, reset)
    bursts: dict[str, str] = {}
    for group in joined(len(photos), pairs):
        if len(group) > 1:
            name = hashlib.sha256(photos[group[0]].sha256.encode()).hexdigest()[:12]
            bursts |= {photos[n].id: name for n in group}
    return bursts


def _maybe_one_device(
    photos: Sequence[PhotoRecord], reset: Collection[str]
) -> Iterator[tuple[int, int]]:
    """Pairs of a photo of unknown device and one of a known device of its model, in one burst."""
    models: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number, photo in enumerate(photos):
        if photo.camera:
            models[photo.camera][bool(photo.device)].append(number)
    for unknown, known in models.values():
        if not (unknown and known):
            continue
        looks = [_by_hash(photos, numbers) for numbers in (unknown, known)]
        hashes = hashes_of([*looks[0], *looks[1]])
        side = np.repeat([0, 1], [len(looks[0]), len(looks[1])])
        both = [*looks[0].values(), *looks[1].values()]
        for block in near_pairs(hashes, BURST_BITS, apart=side):
            yield from ((a, b) for x, y in block.tolist() for a in both[x][:1] for b in both[y])
        times = [_timed(photos, numbers, reset) for numbers in (unknown, known)]
        for moment, a in times[0]:
            near = bisect_left(times[1], moment - _REACH, key=itemgetter(0))
            beyond = bisect_right(times[1], moment + _REACH, key=itemgetter(0))
            yield from ((a, b) for _, b in times[1][near:beyond])


def _by_hash(photos: Sequence[PhotoRecord], numbers: Sequence[int]) -> dict[str, list[int]]:
    """Perceptual hash -> the numbers of the photos that have it."""
    alike: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        if is_hash(text := cell(photos[number], "phash")):
            alike[text].append(number)
    return alike


def _timed(
    photos: Sequence[PhotoRecord], numbers: Sequence[int], reset: Collection[str] = ()
) -> list[tuple[datetime, int]]:
    """Times and numbers of photos whose device's clock ran, in the order of the times."""
    return sorted(
        (moment, number)
        for number in numbers
        if photos[number].device_id not in reset
        and (moment := moment_of(cell(photos[number], "taken"))) is not None
    )


def reset_clocks(photos: Sequence[PhotoRecord]) -> dict[str, str]:
    """Device to the time that all its photos carry, three or more: its clock did not run.

    Photos without a time do not count.
    """
    times: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        if moment_of(taken := cell(photo, "taken")) is not None:
            times[photo.device_id].append(taken)
    return {
        device: of[0] for device, of in times.items() if len(of) >= FROZEN and len(set(of)) == 1
    }


def _in_a_row(photos: list[PhotoRecord]) -> list[tuple[int, int]]:
    times = _timed(photos, range(len(photos)))
    return [(a, b) for (before, a), (after, b) in pairwise(times) if after - before <= _REACH]


def moment_of(text: str) -> datetime | None:
    """The time that a cell of the column `taken` says, without its zone; None where it is none."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _nearly_equal(photos: list[PhotoRecord]) -> list[tuple[int, int]]:
    alike = _by_hash(photos, range(len(photos)))
    first = [numbers[0] for numbers in alike.values()]
    equal = [pair for numbers in alike.values() for pair in pairwise(numbers)]
    return equal + [
        (first[a], first[b])
        for block in near_pairs(hashes_of(list(alike)), BURST_BITS)
        for a, b in block.tolist()
    ]
