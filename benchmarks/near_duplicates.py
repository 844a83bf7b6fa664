"""How long near pairs among 64-bit perceptual hashes take, beside comparing every pair.

    python benchmarks/near_duplicates.py [--hashes 100000] [--plain]

The hashes are random, with planted clusters: half of the planted hashes are one to six bits from
another, and one cluster of a thousand stands for pictures that all look nearly the same. `--plain`
also compares every hash with every other, and checks that the pairs are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from phototrace.photos import perceptual

Search = Callable[[NDArray[np.uint64], int], Iterator[NDArray[np.int64]]]


def planted(count: int, seed: int = 0) -> NDArray[np.uint64]:
    """Random hashes, a tenth of them near another, and a cluster of a thousand."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64, endpoint=False)
    chosen = rng.permutation(count)
    pairs = chosen[: count // 10 * 2].reshape(2, -1)
    hashes[pairs[1]] = hashes[pairs[0]] ^ _flips(rng, pairs.shape[1], 6)
    cluster = chosen[-min(1000, count // 2) :]
    hashes[cluster] = hashes[cluster[0]] ^ _flips(rng, len(cluster), 3)
    return hashes


def _flips(rng: np.random.Generator, count: int, most: int) -> NDArray[np.uint64]:
    bits = np.uint64(1) << rng.integers(0, 64, (count, most), dtype=np.uint64)
    kept = np.arange(most) < rng.integers(1, most + 1, (count, 1))
    flips: NDArray[np.uint64] = np.bitwise_xor.reduce(np.where(kept, bits, np.uint64(0)), axis=1)
    return flips


def timed(search: Search, hashes: NDArray[np.uint64]) -> tuple[float, NDArray[np.int64]]:
    """Seconds, and the pairs in order."""
    start = time.perf_counter()
    found = np.concatenate([*search(hashes, perceptual.NEAR_BITS), np.zeros((0, 2), np.int64)])
    seconds = time.perf_counter() - start
    return seconds, found[np.lexsort(found.T[::-1])]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hashes", type=int, default=100_000)
    parser.add_argument("--plain", action="store_true")
    asked = parser.parse_args()
    hashes = planted(asked.hashes)
    seconds, pairs = timed(perceptual.near_pairs, hashes)
    print(f"near_pairs: {len(hashes)} hashes, {len(pairs)} near pairs, {seconds:.1f} s")
    if asked.plain:
        seconds, plain = timed(perceptual._compare_all, hashes)
        same = "the same pairs" if np.array_equal(pairs, plain) else "OTHER PAIRS"
        print(f"every pair:  {seconds:.1f} s, {same}")


if __name__ == "__main__":
    main()
