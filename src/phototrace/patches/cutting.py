"""Where blocks are cut from a photo (paper Sec. 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import UsageError

JPEG_GRID = 8
CENTRAL_BLOCKS = 9

Position = tuple[int, int]
"""Row and column of a block's first pixel in its photo."""


def check_patch_size(size: int) -> int:
    """Return `size`, or raise `UsageError` unless it is a multiple of 32 from 64 up."""
    if size < 64 or size % 32:
        raise UsageError(
            f"A patch size of {size} is not possible. Choose a multiple of 32 from 64 up."
        )
    return size


def central_blocks(height: int, width: int, size: int) -> list[Position]:
    """The nine central blocks of a photo, row by row; none if it is smaller than 3 x 3 blocks.

    The paper cuts the manipulation task's patches so (Sec. 5). The 3 x 3 square stands in the
    very middle, so its offset to the JPEG grid is whatever the photo's size makes it.
    """
    if height < 3 * size or width < 3 * size:
        return []
    top, left = (height - 3 * size) // 2, (width - 3 * size) // 2
    return [(top + i * size, left + j * size) for i in range(3) for j in range(3)]


def random_blocks(
    height: int, width: int, size: int, count: int, rng: np.random.Generator
) -> list[Position]:
    """Up to `count` random blocks that do not overlap, in the order drawn.

    All lie at one offset to the photo's JPEG grid, drawn evenly from the 64 there are: else the
    offset would tell photos of one size, and so their camera, from those of another. For the same
    reason a photo gives as many blocks at any offset, at most `block_count`.

    The blocks are cells of one grid that is laid over the photo at a random origin. Where that grid
    holds fewer than are wanted, it begins at the same offset in the photo's corner instead.
    """
    count = min(count, block_count(height, width, size))
    if count < 1:
        return []
    origin_row, origin_column = (int(v) for v in rng.integers(0, size, size=2))
    cells = _cells(height, width, size, origin_row, origin_column)
    if len(cells) < count:
        cells = _cells(height, width, size, *grid_offset(origin_row, origin_column))
    chosen = rng.permutation(len(cells))[:count]
    return [cells[i] for i in chosen]


def block_count(height: int, width: int, size: int) -> int:
    """The number of non-overlapping blocks that fit at every offset to the JPEG grid."""
    spare = JPEG_GRID - 1
    return max(0, height - spare) // size * (max(0, width - spare) // size)


def grid_offset(row: int, column: int) -> Position:
    """Offset of a block to the photo's 8 x 8 JPEG grid, each 0..7."""
    return row % JPEG_GRID, column % JPEG_GRID


def centre_crop(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The central `(size, size[, 3])` part of `(h, w[, 3])` pixels."""
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


def _cells(height: int, width: int, size: int, row: int, column: int) -> list[Position]:
    rows = range(row, height - size + 1, size)
    columns = range(column, width - size + 1, size)
    return [(r, c) for r in rows for c in columns]
