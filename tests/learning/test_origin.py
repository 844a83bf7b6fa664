"""Features know where they came from, for as long as they are what came from there."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from phototrace.learning.features import Features, Origin

ORIGIN = Origin("a" * 64, "fc2", None, "float32")
ONES = np.ones((6, 4), np.float32)
Do = Callable[[Features], Any]


@pytest.fixture
def features() -> Features:
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32).view(Features)
    values.origin = ORIGIN
    return values


def cases(**named: Do) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("do", named.values(), ids=named)


@cases(
    a_slice=lambda f: f[1:4],
    every_second=lambda f: f[::-2],
    chosen=lambda f: f[[4, 0, 4]],
    a_mask=lambda f: f[np.array(f)[:, 0] > 0],
    none=lambda f: f[:0],
    rows_of_rows=lambda f: f[1:][np.arange(2)],
    taken=lambda f: f.take([1, 2], axis=0),
    a_copy=lambda f: f.copy(),
    a_deep_copy=copy.deepcopy,
    all=lambda f: f[...],
)
def test_rows_keep_it(features: Features, do: Do) -> None:
    found = do(features)
    assert isinstance(found, Features)
    assert found.origin == ORIGIN
    assert features.origin == ORIGIN


@cases(
    plus=lambda f: f + 1,
    plus_from_the_right=lambda f: 1 + f,
    features_twice=lambda f: f + f,
    with_an_array=lambda f: ONES * f,
    power=lambda f: f**2,
    minus=lambda f: -f,
    product=lambda f: f @ ONES.T,
    comparison=lambda f: f > 0,
    exponential=np.exp,
    two_results=lambda f: np.divmod(f, 2)[0],
    outer=lambda f: np.multiply.outer(f, f),
    accumulated=lambda f: np.add.accumulate(f),
    sums=lambda f: f.sum(axis=0),
    kept_dimensions=lambda f: f.sum(axis=0, keepdims=True),
    means=lambda f: f.mean(axis=0),
    numpys_mean=lambda f: np.mean(f, axis=0),
    deviations=lambda f: f.std(axis=1),
    largest=lambda f: f.max(axis=0),
    where_largest=lambda f: f.argmax(axis=1),
    running_sums=lambda f: f.cumsum(axis=0),
    clipped=lambda f: f.clip(0, 1),
    rounded=lambda f: f.round(1),
    dot=lambda f: f.dot(ONES.T),
    concatenated=lambda f: np.concatenate([f, f]),
    stacked=lambda f: np.vstack((f, ONES)),
    side_by_side=lambda f: np.hstack([f, f]),
    chosen_where=lambda f: np.where(ONES > 0, f, 0),
    sorted=lambda f: np.sort(f, axis=0),
    sum_of_products=lambda f: np.einsum("ij,ij->ij", f, f),
    an_array=lambda f: np.array(f),
    columns=lambda f: f[:, 1:],
    one_column=lambda f: f[:, 0],
    reshaped=lambda f: f.reshape(4, 6),
    flat=lambda f: f.ravel(),
    doubles=lambda f: f.astype(np.float64),
    halves=lambda f: f.astype(np.float16),
)
def test_what_is_computed_with_them_has_none(features: Features, do: Do) -> None:
    before = np.array(features)
    found = do(features)
    assert isinstance(found, np.ndarray)
    assert getattr(found, "origin", None) is None
    assert features.origin == ORIGIN
    np.testing.assert_array_equal(features, before)


@cases(
    mean=lambda f: np.mean(f, axis=0),
    taken=lambda f: np.take(f, [1, 2], axis=0),
    concatenated=lambda f: np.concatenate([f, f]),
    reshaped=lambda f: np.reshape(f, (6, 4)),
    copied=np.copy,
    plus=lambda f: f + 1,
    sums=lambda f: f.sum(axis=0),
)
def test_numpys_results_are_plain_arrays(features: Features, do: Do) -> None:
    assert type(do(features)) is np.ndarray


def _plus(f: Features) -> None:
    f += 1


def _times(f: Features) -> None:
    np.multiply(ONES, 2, out=f)


def _set(f: Features) -> None:
    f[2] = 9


@cases(
    plus=_plus,
    out=_times,
    set_rows=_set,
    at=lambda f: np.add.at(f, 0, 1),
    sort=lambda f: f.sort(),
    partition=lambda f: f.partition(2),
    fill=lambda f: f.fill(3),
    put=lambda f: f.put([0], 9),
    byteswap=lambda f: f.byteswap(True),
    copyto=lambda f: np.copyto(f, ONES),
    numpys_put=lambda f: np.put(f, [0], 9),
    place=lambda f: np.place(f, ONES > 0, [9]),
    putmask=lambda f: np.putmask(f, ONES > 0, 9),
    put_along_axis=lambda f: np.put_along_axis(f, np.zeros((6, 1), int), 9, axis=1),
    fill_diagonal=lambda f: np.fill_diagonal(f, 9),
    out_of_a_function=lambda f: np.cumsum(ONES, axis=0, out=f),
)
def test_what_is_changed_in_place_forgets_it(features: Features, do: Do) -> None:
    before = np.array(features)
    do(features)
    assert features.origin is None
    assert not np.array_equal(features, before)


def test_an_ufunc_on_two_origins_takes_neither(features: Features) -> None:
    other = features.copy()
    other.origin = Origin("b" * 64, "fc2", None, "float32")
    assert getattr(features + other, "origin", None) is None
    assert (features.origin, other.origin.model) == (ORIGIN, "b" * 64)
