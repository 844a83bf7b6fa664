from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.utils.estimator_checks import check_estimator

from phototrace.errors import DamagedError, UsageError
from phototrace.learning import trees as trees_module
from phototrace.learning.trees import MAX_DEPTH, ExtraTrees, Forest, right_children

Rows = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


def _data(
    n: int = 400, width: int = 9, classes: int = 5, noise: float = 1.0, seed: int = 0
) -> tuple[Rows, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    rows = np.tanh(centres[labels] + noise * rng.normal(size=(n, width)))
    return rows.astype(np.float32), labels


def _sklearn(rows: Rows, labels: Any, trees: int, seed: int) -> ExtraTreesClassifier:
    whole = ExtraTreesClassifier(trees, min_samples_split=3, random_state=seed)
    return whole.fit(rows, labels)


@pytest.mark.parametrize("per_block", [1, 3, 100])
def test_blocks_give_the_trees_of_one_scikit_learn_forest(
    per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = _data()
    node = 64 + 8 * 5
    monkeypatch.setattr(trees_module, "BLOCK_BYTES", per_block * 2 * len(rows) * node)
    forest = ExtraTrees(7, random_state=3).fit(rows, labels).forest_
    whole = _sklearn(rows, labels, 7, 3)
    assert forest.trees == 7
    ends = [*forest.roots[1:], forest.nodes]
    for start, end, tree in zip(forest.roots, ends, whole.estimators_, strict=True):
        theirs, inner = tree.tree_, forest._inner[start:end]
        assert np.array_equal(inner, theirs.children_left >= 0)
        assert np.array_equal(forest.feature[start:end][inner], theirs.feature[inner])
        assert np.array_equal(forest._next[start:end][inner] - start, theirs.children_right[inner])
        ours = forest._threshold_of[start:end][inner]
        assert np.allclose(ours, theirs.threshold[inner], rtol=2e-7, atol=0)
        assert (ours <= theirs.threshold[inner]).all()
        shares = forest._shares[forest._next[start:end][~inner]]
        assert np.allclose(shares, theirs.value[~inner, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("n", "width", "classes", "noise"),
    [(400, 9, 5, 1.0), (300, 300, 2, 0.2), (500, 4, 40, 3.0), (200, 1, 3, 1.0)],
)
def test_predictions_are_scikit_learns(n: int, width: int, classes: int, noise: float) -> None:
    rows, labels = _data(n, width, classes, noise)
    new, _ = _data(9000, width, classes, noise, seed=1)
    ours = ExtraTrees(20, random_state=5).fit(rows, labels)
    theirs = _sklearn(rows, labels, 20, 5)
    assert np.abs(ours.predict_proba(new) - theirs.predict_proba(new)).max() < 1e-12
    assert np.array_equal(ours.predict(new), theirs.predict(new))


def test_rows_that_are_the_same_make_leaves_of_any_mixture() -> None:
    rows, _ = _data(30, 3)
    rows = np.repeat(rows, 20, axis=0)
    labels = np.random.default_rng(0).integers(0, 6, len(rows))
    ours, theirs = ExtraTrees(10).fit(rows, labels), _sklearn(rows, labels, 10, 0)
    assert np.abs(ours.predict_proba(rows) - theirs.predict_proba(rows)).max() < 1e-12
    assert (np.count_nonzero(ours.forest_.counts, axis=1) > 3).any()


def test_thresholds_are_rounded_down_so_that_close_values_go_the_same_way() -> None:
    """Values that differ by one bit of float32 leave no float32 between them."""
    low = np.float32(0.3) + np.spacing(np.float32(0.3)) * np.arange(0, 40, dtype=np.float32)
    rows, labels = low[:, None], np.arange(40) % 7
    ours, theirs = ExtraTrees(50).fit(rows, labels), _sklearn(rows, labels, 50, 0)
    assert np.array_equal(ours.predict_proba(rows), theirs.predict_proba(rows))


def test_a_row_alone_and_any_number_of_jobs_give_the_same() -> None:
    rows, labels = _data()
    one, two = (ExtraTrees(30, n_jobs=jobs).fit(rows, labels) for jobs in (1, 2))
    together = one.predict_proba(rows)
    assert np.array_equal(together, two.predict_proba(rows))
    assert np.array_equal(together[17], one.predict_proba(rows[17:18])[0])


def test_the_classifier_passes_scikit_learns_checks_whole() -> None:
    results = check_estimator(ExtraTrees(10), on_skip=None)
    assert sum(r["status"] == "passed" for r in results) > 40
    skipped = {str(r["exception"]).split(":")[0] for r in results if r["status"] != "passed"}
    assert skipped <= {"SCIPY_ARRAY_API is not set", "pandas is not installed"}


def test_without_trees_there_is_no_forest() -> None:
    with pytest.raises(UsageError, match="grow one tree or more"):
        ExtraTrees(0).fit(*_data())


def test_a_node_takes_few_bytes() -> None:
    rows, labels = _data(3000, 200, 20, 3.0)
    forest = ExtraTrees(10).fit(rows, labels).forest_
    assert sum(array.nbytes for array in forest.arrays().values()) < 4.5 * forest.nodes
    grown = _sklearn(rows, labels, 10, 0).estimators_
    assert forest.nodes == sum(tree.tree_.node_count for tree in grown)


# ------------------------------------------------------------------ arrays from anybody


def _shape(inner: list[bool]) -> list[int] | None:
    """Right children of one tree by recursion, 0 at leaves; None unless exactly one tree closes."""
    right = [0] * len(inner)

    def subtree(start: int) -> int:
        if start >= len(inner):
            raise ValueError
        if not inner[start]:
            return start + 1
        right[start] = subtree(start + 1)
        return subtree(right[start])

    try:
        return right if subtree(0) == len(inner) else None
    except ValueError:
        return None


@given(st.lists(st.booleans(), min_size=1, max_size=41))
def test_only_closed_trees_have_a_form(inner: list[bool]) -> None:
    """Every row of inner nodes and leaves is either one tree, whose children follow, or refused.

    Children are not stored, so neither a cycle nor a child out of range can be.
    """
    flags = np.array(inner)
    feature = np.where(flags, 0, 255).astype(np.uint8)
    arrays: Arrays = {
        "feature": feature,
        "threshold": np.zeros(int(flags.sum()), dtype=np.float32),
        "leaf": np.zeros(int((~flags).sum()), dtype=np.uint8),
        "counts": np.array([[1, 2]], dtype=np.uint8),
    }
    expected = _shape(inner)
    if expected is None:
        with pytest.raises(DamagedError, match="trees that do not close"):
            Forest.from_arrays(arrays, 1, 1, 2)
        return
    forest = Forest.from_arrays(arrays, 1, 1, 2)
    assert np.array_equal(right_children(flags), np.array(expected)[flags])
    assert np.allclose(forest.predict_proba(np.zeros((2, 1), np.float32)), [1 / 3, 2 / 3])


@pytest.fixture(scope="module")
def good() -> Arrays:
    return ExtraTrees(4).fit(*_data(60)).forest_.arrays()


def _load(arrays: Arrays, trees: int = 4, features: int = 9, classes: int = 5) -> Forest:
    return Forest.from_arrays(arrays, trees, features, classes)


def test_good_arrays_are_read(good: Arrays) -> None:
    rows, labels = _data(60)
    grown = ExtraTrees(4).fit(rows, labels).forest_
    assert np.array_equal(_load(good).predict_proba(rows), grown.predict_proba(rows))


def _first_inner(arrays: Arrays, value: Any) -> None:
    arrays["feature"][np.flatnonzero(arrays["feature"] != 255)[0]] = value


def _set(name: str, place: Any, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name][place] = value

    return change


def _with(name: str, made: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = made(arrays[name])

    return change


HOSTILE: dict[str, tuple[Callable[[Arrays], Any], str]] = {
    "feature that does not exist": (lambda a: _first_inner(a, 9), "feature that does not exist"),
    "leaf where a node was": (lambda a: _first_inner(a, 255), "do not fit its nodes"),
    "node where a leaf was": (_set("feature", -1, 0), "do not fit its nodes"),
    "threshold not a number": (_set("threshold", 0, np.nan), "not finite"),
    "infinite threshold": (_set("threshold", 3, np.inf), "not finite"),
    "leaf number out of range": (_set("leaf", 0, 200), "leaf that does not exist"),
    "empty leaf": (_set("counts", 0, 0), "an empty leaf"),
    "no nodes": (_with("feature", lambda f: f[:0]), "no nodes"),
    "tree cut off": (_with("feature", lambda f: f[:-2]), "do not fit its nodes"),
    "too few thresholds": (_with("threshold", lambda t: t[:-1]), "thresholds that do not fit"),
    "too many leaves": (_with("leaf", lambda x: np.append(x, x[:1])), "leaves that do not fit"),
    "negative counts": (_with("counts", lambda c: -c.astype(np.int16)), "'counts' of a wrong"),
    "fractional counts": (_with("counts", lambda c: c / 2), "'counts' of a wrong form"),
    "other classes": (_with("counts", lambda c: c[:, :4]), "other classes"),
    "flat counts": (_with("counts", np.ravel), "'counts' of a wrong form"),
    "wide thresholds": (_with("threshold", lambda t: t.astype(float)), "'threshold' of a wrong"),
    "signed features": (_with("feature", lambda f: f.astype(np.int16)), "'feature' of a wrong"),
    "square features": (_with("feature", lambda f: f[:, None]), "'feature' of a wrong form"),
    "an array missing": (lambda a: a.pop("leaf"), "other arrays"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_arrays_are_refused(good: Arrays, what: str) -> None:
    change, message = HOSTILE[what]
    arrays = {name: array.copy() for name, array in good.items()}
    change(arrays)
    with pytest.raises(DamagedError, match=message):
        _load(arrays)


def test_other_numbers_than_the_arrays_have_are_refused(good: Arrays) -> None:
    with pytest.raises(DamagedError, match="do not close"):
        _load(good, trees=5)
    with pytest.raises(DamagedError, match="feature that does not exist"):
        _load(good, features=3)
    with pytest.raises(DamagedError, match="other classes"):
        _load(good, classes=6)
    with pytest.raises(DamagedError, match="other arrays"):
        _load({**good, "right": good["leaf"]})


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_tree_of_absurd_depth_is_refused(side: str) -> None:
    def chain(depth: int) -> Arrays:
        flags = [True] * depth + [False] * (depth + 1)
        if side == "right":
            flags = [True, False] * depth + [False]
        return {
            "feature": np.where(flags, 0, 255).astype(np.uint8),
            "threshold": np.zeros(depth, dtype=np.float32),
            "leaf": np.zeros(depth + 1, dtype=np.uint8),
            "counts": np.array([[1, 1]], dtype=np.uint8),
        }

    assert _load(chain(MAX_DEPTH), 1, 1, 2).nodes == 2 * MAX_DEPTH + 1
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(DamagedError, match=f"deeper than {MAX_DEPTH}"):
            _load(chain(depth), 1, 1, 2)


def test_no_tree_is_grown_deeper_than_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees_module, "MAX_DEPTH", 4)
    grown = ExtraTrees(4).fit(*_data(400)).forest_
    assert _load(grown.arrays())._depth() == 4


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_read_predicts_and_ends(good: Arrays, data: st.DataObject) -> None:
    """Arrays changed anywhere are refused, or give shares that sum to 1."""
    arrays = {name: array.copy() for name, array in good.items()}
    for _ in range(data.draw(st.integers(1, 4))):
        array = arrays[data.draw(st.sampled_from(sorted(arrays)))]
        raw = array.reshape(-1).view(np.uint8)
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(arrays)))
        arrays[name] = arrays[name][: data.draw(st.integers(0, len(arrays[name])))]
    try:
        forest = _load(arrays)
    except DamagedError:
        return
    shares = forest.predict_proba(_data(20, seed=2)[0])
    assert shares.shape == (20, 5)
    assert (shares >= 0).all()
    assert np.allclose(shares.sum(axis=1), 1)
