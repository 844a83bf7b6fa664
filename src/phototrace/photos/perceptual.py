"""Find pictures that look nearly equal: a 64-bit hash to search, a look to confirm.

The hash is `imagehash.phash` (the signs of the low frequencies of a 32 x 32 thumbnail). Saving
again and resizing change few of its bits; turning, mirroring and cropping change them all. The look
holds the 8 x 8 lowest frequencies themselves, as a picture of 8 x 8 pixels would: enough to tell
one picture from another, too little to show it. Both are taken from the green channel as stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Of 64 bits. Unrelated photos differ in about 32; a photo and its recompressed copy in 0 to 4.
NEAR_BITS = 6
_BLOCK = 256
# Up to so many hashes, comparing all of them takes no longer than sorting them by their bands.
_FEW = 1024
# Correlation of looks above which two pictures with near hashes are one.
SAME_PICTURE = 0.98
_LOOK_SIDE = 8
_THUMBNAIL_SIDE = 32
_WORKING_SIDE = 256


def phash(green: NDArray[np.uint8]) -> str:
    """Perceptual hash of a green channel, uint8 (h, w), as 16 hexadecimal digits."""
    import imagehash

    return str(imagehash.phash(_reduced(green)))


def look(green: NDArray[np.uint8]) -> str:
    """The lowest 8 x 8 frequencies of a green channel, uint8 (h, w), as 128 hexadecimal digits.

    They are whole numbers from -127 to 127, the strongest being one of these; the mean is left out.
    A picture without any contrast gives zeros, which correlate with nothing.
    """
    from scipy.fft import dctn  # here: its import takes a tenth of a second

    side = (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
    small = np.asarray(_reduced(green).resize(side, Image.Resampling.LANCZOS), dtype=np.float64)
    low = dctn(small - small.mean(), norm="ortho")[:_LOOK_SIDE, :_LOOK_SIDE]
    strongest = np.abs(low).max()
    scaled = np.rint(low * (127 / strongest)) if strongest > 1e-6 else np.zeros_like(low)
    return bytes(scaled.astype(np.int8).tobytes()).hex()


def is_look(text: str) -> bool:
    """Whether a text is a look: 128 hexadecimal digits."""
    return len(text) == 2 * _LOOK_SIDE**2 and not set(text) - set("0123456789abcdef")


def looks_of(texts: Sequence[str]) -> NDArray[np.int8]:
    """Looks as int8 (n, 64); zeros, which correlate with nothing, where a text is none."""
    nothing = bytes(_LOOK_SIDE**2)
    rows = b"".join(bytes.fromhex(text) if is_look(text) else nothing for text in texts)
    return np.frombuffer(rows, dtype=np.int8).reshape(-1, _LOOK_SIDE**2)


def same_picture(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether looks of pictures with near hashes, (n, 64) each, are of one picture: (n,)."""
    one, two = a.astype(np.float32), b.astype(np.float32)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    products = np.einsum("ij,ij->i", one, two)
    alike: NDArray[np.bool_] = (lengths > 0) & (products >= np.float32(SAME_PICTURE) * lengths)
    return alike


def is_hash(text: str) -> bool:
    """Whether a text is a perceptual hash: 16 hexadecimal digits."""
    return len(text) == 16 and not set(text) - set("0123456789abcdef")


def hashes_of(texts: Sequence[str]) -> NDArray[np.uint64]:
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


def near_any(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64], bits: int
) -> NDArray[np.bool_]:
    """Which hashes, (n,), differ in at most `bits` bits from one of the others: (n,)."""
    ours, index = np.unique(hashes, return_inverse=True)
    theirs = np.unique(others)
    found = np.isin(ours, theirs)
    side = np.repeat([0, 1], [len(ours), len(theirs)])
    for block in near_pairs(np.concatenate([ours, theirs]), bits, apart=side):
        found[block[:, 0]] = True
    near: NDArray[np.bool_] = found[index]
    return near


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
