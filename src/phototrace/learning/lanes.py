"""Lanes: as many threads side by side as torch would set to one operation.

Two threads inside an operation bring little where an operation is short or moves memory. So the
rows of a batch are cut, and every lane computes its own rows on one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from threading import Barrier
from typing import TypeVar

import torch

Result = TypeVar("Result")
_lanes = ContextVar("lanes", default=1)


@contextmanager
def lanes() -> Iterator[None]:
    """Within, `side_by_side` takes a lane for each of torch's threads, which operations leave."""
    threads = torch.get_num_threads()
    before = _lanes.set(max(threads, _lanes.get()))
    # A thread that an operation has left still spins for a while, in the way of a lane.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _lanes.reset(before)


def cut(legs: Sequence[int]) -> tuple[list[int], list[int]]:
    """Rows of each piece of a batch, and its leg: cut where a leg ends, and into equal lanes.

    Args:
        legs: Rows of each leg, one after another in the batch.
    """
    ends = [0, *accumulate(legs)]
    count = _lanes.get()
    cuts = sorted({*ends, *(round(ends[-1] * lane / count) for lane in range(count))})
    sizes = [b - a for a, b in pairwise(cuts)]
    return sizes, [sum(end <= a for end in ends) - 1 for a, _ in pairwise(cuts)]


def side_by_side(work: Callable[..., Result], *pieces: Sequence[object]) -> list[Result]:
    """`work` of each piece, in order, as `map` gives it; without gradients or autocast."""
    if _lanes.get() == 1 or len(pieces[0]) == 1:
        return _plainly(lambda: list(map(work, *pieces)))
    return list(_threads(_lanes.get()).map(partial(_plainly, work), *pieces))


def _plainly(work: Callable[..., Result], *piece: object) -> Result:
    # Both are a thread's own settings: what holds where work is asked for does not hold here.
    off = torch.autocast("cpu", enabled=False) if torch.is_autocast_enabled("cpu") else None
    with torch.no_grad(), off or nullcontext():
        return work(*piece)


@lru_cache(maxsize=1)
def _threads(count: int) -> ThreadPoolExecutor:
    """Threads whose operations take one thread each."""
    started = Barrier(count)

    def start(_: int) -> None:
        torch.set_num_threads(1)
        started.wait()

    threads = ThreadPoolExecutor(count, thread_name_prefix="lane")
    list(threads.map(start, range(count)))
    return threads


os.register_at_fork(after_in_child=_threads.cache_clear)
