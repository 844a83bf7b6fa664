"""Find pictures that look nearly equal: a 64-bit hash to search, a thumbnail to confirm.

The hash is `imagehash.phash` (the signs of the low frequencies of a 32 x 32 thumbnail). Saving
again and resizing change few of its bits; turning, mirroring and cropping change them all. All of
it is taken from the green channel as stored.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Of 64 bits. Unrelated photos differ in about 32; a photo and its recompressed copy in 0 to 4.
NEAR_BITS = 6
_BLOCK = 256
THUMBNAIL_SIDE = 32
_WORKING_SIDE = 256


def phash(green: NDArray[np.uint8]) -> str:
    """Perceptual hash of a green channel, uint8 (h, w), as 16 hexadecimal digits."""
    import imagehash

    return str(imagehash.phash(_reduced(green)))


def thumbnail(green: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A 32 x 32 thumbnail of mean 0 and length 1, so that a product is a correlation: (1024,).

    A picture without any contrast gives zeros, which correlate with nothing.
    """
    small = _reduced(green).resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    values = np.asarray(small, dtype=np.float32).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / np.float32(length) if length > 0 else values


def is_hash(text: str) -> bool:
    """Whether a text is a perceptual hash: 16 hexadecimal digits."""
    return len(text) == 16 and not set(text) - set("0123456789abcdef")


def hashes_of(texts: list[str]) -> NDArray[np.uint64]:
    """Hexadecimal hashes as uint64 (n,)."""
    return np.array([int(text, 16) for text in texts], dtype=np.uint64)


def near_pairs(
    hashes: NDArray[np.uint64],
    bits: int = NEAR_BITS,
    apart: NDArray[np.int64] | None = None,
) -> Iterator[NDArray[np.int64]]:
    """Pairs of hashes that differ in at most `bits` bits, as blocks (k, 2) of ascending numbers.

    Args:
        hashes: uint64 (n,).
        bits: The most that may differ.
        apart: int64 (n,); only pairs with different values here are wanted.
    """
    for start in range(0, len(hashes), _BLOCK):
        stop = min(start + _BLOCK, len(hashes))
        differing = np.bitwise_count(hashes[start:stop, None] ^ hashes[None, start:])
        near = np.triu(differing <= bits, k=1)
        if apart is not None:
            near &= apart[start:stop, None] != apart[None, start:]
        pairs = np.argwhere(near) + start
        if len(pairs):
            yield pairs


def _reduced(green: NDArray[np.uint8]) -> Image.Image:
    """A fast, exact shrink by a whole factor, to at least 256 pixels a side where there are."""
    image = Image.fromarray(green)
    factor = max(1, min(image.size) // _WORKING_SIDE)
    return image.reduce(factor) if factor > 1 else image
