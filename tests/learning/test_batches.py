"""The order of training: every row in turn, classes and devices as often as they should be."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phototrace.learning.batches import (
    MOST_OFTEN,
    Leg,
    as_tensor,
    batches,
    epoch_order,
    steps_per_epoch,
    strata_shares,
)
from phototrace.learning.tasks import TASKS

Rows = NDArray[np.int64]
# Class and device of each row: class 0 has devices of 60, 30 and 3 rows, class 1 one of 20.
STRATA = np.repeat([[0, 0], [0, 1], [0, 2], [1, 3]], [60, 30, 3, 20], axis=0).astype(np.int64)
# What each device gets. The third may come at most four times as often as rows of the first:
# 1 : 1 : 4 * 3 / 60 within the class, and half of all for each class.
SHARES = np.array([1 / 2.2, 1 / 2.2, 0.2 / 2.2, 1]) / 2


class Numbered:
    """A source whose row k holds the number k."""

    def __init__(self, count: int) -> None:
        self.label = np.arange(count, dtype=np.int64)

    def read(self, rows: Rows) -> NDArray[np.float32]:
        return rows.astype(np.float32)[:, None]


def leg(train: Rows, batch: int, name: str = "leg", **more: Any) -> Leg:
    none = np.array([], dtype=np.int64)
    source = Numbered(int(train.max()) + 1)
    return Leg(name, TASKS["camera"], source, train, none, batch, **more)


def drawn(**more: Any) -> Leg:
    """Rows 1000 to 1112 by their strata."""
    return leg(np.arange(1000, 1113), 11, strata=STRATA, **more)


def order(of: Leg, epoch: int = 0, steps: int = 20, seed: int = 1, number: int = 0) -> Rows:
    return epoch_order(of, epoch, steps, seed, number)


PLAIN = leg(np.arange(50, 150), 10)
BOTH = pytest.mark.parametrize("of", [PLAIN, drawn()], ids=["every row", "by strata"])


@BOTH
def test_the_order_is_a_function_of_seed_leg_and_epoch(of: Leg) -> None:
    first = order(of)
    assert first.shape == (20, of.batch_size)
    np.testing.assert_array_equal(order(of), first)
    others = [order(of, epoch=1), order(of, seed=2), order(of, number=1)]
    for other in others:
        # As two independent shuffles: hardly a row stands where it stood.
        assert (other == first).mean() < 0.15


def test_two_legs_of_one_size_are_shuffled_apart() -> None:
    """Also as the training reads them, and the same leg again whatever stands beside it."""
    one, two = leg(np.arange(40), 8, "one"), leg(np.arange(40), 8, "two")
    read = [(b["one"][1], b["two"][1]) for b in batches([one, two], 0, 5, 3)]
    ours, theirs = (torch.stack(labels).numpy() for labels in zip(*read, strict=True))
    assert (ours == theirs).mean() < 0.15
    np.testing.assert_array_equal(ours, order(one, 0, 5, 3, 0))
    np.testing.assert_array_equal(theirs, order(two, 0, 5, 3, 1))


def test_batches_begin_anywhere_and_go_through_the_epochs() -> None:
    long, short = leg(np.arange(45), 10, "long"), leg(np.arange(12), 4, "short")
    assert steps_per_epoch([short, long]) == steps_per_epoch([long, short]) == 5
    whole = list(batches([long, short], 0, 15, 3))
    expected = np.concatenate([order(long, epoch, 5, 3, 0) for epoch in range(3)])
    np.testing.assert_array_equal(torch.stack([b["long"][1] for b in whole]), expected)
    later = list(batches([long, short], 7, 12, 3))
    assert len(later) == 5
    for one, again in zip(later, whole[7:12], strict=True):
        for name in ("long", "short"):
            assert torch.equal(one[name][1], again[name][1])
            assert torch.equal(one[name][0][:, 0], one[name][1].float())
    assert list(batches([long], 5, 5, 3)) == []


def test_every_row_comes_once_before_one_comes_twice() -> None:
    of = leg(np.arange(50, 75), 10)
    rows = order(of, steps=6).ravel()
    assert set(rows[:25]) == set(rows[25:50]) == set(range(50, 75))
    assert not np.array_equal(rows[:25], rows[25:50])


def test_classes_come_equally_often_and_devices_within_the_bound() -> None:
    assert MOST_OFTEN == 4
    stratum, shares = strata_shares(STRATA)
    np.testing.assert_array_equal(stratum, np.repeat([0, 1, 2, 3], [60, 30, 3, 20]))
    assert shares == pytest.approx(SHARES)
    rows = order(drawn(), steps=200).ravel()
    found = np.bincount(stratum[rows - 1000])
    assert np.abs(found - SHARES * 2200).max() < 1
    per_row = found / [60, 30, 3, 20]
    assert per_row[2] / per_row[0] == pytest.approx(4, abs=0.01)


def test_the_largest_of_each_class_bounds_its_own_devices_alone() -> None:
    """A device of two rows is near the largest of a class of three, however large others are."""
    strata = np.repeat([[0, 0], [1, 1], [1, 2]], [900, 3, 2], axis=0).astype(np.int64)
    assert strata_shares(strata)[1] == pytest.approx([1 / 2, 1 / 4, 1 / 4])


def test_draws_are_rounded_to_the_nearest_that_make_a_full_batch() -> None:
    """Ten draws: 2.5 of each device of the first class, 1.67 of each of the second's."""
    strata = np.repeat([[0, 0], [0, 1], [1, 2], [1, 3], [1, 4]], 6, axis=0).astype(np.int64)
    rows = order(leg(np.arange(30), 10, strata=strata), steps=1).ravel()
    assert np.bincount(rows // 6).tolist() == [2, 2, 2, 2, 2]


def test_shares_do_not_depend_on_the_order_of_rows() -> None:
    shuffle = np.random.default_rng(0).permutation(len(STRATA))
    stratum, shares = strata_shares(STRATA[shuffle])
    np.testing.assert_array_equal(stratum, np.repeat([0, 1, 2, 3], [60, 30, 3, 20])[shuffle])
    assert shares == pytest.approx(SHARES)


@pytest.mark.parametrize("steps", [3, 10, 37])
def test_every_row_of_a_stratum_comes_once_before_one_comes_twice(steps: int) -> None:
    """From epoch to epoch too: at each epoch's end a stratum's rows differ by one at most."""
    stratum, _ = strata_shares(STRATA)
    counts: Counter[int] = Counter(dict.fromkeys(range(1000, 1113), 0))
    for epoch in range(30):
        counts.update(order(drawn(), epoch, steps).ravel().tolist())
        by_row = np.array([counts[row] for row in range(1000, 1113)])
        for number in range(4):
            own = by_row[stratum == number]
            assert own.max() - own.min() <= 1


def test_each_pass_through_a_stratum_is_shuffled_anew() -> None:
    """Two strata of ten rows, five of each in an epoch: which five come first changes."""
    strata = np.repeat([[0, 0], [1, 1]], 10, axis=0).astype(np.int64)
    of = leg(np.arange(20), 10, strata=strata)
    first = [set(order(of, epoch, steps=1).ravel().tolist()) for epoch in range(0, 12, 2)]
    assert len({frozenset(rows) for rows in first}) == 6
    alike = [{row + 10 for row in rows if row < 10} <= rows for rows in first]
    assert not all(alike)  # nor are two strata shuffled alike


def test_draws_of_other_legs_and_seeds_are_others() -> None:
    """Which rows come at all, not only in which order."""
    few = {"steps": 2}
    one = set(order(drawn(), **few).ravel())
    assert one != set(order(drawn(), number=1, **few).ravel())
    assert one != set(order(drawn(), seed=2, **few).ravel())


def test_a_batch_mixes_the_strata() -> None:
    rows = order(drawn(), steps=20)
    classes = STRATA[rows - 1000, 0]
    assert all(set(batch) == {0, 1} for batch in classes.tolist())


def test_pixels_become_channels_first() -> None:
    colour = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    found = as_tensor(colour).numpy()
    assert found.shape == (2, 3, 4, 5)
    for channel in range(3):
        np.testing.assert_array_equal(found[:, channel], colour[..., channel])
    grey = as_tensor(colour[..., 0])
    np.testing.assert_array_equal(grey.numpy(), colour[..., 0][:, None])
    assert grey.dtype == torch.uint8
    rows = np.ones((2, 7), np.float32)
    assert torch.equal(as_tensor(rows), torch.ones(2, 7))
