"""Draw groups of photos and devices into the parts of a split; the arithmetic behind `splits`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from phototrace.photos.manifest import PhotoRecord

PARTS = ("train", "validation", "test")
# A device with less than this share of its model's largest is drawn only if there is no other:
# one photo would be no test, and training on the one photo that is left no training.
_SMALL_DEVICE = 0.1

Group = list[PhotoRecord]
Named = Callable[[Group], str]


@dataclass(frozen=True)
class Draw:
    """A seed, and the shares of photos for validation and test; what is drawn is ordered by hash.

    `validation_devices` says whether whole devices may be for validation.
    """

    seed: int
    validation: float
    test: float
    validation_devices: bool = True

    def order(self, name: str) -> str:
        """Where `name` comes in the draw; other names do not matter."""
        return hashlib.sha256(f"{self.seed}:{name}".encode("utf-8", "surrogatepass")).hexdigest()


def deal(
    groups: Sequence[Group], draw: Draw, name: Named, *, test_first: bool = True
) -> dict[str, list[Group]]:
    """Deal whole groups to the parts: the largest trains, the draw fills test, validation, train.

    Three groups or more fill all parts. Of two, the second is for test (`test_first`) or
    for validation.
    """
    if not groups:
        return {part: [] for part in PARTS}
    photos = sum(map(len, groups))
    largest, rest = largest_and_rest(groups, draw, name)
    most = (
        len(rest) - 1
    )  # One is left for validation; but of two groups in all, the second may test.
    if len(rest) == 1 and test_first:
        most = 1
    test, rest = take(rest, draw.test * photos, most)
    validation, rest = take(rest, draw.validation * photos, len(rest))
    return {"train": [largest, *rest], "validation": validation, "test": test}


def largest_and_rest(groups: Sequence[Group], draw: Draw, name: Named) -> tuple[Group, list[Group]]:
    """The largest group, and the others in the order of the draw."""
    drawn = sorted(groups, key=lambda group: draw.order(name(group)))
    largest = max(drawn, key=len)
    return largest, [group for group in drawn if group is not largest]


def take(groups: list[Group], photos: float, most: int) -> tuple[list[Group], list[Group]]:
    """Part groups into taken and left: from the front, coming near a number of photos.

    At least one is taken where there is one, and at most `most`.
    """
    taken: list[Group] = []
    left: list[Group] = []
    count = 0
    for group in groups:
        fits = len(taken) < most and count + len(group) / 2 <= photos
        (taken if fits else left).append(group)
        count += len(group) if fits else 0
    if not taken and left and most > 0:
        smallest = min(range(len(left)), key=lambda n: len(left[n]))
        taken = [left.pop(smallest)]
    return taken, left


def draw_devices(
    counts: Mapping[str, int], draw: Draw, forced: Set[str], *, validation: bool
) -> dict[str, str]:
    """Which devices of one camera model are for test and validation; those not named train.

    Args:
        counts: Device to its number of photos; all devices of one model.
        draw: Orders the devices.
        forced: Devices that test anyway; a model with one of them gets no other.
        validation: Whether a device may be for validation.
    """
    roles = {device: "test" for device in counts if device in forced}
    free = sorted((device for device in counts if device not in forced), key=draw.order)
    if len(free) < 2:
        return roles
    largest = max(free, key=lambda device: counts[device])
    others = [device for device in free if device != largest]
    sizeable = [d for d in others if counts[d] >= _SMALL_DEVICE * counts[largest]]
    if not roles:
        tests = (sizeable or others)[0]
        roles[tests] = "test"
        sizeable = [device for device in sizeable if device != tests]
    if validation and sizeable:
        roles[sizeable[0]] = "validation"
    return roles
