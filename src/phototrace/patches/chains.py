"""Edits of any strength, one after another, as photos meet them: and what is asked of each.

A patch is unaltered or has one of four kinds of edit as its last one (before it, sometimes one of
another kind), and is recompressed after that or not. So the kind, whether it was recompressed since
the camera, and the quality of that are questions of their own, to be asked of the same patch.

| kind | strength, drawn evenly |
|---|---|
| median filter | window of 3, 5 or 7 px |
| Gaussian blur | sigma 0.5 to 2.5 px |
| white noise | sigma 1 to 6 grey levels |
| scaling | factor 0.6 to 2, not within 0.95 to 1.05 (its logarithm), by eight ways of scaling |
| recompression | quality 50 to 95; in half of them with tables that are not the standard's |

All is done to a region around the patch, which meets any offset to the edit's own grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import ceil, exp, log

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phototrace.errors import UsageError
from phototrace.patches.cutting import Position
from phototrace.patches.manipulations import (
    EDITINGS,
    REGION_MARGIN,
    Edits,
    Operation,
    Pixels,
    jpeg_compress,
    median_filter,
    white_noise,
)

KINDS = ("unaltered", "median filter", "Gaussian blur", "white noise", "scaling")
SCALING = KINDS.index("scaling")
QUALITIES = (50, 95)
FACTORS = (0.6, 0.95, 1.05, 2.0)
"""A photo is made smaller by the first to the second, or larger by the third to the fourth."""
TWICE = 0.3
"""Share of edited patches that had an edit of another kind before."""

_KIND = 1000  # a label is the kind's index times this, and what was done after it
_OTHER_TABLES = 100  # is added to the quality where the tables are not the standard's


@dataclass(frozen=True)
class ChainEdits:
    """Versions of a block: every kind, as it is and recompressed. A label says both.

    Attributes:
        answers: The tasks that a label answers.
    """

    answers: tuple[str, ...] = ("edit", "recompressed", "jpeg-quality")

    def labels(self, classes: Sequence[str], rng: np.random.Generator) -> Sequence[float]:
        """Two versions of each kind."""
        return [
            float(kind * _KIND + quality)
            for kind in range(len(KINDS))
            for quality in (0, _quality(rng))
        ]

    def again(self, label: float, rng: np.random.Generator) -> float:
        """The label with another quality, where it was recompressed."""
        kind, after = divmod(int(label), _KIND)
        return float(kind * _KIND + (_quality(rng) if after else 0))

    def read(self, task: str, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        """What labels say for a task: a class's index, or a number; NaN where they say nothing."""
        kind, after = np.divmod(labels, _KIND)
        if task == "edit":
            return kind.astype(np.float32)
        if task == "recompressed":
            return np.where(np.isnan(after), after, after > 0).astype(np.float32)
        if task == "jpeg-quality":
            known = (after > 0) & (after <= _OTHER_TABLES)
            return np.where(known, after, np.nan).astype(np.float32)
        raise UsageError(f"These edits say nothing of {task!r}, only of {', '.join(self.answers)}.")

    def operation(self, classes: Sequence[str], label: float) -> Operation:
        """What makes the version of a whole picture, which scaling makes smaller or larger."""

        def edited(pixels: Pixels, rng: np.random.Generator) -> Pixels:
            kind, after = divmod(int(label), _KIND)
            return _edit(pixels, _steps(kind, rng, 1, min(pixels.shape[:2]))[0], after, rng)

        return edited

    def cut(
        self, pixels: Pixels, position: Position, size: int, label: float, rng: np.random.Generator
    ) -> Pixels:
        """The block at `position` in the version `label`: `(size, size[, 3])` uint8."""
        kind, after = divmod(int(label), _KIND)
        if not kind and not after:  # as the camera wrote it
            row, column = position
            return pixels[row : row + size, column : column + size]
        steps, factor = _steps(kind, rng, size, min(pixels.shape[:2]))
        region = _edit(_region(pixels, position, size, factor, rng), steps, after, rng)
        top, left = (int(rng.integers(side - size + 1)) for side in region.shape[:2])
        return region[top : top + size, left : left + size]

    def facts(self) -> dict[str, object]:
        """What tells these edits from others."""
        return {
            "edits": "chains", "kinds": list(KINDS), "twice": TWICE, "qualities": list(QUALITIES),
            "factors": list(FACTORS),
        }  # fmt: skip


def cut_version(
    edits: Edits, pixels: Pixels, position: Position, size: int, classes: Sequence[str],
    label: float, way: str, rng: np.random.Generator,
) -> Pixels:  # fmt: skip
    """The block at `position` of a photo's pixels in the version `label` of any edits."""
    if isinstance(edits, ChainEdits):
        return edits.cut(pixels, position, size, label, rng)
    return EDITINGS[way](pixels, position, size, edits.operation(classes, label), rng)


def again(edits: Edits, classes: Sequence[str], label: float, rng: np.random.Generator) -> float:
    """A label of the same class as `label`, with what else it says drawn again."""
    if isinstance(edits, ChainEdits):
        return edits.again(label, rng)
    return label if classes else float(edits.labels((), rng)[0])


def _edit(
    pixels: Pixels, steps: Sequence[Operation], after: int, rng: np.random.Generator
) -> Pixels:
    for step in steps:
        pixels = step(pixels, rng)
    return _recompress(after, pixels, rng) if after else pixels


