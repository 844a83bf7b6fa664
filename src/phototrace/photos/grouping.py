"""Join what belongs together: groups of items that share any of their keys, directly or in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def connected(items: Sequence[Item], keys: Callable[[Item], Sequence[str]]) -> list[list[Item]]:
    """Groups of items joined by equal keys, in the order of their first items.

    `keys` gives as many keys for each item; the n-th keys of two items are compared. "" joins
    nothing.
    """
    first: dict[tuple[int, str], int] = {}
    pairs = []
    for number, item in enumerate(items):
        for place, key in enumerate(keys(item)):
            if key:
                pairs.append((first.setdefault((place, key), number), number))
    return [[items[n] for n in group] for group in joined(len(items), pairs)]


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of the numbers below `count` that the pairs join, ascending, singles included."""
    from scipy.cluster.hierarchy import DisjointSet  # here: its import takes a fifth of a second

    groups = DisjointSet(range(count))
    for a, b in pairs:
        groups.merge(a, b)
    return [sorted(group) for group in groups.subsets()]
