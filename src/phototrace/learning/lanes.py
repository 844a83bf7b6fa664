"""Lanes: as many threads side by side as torch would set to one operation.

Two threads inside an operation bring little where an operation is short or moves memory. So the
rows of a batch are cut, and every lane computes its own rows on one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from threading import Barrier
from typing import TypeVar

import torch

Result = TypeVar("Result")


def cut(legs: Sequence[int]) -> tuple[list[int], list[int]]:
    """Rows of each piece of a batch, and its leg: cut where a leg ends, and into equal lanes.

    Args:
        legs: Rows of each leg, one after another in the batch.
    """
    lanes = torch.get_num_threads()
    ends = [0, *accumulate(legs)]
    total = ends[-1]
    cuts = sorted({*ends, *(round(total * lane / lanes) for lane in range(lanes))})
    sizes = [b - a for a, b in pairwise(cuts)]
    return sizes, [sum(end <= a for end in ends) - 1 for a, _ in pairwise(cuts)]


def side_by_side(work: Callable[..., Result], *pieces: Sequence[object]) -> list[Result]:
    """`work` of each piece, in order, as `map` gives it; without gradients or autocast."""
    lanes = min(torch.get_num_threads(), len(pieces[0]))
    alone = partial(_alone, work)
    if lanes < 2:
        return list(map(alone, *pieces))
    return list(_threads(torch.get_num_threads()).map(alone, *pieces))


def _alone(work: Callable[..., Result], *piece: object) -> Result:
    # Both are a thread's own settings: what holds where the work is asked for does not hold here.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        return work(*piece)


@lru_cache(maxsize=1)
def _threads(lanes: int) -> ThreadPoolExecutor:
    """Threads whose operations take one thread each."""
    started = Barrier(lanes)

    def start(_: int) -> None:
        torch.set_num_threads(1)
        started.wait()

    threads = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
    list(threads.map(start, range(lanes)))
    # A thread's own number stays its own, but new threads take the one that was set last.
    torch.set_num_threads(lanes)
    return threads


os.register_at_fork(after_in_child=_threads.cache_clear)