def _quality(rng: np.random.Generator) -> int:
    quality = int(rng.integers(QUALITIES[0], QUALITIES[1] + 1))
    return quality + _OTHER_TABLES * int(rng.integers(2))


def _steps(
    kind: int, rng: np.random.Generator, size: int, room: int
) -> tuple[list[Operation], float]:
    """The edits of one patch, and by how much they scale. `room` is the photo's smaller side."""
    if not kind:
        return [], 1.0
    kinds = [kind]
    if rng.random() < TWICE:
        before = int(rng.integers(1, len(KINDS) - 1))
        kinds.insert(0, before + (before >= kind))
    factor = _factor(rng, size / room) if SCALING in kinds else 1.0
    return [_operation(one, factor, rng) for one in kinds], factor


def _factor(rng: np.random.Generator, least: float) -> float:
    """A factor of scaling, not below `least`, where the photo would have no pixels left for it."""
    low, below, above, high = map(log, FACTORS)
    low = max(low, log(least))
    smaller, larger = max(below - low, 0.0), high - above
    drawn = rng.random() * (smaller + larger)
    return exp(low + drawn if drawn < smaller else above + drawn - smaller)


def _operation(kind: int, factor: float, rng: np.random.Generator) -> Operation:
    if kind == SCALING:
        return partial(
            scale, factor=factor, way=WAYS_OF_SCALING[int(rng.integers(len(WAYS_OF_SCALING)))]
        )
    name = KINDS[kind]
    if name == "median filter":
        return partial(median_filter, size=int(rng.choice([3, 5, 7])))
    if name == "Gaussian blur":
        return partial(_blur, sigma=float(rng.uniform(0.5, 2.5)))
    return partial(white_noise, sigma=float(rng.uniform(1.0, 6.0)))


def _blur(pixels: Pixels, rng: np.random.Generator, *, sigma: float) -> Pixels:
    """Gaussian blur, its kernel reaching four times sigma."""
    side = 2 * ceil(4 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(pixels, (side, side), sigma), dtype=np.uint8)


def _by_opencv(interpolation: int) -> Callable[[Pixels, tuple[int, int]], Pixels]:
    def scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
        return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), dtype=np.uint8)

    return scaled


def _by_pillow(resampling: Image.Resampling) -> Callable[[Pixels, tuple[int, int]], Pixels]:
    def scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
        return np.asarray(Image.fromarray(pixels).resize(size, resampling), dtype=np.uint8)

    return scaled


_SCALE: dict[str, Callable[[Pixels, tuple[int, int]], Pixels]] = {
    "OpenCV linear": _by_opencv(cv2.INTER_LINEAR),
    "OpenCV cubic": _by_opencv(cv2.INTER_CUBIC),
    "OpenCV Lanczos": _by_opencv(cv2.INTER_LANCZOS4),
    "OpenCV area": _by_opencv(cv2.INTER_AREA),
    "Pillow linear": _by_pillow(Image.Resampling.BILINEAR),
    "Pillow Hamming": _by_pillow(Image.Resampling.HAMMING),
    "Pillow cubic": _by_pillow(Image.Resampling.BICUBIC),
    "Pillow Lanczos": _by_pillow(Image.Resampling.LANCZOS),
}
WAYS_OF_SCALING = tuple(_SCALE)
"""OpenCV's sample the photo as it is when they make it smaller (but for area); Pillow's smooth."""


def scale(pixels: Pixels, rng: np.random.Generator, *, factor: float, way: str) -> Pixels:
    """Pixels `factor` times as large, by one of `WAYS_OF_SCALING`."""
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return _SCALE[way](np.ascontiguousarray(pixels), (width, height))


def _region(
    pixels: Pixels, position: Position, size: int, factor: float, rng: np.random.Generator
) -> Pixels:
    """A part of the photo about the block, large enough to give it after scaling by `factor`."""
    parts = []
    for start, length in zip(position, pixels.shape[:2], strict=True):
        before, after = (int(v) for v in rng.integers(*REGION_MARGIN, size=2))
        needed = min(length, ceil((size + 1) / factor) + before + after)
        first = min(max(0, start + size // 2 - needed // 2), length - needed)
        parts.append(slice(first, first + needed))
    return pixels[parts[0], parts[1]]


def _recompress(after: int, pixels: Pixels, rng: np.random.Generator) -> Pixels:
    quality = after % _OTHER_TABLES if after != _OTHER_TABLES else _OTHER_TABLES
    if after <= _OTHER_TABLES:
        return jpeg_compress(pixels, rng, quality=quality)
    buffer = BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(buffer, "JPEG", qtables=_other_tables(quality, image.mode, rng))
    with Image.open(buffer) as saved:
        return np.asarray(saved, dtype=np.uint8)


def _other_tables(quality: int, mode: str, rng: np.random.Generator) -> list[list[int]]:
    """Quantisation tables about as coarse as a quality's, tilted and roughened as makers' own."""
    buffer = BytesIO()
    Image.new(mode, (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as standard:
        tables = standard.quantization  # type: ignore[attr-defined]
    frequency = np.add.outer(np.arange(8), np.arange(8)).ravel() / 14
    tilt = rng.uniform(-0.7, 0.7)
    made = []
    for table in tables.values():
        rough = rng.uniform(0.85, 1.15, size=64)
        values = np.asarray(table) * np.exp(tilt * (frequency - 0.3)) * rough
        made.append([int(v) for v in np.clip(np.rint(values), 1, 255)])
    return made
