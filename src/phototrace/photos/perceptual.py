"""Find pictures that look nearly equal: a 64-bit hash to search, a thumbnail to confirm.

The hash is `imagehash.phash` (the signs of the low frequencies of a 32 x 32 thumbnail). Saving
again and resizing change few of its bits; turning, mirroring and cropping change them all. All of
it is taken from the green channel as stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Of 64 bits. Unrelated photos differ in about 32; a photo and its recompressed copy in 0 to 4.
NEAR_BITS = 6
_BLOCK = 256
# Up to so many hashes, comparing all of them takes no longer than sorting them by their bands.
_FEW = 1024
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

    Every pair comes once; the order of the pairs is fixed but has no meaning. The time goes with
    the number of hashes and of pairs found, not with all pairs there are.

    Args:
        hashes: uint64 (n,).
        bits: The most that may differ, below 62.
        apart: int64 (n,); only pairs with different values here are wanted.
    """
    search = _compare_all if len(hashes) <= _FEW else _compare_by_bands
    for pairs in search(hashes, bits):
        if apart is not None:
            pairs = pairs[apart[pairs[:, 0]] != apart[pairs[:, 1]]]
        if len(pairs):
            yield pairs


def _compare_all(hashes: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.int64]]:
    """Every hash with every other."""
    for start in range(0, len(hashes), _BLOCK):
        stop = min(start + _BLOCK, len(hashes))
        differing = np.bitwise_count(hashes[start:stop, None] ^ hashes[None, start:])
        yield np.argwhere(np.triu(differing <= bits, k=1)) + start


def _compare_by_bands(hashes: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.int64]]:
    """Only hashes that are equal in two bands of their bits.

    Cut into `bits` + 2 bands, two hashes that differ in at most `bits` bits are equal in two bands
    at least (pigeonhole principle; Manku et al., Detecting near-duplicates for web crawling, 2007).
    So for any two bands, hashes that are equal there come to stand together and are compared.
    """
    bands = _bands(bits + 2)
    for one, two in combinations(range(len(bands)), 2):
        key = hashes & (bands[one] | bands[two])
        order = np.argsort(key, kind="stable")
        key = key[order]
        rows, step = np.arange(len(key)), 1
        while True:
            # Equal keys stand in a row: who has no equal `step` places on has none further on.
            rows = rows[: np.searchsorted(rows, len(key) - step)]
            rows = rows[key[rows] == key[rows + step]]
            if not len(rows):
                break
            pairs = np.sort(np.stack([order[rows], order[rows + step]], axis=1), axis=1)
            different = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
            near = np.bitwise_count(different) <= bits
            pairs, different = pairs[near], different[near]
            # A pair that is equal in more than two bands is told by the first two.
            before = [band for n, band in enumerate(bands[:two]) if n != one]
            first = np.all([different & band != 0 for band in before], axis=0)
            yield pairs[first] if before else pairs
            step += 1


def _bands(count: int) -> list[np.uint64]:
    """The 64 bits in `count` bands of nearly equal width, as masks."""
    edges = [64 * n // count for n in range(count + 1)]
    return [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]


def _reduced(green: NDArray[np.uint8]) -> Image.Image:
    """A fast, exact shrink by a whole factor, to at least 256 pixels a side where there are."""
    image = Image.fromarray(green)
    factor = max(1, min(image.size) // _WORKING_SIDE)
    return image.reduce(factor) if factor > 1 else image
