"""The six processing operations of the paper's Table 1, and the two ways of applying them.

A task that asks what was done to a patch is given `Edits`: which versions of a block there are, the
label of each, and the operation that makes it.

An operation takes pixels `(h, w)` or `(h, w, 3)` uint8 and a random generator, and returns uint8
pixels; it may change the size (resampling does). Results are rounded, never truncated: truncation
would shift the mean by half a grey level, which a network can learn instead of the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from phototrace.errors import UsageError
from phototrace.patches.cutting import JPEG_GRID, Position, centre_crop

Pixels = NDArray[np.uint8]
Operation = Callable[[Pixels, np.random.Generator], Pixels]

# How far an edited region reaches beyond the patch on each side: beyond the reach of the 5 x 5
# filters, and drawn so that the patch meets every offset to the edit's own JPEG grid.
REGION_MARGIN = (JPEG_GRID, 3 * JPEG_GRID)


def unaltered(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The pixels as they are."""
    return pixels


def median_filter(pixels: Pixels, rng: np.random.Generator, *, size: int = 5) -> Pixels:
    """Median over a `size` x `size` window; edges are replicated."""
    return np.asarray(cv2.medianBlur(np.ascontiguousarray(pixels), size), dtype=np.uint8)


def gaussian_blur(
    pixels: Pixels, rng: np.random.Generator, *, size: int = 5, sigma: float = 1.1
) -> Pixels:
    """Gaussian blur with a `size` x `size` kernel; edges are mirrored."""
    return np.asarray(cv2.GaussianBlur(pixels, (size, size), sigma), dtype=np.uint8)


def white_noise(pixels: Pixels, rng: np.random.Generator, *, sigma: float = 2.0) -> Pixels:
    """Additive white Gaussian noise, rounded and clipped to 0..255."""
    noisy = pixels + rng.normal(0.0, sigma, size=pixels.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def bilinear_resample(pixels: Pixels, rng: np.random.Generator, *, factor: float = 1.5) -> Pixels:
    """Enlarged by bilinear interpolation; the result is `factor` times as large."""
    larger = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return np.asarray(larger, dtype=np.uint8)


def jpeg_compress(pixels: Pixels, rng: np.random.Generator, *, quality: int = 70) -> Pixels:
    """Saved as JPEG and opened again; one channel is saved as greyscale, three as RGB."""
    colour = pixels.ndim == 3
    source = pixels[..., ::-1] if colour else pixels
    _, encoded = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(
        cv2.imdecode(encoded, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE), dtype=np.uint8
    )
    return decoded[..., ::-1] if colour else decoded


MANIPULATIONS: dict[str, Operation] = {
    "unaltered": unaltered,
    "median filter": partial(median_filter, size=5),
    "Gaussian blur": partial(gaussian_blur, size=5, sigma=1.1),
    "white noise": partial(white_noise, sigma=2.0),
    "bilinear resampling": partial(bilinear_resample, factor=1.5),
    "JPEG compression": partial(jpeg_compress, quality=70),
}
"""Table 1, task A: class name -> operation."""


class Edits(Protocol):
    """The versions of one block: what was done to each is its label."""

    def labels(self, classes: Sequence[str], rng: np.random.Generator) -> Sequence[float]:
        """Of each version of a block: the index of its class, or a number."""
        ...

    def operation(self, classes: Sequence[str], label: float) -> Operation:
        """What makes the version with this label."""
        ...

    def facts(self) -> dict[str, object]:
        """What tells these edits from others, as plain values."""
        ...


@dataclass(frozen=True)
class NamedEdits:
    """One version of a block for each class, made by the operation of that name."""

    operations: Mapping[str, Operation]

    def labels(self, classes: Sequence[str], rng: np.random.Generator) -> Sequence[float]:
        """Every class once; `UsageError` where one has no operation."""
        missing = [name for name in classes if name not in self.operations]
        if missing:
            raise UsageError(
                f"No operation is called {missing[0]!r}. Use: {', '.join(self.operations)}."
            )
        return range(len(classes))

    def operation(self, classes: Sequence[str], label: float) -> Operation:
        """The operation that the class is named after."""
        return self.operations[classes[int(label)]]

    def facts(self) -> dict[str, object]:
        """Nothing: the classes' names say it all."""
        return {}


@dataclass(frozen=True)
class QualityEdits:
    """Versions of a block last saved as JPEG, at qualities drawn evenly from whole numbers.

    Attributes:
        lowest, highest: Bounds of the quality, both included.
        versions: Of each block.
    """

    lowest: int = 50
    highest: int = 95
    versions: int = 2

    def labels(self, classes: Sequence[str], rng: np.random.Generator) -> Sequence[float]:
        """As many qualities as there are versions."""
        drawn = rng.integers(self.lowest, self.highest + 1, size=self.versions)
        return [float(quality) for quality in drawn]

    def operation(self, classes: Sequence[str], label: float) -> Operation:
        """Saving as JPEG at the quality `label`."""
        return partial(jpeg_compress, quality=int(label))

    def facts(self) -> dict[str, object]:
        """Bounds and number of versions."""
        return vars(self).copy()


def edit_block(
    pixels: Pixels, position: Position, size: int, operation: Operation, rng: np.random.Generator
) -> Pixels:
    """Cut the block at `position` from a photo and edit it alone, as the paper does (Sec. 5).

    The filters meet the block's own border, and a JPEG edit has the block's own grid.
    Returns `(size, size[, 3])`; what an operation enlarged is cropped to its middle.
    """
    row, column = position
    block = pixels[row : row + size, column : column + size]
    return centre_crop(operation(block, rng), size)


def edit_region(
    pixels: Pixels, position: Position, size: int, operation: Operation, rng: np.random.Generator
) -> Pixels:
    """Edit a larger region around the block at `position`, then cut the block out of it.

    This is how edits are met in practice: a whole photo is edited, and a patch sees neither the
    edit's border nor its grid's origin. The region reaches a random 8 to 23 pixels beyond the
    block on each side (less at the photo's edge). Returns `(size, size[, 3])`.
    """
    row, column = position
    before_row, before_column, after_row, after_column = (
        int(v) for v in rng.integers(*REGION_MARGIN, size=4)
    )
    top, left = max(0, row - before_row), max(0, column - before_column)
    region = pixels[top : row + size + after_row, left : column + size + after_column]
    edited = operation(region, rng)
    if edited.shape == region.shape:
        start_row, start_column = row - top, column - left
    else:
        start_row, start_column = (_near_middle(length, size, rng) for length in edited.shape[:2])
    return edited[start_row : start_row + size, start_column : start_column + size]


EDITINGS = {"block": edit_block, "region": edit_region}
"""Name -> way of editing, as recipes name them."""


def _near_middle(length: int, size: int, rng: np.random.Generator) -> int:
    """A start near the middle whose phase to the resampling grid is random."""
    start = (length - size) // 2 + int(rng.integers(-JPEG_GRID // 2, JPEG_GRID // 2))
    return min(max(start, 0), length - size)
