"""Which patches come in which step: a pure function of seed, leg and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phototrace.learning.tasks import Task
from phototrace.patches.stream import FreshPatches


class Source(Protocol):
    """Rows to train on: a `PatchStore`, or what a frozen trunk gave for one."""

    @property
    def label(self) -> NDArray[np.int64] | NDArray[np.float32]:
        """Of each row, `(n,)`: its class, or its number."""
        ...

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """The given rows in their order: patches as uint8, anything else as float32."""
        ...


Batch = dict[str, tuple[Tensor, Tensor]]
"""Leg name -> patches `(n, c, h, w)` uint8 (or a trunk's output, float32), labels `(n,)`."""

AS_GIVEN = -2.0
"""In `Leg.said`: the patch's own label counts."""
AHEAD = 3
"""Steps whose batches are read before the network asks for them."""
READERS = 1
MOST_OFTEN = 4.0
"""Devices of a class are drawn equally often, up to a limit: no patch of a device is drawn more
than this many times as often as one of the largest device. Otherwise a network would memorise a
device with one photo."""


@dataclass(frozen=True)
class Leg:
    """One task in a training: its patches and how many of them make a step.

    Attributes:
        name: The leg's name in the recipe.
        task: Its task.
        store: Where its patches are; None where none validates and training cuts its own.
        train, validation: Row numbers in the store.
        batch_size: Patches in one step.
        weight: lambda_t of Eq. 6: scales this leg's gradient in the stages that legs share.
        strata: Class and device of each row of `train`, `(n, 2)`, drawn equally often; None where
            every row is shown as often.
        fresh: Cuts the patches that train while it goes on; `train` holds rows of it then.
        patches_of: The leg whose patches it takes; "" where it has its own.
        said: What is said of each row of its store, and of `fresh`, where that is not what the
            patches' own labels say: NaN where nothing is.
    """

    name: str
    task: Task
    store: Source | None
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    batch_size: int
    weight: float = 1.0
    strata: NDArray[np.int64] | None = None
    fresh: FreshPatches | None = None
    patches_of: str = ""
    said: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def labels(
        self, rows: NDArray[np.int64], given: NDArray[Any], *, of_fresh: bool
    ) -> NDArray[Any]:
        """The task's labels of rows whose patches have the labels `given`."""
        if self.said is None:
            return self.task.labels(given)
        said = self.said[of_fresh][rows]
        # A patch's own label where the table says nothing against it, else the table's.
        return self.task.labels(np.where(said == AS_GIVEN, given, said))

    @property
    def held_labels(self) -> NDArray[Any]:
        """The labels of the patches that validate."""
        assert self.store is not None
        return self.labels(self.validation, self.store.label[self.validation], of_fresh=False)


def steps_per_epoch(legs: Sequence[Leg]) -> int:
    """Steps until the leg that needs most has shown all its patches; shorter ones start again."""
    return max(-(-len(leg.train) // leg.batch_size) for leg in legs if not leg.patches_of)


def epoch_order(leg: Leg, epoch: int, steps: int, seed: int, number: int) -> NDArray[np.int64]:
    """Rows of one epoch, `(steps, batch_size)`: every batch full, reshuffled at each pass."""
    rng = np.random.default_rng([seed, number, epoch])
    needed = steps * leg.batch_size
    if leg.strata is not None:
        drawn = _draw(leg.train, leg.strata, epoch, needed, [seed, number])
        return rng.permutation(drawn).reshape(steps, leg.batch_size)
    passes = -(-needed // len(leg.train))
    rows = np.concatenate([rng.permutation(leg.train) for _ in range(passes)])
    return rows[:needed].reshape(steps, leg.batch_size)


def strata_shares(strata: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which stratum each row is of, `(n,)`, and the share of the draws that each one gets.

    Classes get equal shares, and so do the devices of a class within `MOST_OFTEN`.

    Args:
        strata: Class and device of each row, `(n, 2)`.
    """
    pairs, stratum, counts = np.unique(strata, axis=0, return_inverse=True, return_counts=True)
    shares = np.zeros(len(pairs))
    for label in np.unique(pairs[:, 0]):
        devices = np.flatnonzero(pairs[:, 0] == label)
        largest = counts[devices].max()
        shares[devices] = np.minimum(1.0, MOST_OFTEN * counts[devices] / largest)
        shares[devices] /= shares[devices].sum()
    return stratum.ravel(), shares / shares.sum()


def _draw(
    rows: NDArray[np.int64], strata: NDArray[np.int64], epoch: int, needed: int, seed: list[int]
) -> NDArray[np.int64]:
    """An epoch's rows by their strata's shares: each goes through its rows, pass after pass."""
    stratum, shares = strata_shares(strata)
    quotas = np.floor(shares * needed).astype(np.int64)
    rest = np.argsort(quotas - shares * needed, kind="stable")[: needed - quotas.sum()]
    quotas[rest] += 1
    drawn = []
    for number, quota in enumerate(quotas.tolist()):
        own = rows[stratum == number]
        first, last = epoch * quota, (epoch + 1) * quota
        passes = range(first // len(own), -(-last // len(own)))
        through = [np.random.default_rng([*seed, number, p]).permutation(own) for p in passes]
        start = first - first // len(own) * len(own)
        drawn.append(np.concatenate([own[:0], *through])[start : start + quota])
    return np.concatenate(drawn)


def batches(
    legs: Sequence[Leg],
    first: int,
    last: int,
    seed: int,
    *,
    share: tuple[int, int] = (0, 1),
    pinned: bool = False,
) -> Iterator[Batch]:
    """The batches of steps `first` to `last` (exclusive), read ahead while the network works.

    `share` says which process of how many reads them: each takes its rows of every batch. `pinned`
    puts them where a device fetches them while the processor goes on.
    """
    steps = steps_per_epoch(legs)
    orders: list[NDArray[np.int64]] = []
    ahead: list[Future[Batch]] = []
    with ThreadPoolExecutor(max_workers=READERS) as reader:
        for step in range(first, last + AHEAD):
            if step < last:
                epoch, place = divmod(step, steps)
                if place == 0 or not orders:
                    orders = [
                        epoch_order(leg, epoch, steps, seed, number)
                        for number, leg in enumerate(legs) if not leg.patches_of
                    ]  # fmt: skip
                rows = [order[place] for order in orders]
                asked = reader.submit(_batch, legs, rows, [seed, epoch], place, share, pinned)
                ahead.append(asked)
            if step >= first + AHEAD:
                yield ahead.pop(0).result()


def _batch(
    legs: Sequence[Leg],
    rows: Sequence[NDArray[np.int64]],
    draw: Sequence[int],
    place: int,
    share: tuple[int, int],
    pinned: bool,
) -> Batch:
    """One process's share of a step: `draw` is seed and epoch, `place` the step in its epoch."""
    (seed, epoch), (rank, processes) = draw, share
    owners = [(number, leg) for number, leg in enumerate(legs) if not leg.patches_of]
    read = {}
    for (number, leg), every in zip(owners, rows, strict=True):
        size = leg.batch_size // processes
        own = every[rank * size : (rank + 1) * size]
        first = place * leg.batch_size + rank * size
        patches, given = _read(leg, own, [seed, number, epoch], first)
        read[leg.name] = _ready(as_tensor(patches), pinned), own, given
    batch = {}
    for leg in legs:
        tensor, own, given = read[leg.patches_of or leg.name]
        labels = leg.labels(own, given, of_fresh=leg.fresh is not None)
        batch[leg.name] = tensor, _ready(torch.from_numpy(labels), pinned)
    return batch


def _ready(tensor: Tensor, pinned: bool) -> Tensor:
    return tensor.pin_memory() if pinned else tensor


def _read(
    leg: Leg, rows: NDArray[np.int64], draw: Sequence[int], first: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Patches and their labels: from a leg's store, or cut now as the place in the epoch has it."""
    if leg.fresh is not None:
        return leg.fresh.read(rows, draw, first)
    assert leg.store is not None
    return leg.store.read(rows), leg.store.label[rows]


def as_tensor(patches: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    """`(n, h, w[, 3])` uint8 as a tensor `(n, c, h, w)`; float32 as it is. Values unchanged."""
    if patches.dtype != np.uint8:
        return torch.from_numpy(patches)
    tensor = torch.from_numpy(np.ascontiguousarray(patches))
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)
