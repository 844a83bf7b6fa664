"""Fresh patches: cut, edited and turned in every epoch from photos kept decoded.

A plan says which photos and labels an epoch has, row by row. Where a patch lies, how it is edited
within its label (strength, noise), and how it is turned are drawn at every reading, from
numbers that name the reading alone: so any number of workers, and a training that was interrupted,
read the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from phototrace.files import hash_of
from phototrace.patches.chains import again, cut_version
from phototrace.patches.cutting import JPEG_GRID, Position
from phototrace.patches.decoded import DecodedPhotos
from phototrace.patches.plan import PatchPlan

Fresh = tuple[NDArray[np.uint8], NDArray[np.int64] | NDArray[np.float32]]
"""Patches (n, size, size[, 3]) and their labels (n,)."""


@dataclass(frozen=True)
class FreshPatches:
    """The rows of a plan, cut another way at every reading.

    Attributes:
        plan: One row a patch of an epoch; where it lies in its photo is not used.
        photos: The plan's photos, decoded.
        turned: Whether patches are flipped and turned by quarters.
    """

    plan: PatchPlan
    photos: DecodedPhotos
    turned: bool = False

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows whose photo could be decoded."""
        there = [p.sha256 in self.photos.places for p in self.plan.manifest.photos]
        return np.flatnonzero(np.array(there, dtype=np.bool_)[self.plan.photo])

    @cached_property
    def hash(self) -> str:
        """Names the data that a network sees."""
        return hash_of([self.plan.hash, self.photos.hash, self.turned])

    def read(self, rows: NDArray[np.int64], draw: Sequence[int], first: int = 0) -> Fresh:
        """Cut the patches of the given rows, in their order.

        Args:
            rows: Row numbers in the plan.
            draw: Seed, leg and epoch: name the epoch's draws.
            first: Position of the first row in the epoch; the others follow.
        """
        made = [
            self._patch(int(row), np.random.default_rng([*draw, first + k]))
            for k, row in enumerate(rows)
        ]
        patches, labels = np.stack([patch for patch, _ in made]), [label for _, label in made]
        if self.plan.settings.classes:
            return patches, np.array(labels, dtype=np.int64)
        return patches, np.array(labels, dtype=np.float32)

    def _patch(self, row: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], float]:
        settings, label = self.plan.settings, float(self.plan.label[row])
        pixels = self.photos.pixels(self.plan.manifest.photos[self.plan.photo[row]].sha256)
        place = random_place(pixels.shape[0], pixels.shape[1], settings.size, rng)
        if settings.edits is None:
            patch = pixels[tuple(slice(start, start + settings.size) for start in place)]
        else:
            label = again(settings.edits, settings.classes, label, rng)
            way = settings.ways[int(self.plan.editing[row])]
            patch = cut_version(
                settings.edits, pixels, place, settings.size, settings.classes, label, way, rng
            )
        return (turn(patch, int(rng.integers(8))) if self.turned else patch), label


def random_place(height: int, width: int, size: int, rng: np.random.Generator) -> Position:
    """A place for a patch, its offset to the photo's JPEG grid drawn evenly from all 64.

    Where a photo is too small for some offset, the offset is drawn from those that fit.
    """
    return _along(height, size, rng), _along(width, size, rng)


def _along(length: int, size: int, rng: np.random.Generator) -> int:
    spare = length - size
    offset = int(rng.integers(min(JPEG_GRID, spare + 1)))
    return offset + JPEG_GRID * int(rng.integers((spare - offset) // JPEG_GRID + 1))


def turn(patch: NDArray[np.uint8], way: int) -> NDArray[np.uint8]:
    """One of the eight ways to turn and mirror a square patch, 0 to 7; 0 leaves it."""
    turned = np.rot90(patch, way % 4)
    return turned[:, ::-1] if way >= 4 else turned
