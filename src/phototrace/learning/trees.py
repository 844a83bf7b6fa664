"""Extremely randomised trees (ERT) kept as a few plain arrays: small, and safe to load.

scikit-learn grows them; its own trees take about 220 bytes a node for 20 classes, these about 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from phototrace.errors import DamagedError, UsageError
from phototrace.progress import progress

MAX_DEPTH = 1000
"""No tree is grown or loaded deeper; ERT of real features are some 25 deep."""

BLOCK_BYTES = 3 << 30
"""What the trees of one block may take in scikit-learn's form before they are compacted."""

ROWS_AT_ONCE, STEPS_AT_ONCE = 4096, 8192
UNSIGNED = (np.uint8, np.uint16, np.uint32)


@dataclass(frozen=True, eq=False)
class Forest:
    """Binary decision trees one after another, each in depth-first order, left side first.

    The order says where each node's children are: the left one follows it, the right one follows
    the left one's last descendant. So no child is stored, and no cycle can be written down.

    Attributes:
        feature: Of each node, the feature it tests; at a leaf the highest value of its unsigned
            dtype (`(nodes,)`).
        threshold: Of each inner node: up to here inclusive a row goes left (`(inner,)` float32,
            scikit-learn's rounded down, which for float32 rows is the same).
        leaf: Of each leaf, its row in `counts` (`(leaves,)` unsigned).
        counts: Distinct class counts at leaves, `(distinct, classes)` unsigned.
        trees: Number of trees.
        features: Number of features.
    """

    feature: NDArray[Any]
    threshold: NDArray[np.float32]
    leaf: NDArray[Any]
    counts: NDArray[Any]
    trees: int
    features: int

    @property
    def nodes(self) -> int:
        """Nodes of all trees, leaves included."""
        return len(self.feature)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored: about four bytes a node."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "leaf": self.leaf,
            "counts": self.counts,
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], trees: int, features: int, classes: int
    ) -> Forest:
        """A forest of stored arrays, which may come from anybody.

        Raises `DamagedError` unless dtypes and shapes are right, every tree closes, none is deeper
        than `MAX_DEPTH`, features and leaf numbers exist, thresholds are finite and no leaf is
        empty: then predictions end, and stay inside the arrays.
        """
        unsigned = [np.dtype(kind) for kind in UNSIGNED]
        allowed: dict[str, tuple[int, list[np.dtype[Any]]]] = {
            "feature": (1, unsigned),
            "threshold": (1, [np.dtype(np.float32)]),
            "leaf": (1, unsigned),
            "counts": (2, unsigned),
        }
        _demand(arrays.keys() == allowed.keys(), "other arrays than expected")
        for name, (ndim, dtypes) in allowed.items():
            fits = arrays[name].ndim == ndim and arrays[name].dtype in dtypes
            _demand(fits, f"{name!r} of a wrong form")
        forest = cls(**arrays, trees=trees, features=features)
        _demand(0 < forest.nodes < 2**31, "no nodes, or too many")
        inner = forest._inner
        _demand(len(forest.threshold) == int(inner.sum()), "thresholds that do not fit its nodes")
        _demand(len(forest.leaf) == int((~inner).sum()), "leaves that do not fit its nodes")
        _demand(bool((forest.feature[inner] < features).all()), "a feature that does not exist")
        _demand(bool(np.isfinite(forest.threshold).all()), "a threshold that is not finite")
        _demand(forest.counts.shape[1] == classes, "other classes")
        _demand(bool((forest.leaf < len(forest.counts)).all()), "a leaf that does not exist")
        _demand(bool(forest.counts.any(axis=1).all()), "an empty leaf")
        _demand(len(forest.roots) == trees, "trees that do not close")
        _demand(forest._depth() <= MAX_DEPTH, f"a tree deeper than {MAX_DEPTH}")
        return forest

    @cached_property
    def _inner(self) -> NDArray[np.bool_]:
        inner: NDArray[np.bool_] = self.feature != np.iinfo(self.feature.dtype).max
        return inner

    @cached_property
    def roots(self) -> NDArray[np.int64]:
        """First node of each tree, `(trees,)`; `DamagedError` where the last one does not close."""
        step = np.where(self._inner, np.int8(1), np.int8(-1))
        lowest = np.minimum.accumulate(np.minimum(np.cumsum(step, dtype=np.int32), 0))
        ends = np.flatnonzero(np.diff(lowest, prepend=0) < 0)
        _demand(len(ends) > 0 and ends[-1] == self.nodes - 1, "trees that do not close")
        return np.concatenate([[0], ends[:-1] + 1])

    @cached_property
    def _next(self) -> NDArray[np.int32]:
        """Of an inner node its right child, of a leaf its row in `counts`; `(nodes,)`."""
        following = np.empty(self.nodes, dtype=np.int32)
        for start, end in self._spans():
            inner = self._inner[start:end]
            following[start:end][inner] = start + right_children(inner)
        following[~self._inner] = self.leaf
        return following

    @cached_property
    def _threshold_of(self) -> NDArray[np.float32]:
        thresholds = np.zeros(self.nodes, dtype=np.float32)
        thresholds[self._inner] = self.threshold
        return thresholds

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        counts = self.counts.astype(np.float64)
        shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
        return shares

    def _spans(self) -> Iterable[tuple[int, int]]:
        return zip(self.roots.tolist(), [*self.roots[1:].tolist(), self.nodes], strict=True)

    def _depth(self) -> int:
        """Depth of the deepest tree, or any number above `MAX_DEPTH`."""
        level, depth = self.roots, -1
        while len(level) and depth <= MAX_DEPTH:
            level = level[self._inner[level]]
            level = np.concatenate([level + 1, self._next[level]])
            depth += 1
        return depth

    def predict_proba(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean of the trees' class shares, `(n, classes)` float64 of `(n, features)` float32.

        The same to the bit for a row alone or among others.
        """
        assert rows.dtype == np.float32
        assert rows.shape[1:] == (self.features,)
        total = np.zeros((len(rows), self.counts.shape[1]))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            piece = rows[start : start + ROWS_AT_ONCE]
            together = max(1, STEPS_AT_ONCE // len(piece))
            for first in range(0, self.trees, together):
                for leaves in self._leaves(piece, self.roots[first : first + together]):
                    total[start : start + ROWS_AT_ONCE] += self._shares[leaves]
        return total / self.trees

    def _leaves(self, rows: NDArray[np.float32], roots: NDArray[np.int64]) -> NDArray[np.int32]:
        """Where each row ends in each of some trees, `(trees, n)`, as a row of `counts`."""
        values, (n, width) = np.ravel(rows), rows.shape
        node = np.repeat(roots, n)
        start = np.tile(np.arange(n) * width, len(roots))
        under_way = np.arange(len(node))
        while len(under_way):
            at = node.take(under_way)
            inner = self._inner.take(at)
            under_way, at = under_way[inner], at[inner]
            value = values.take(start.take(under_way) + self.feature.take(at))
            left = value <= self._threshold_of.take(at)
            node[under_way] = np.where(left, at + 1, self._next.take(at))
        return self._next[node].reshape(len(roots), n)


def right_children(inner: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Right children of the inner nodes of one tree in depth-first order, `(inner,)`.

    An inner node leaves one more branch open, a leaf closes one. A node's left side ends at the
    next leaf that has as many open after it as there were before the node. Sorted by that number,
    nodes and these leaves alternate.
    """
    open_after = np.cumsum(np.where(inner, 1, -1))
    if open_after.max(initial=0) > MAX_DEPTH:
        raise DamagedError(f"The trees have a tree deeper than {MAX_DEPTH}. Make them again.")
    before = (open_after - inner).astype(np.int16)  # few bits: sorted by radix
    order = np.argsort(before, kind="stable")[1:]  # the first is the leaf that closes the tree
    pairs = order.reshape(-1, 2)
    right = np.empty(len(inner), dtype=np.int64)
    right[pairs[:, 0]] = pairs[:, 1] + 1
    return right[inner]


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise DamagedError(f"The trees have {what}. Restore the file, or fit the detector again.")


class _Compactor:
    """Takes in scikit-learn's trees and keeps what predictions need."""

    def __init__(self, features: int, classes: int) -> None:
        self.features, self.classes, self.trees = features, classes, 0
        self.kind = next(u for u in UNSIGNED if features <= np.iinfo(u).max)
        self.feature: list[NDArray[Any]] = []
        self.threshold: list[NDArray[np.float32]] = []
        self.leaf: list[NDArray[Any]] = []
        pure = np.eye(classes, dtype=np.uint32)
        self.numbers = {row.tobytes(): number for number, row in enumerate(pure)}

    def add(self, tree: Any) -> None:
        """Compact one `sklearn.tree._tree.Tree`."""
        inner = tree.children_left >= 0
        right = tree.children_right[inner]
        if not np.array_equal(right, right_children(inner)):
            raise RuntimeError("scikit-learn does not store its trees depth first any more")
        leaf_mark = np.iinfo(self.kind).max
        self.feature.append(np.where(inner, tree.feature, leaf_mark).astype(self.kind))
        self.threshold.append(_rounded_down(tree.threshold[inner]))
        shares = tree.value[~inner, 0]
        counts = np.rint(shares * tree.n_node_samples[~inner, None]).astype(np.uint32)
        self.leaf.append(_smallest(self._number(counts)))
        self.trees += 1

    def _number(self, counts: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Numbers of the rows of `counts`. A pure leaf's is its class, whatever its size."""
        numbers: NDArray[np.int64] = counts.argmax(axis=1)
        for k in np.flatnonzero(np.count_nonzero(counts, axis=1) > 1):
            numbers[k] = self.numbers.setdefault(counts[k].tobytes(), len(self.numbers))
        return numbers

    def forest(self) -> Forest:
        """The trees taken in so far."""
        counts = np.frombuffer(b"".join(self.numbers), dtype=np.uint32)
        return Forest(
            feature=_joined(self.feature),
            threshold=_joined(self.threshold),
            leaf=_joined(self.leaf),
            counts=_smallest(counts.reshape(-1, self.classes)),
            trees=self.trees,
            features=self.features,
        )


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """All parts in one; the list is emptied, so that not everything is held twice."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _rounded_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    nearest = threshold.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > threshold, below, nearest)


def _smallest(values: NDArray[Any]) -> NDArray[Any]:
    highest = int(values.max(initial=0))
    return values.astype(next(u for u in UNSIGNED if highest <= np.iinfo(u).max))


class ExtraTrees(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Extremely randomised trees, tree by tree those of scikit-learn's `ExtraTreesClassifier`.

    The defaults are the paper's (Sec. 5.3.1): 800 trees, 3 samples or more to split a node.
    Trees are grown in blocks and each block is compacted, so that memory holds one block in
    scikit-learn's form (`BLOCK_BYTES`) and the rest at about four bytes a node.

    Args:
        n_estimators: Number of trees.
        min_samples_split: Fewest rows of a node that is divided further.
        n_jobs: Trees grown at once; -1 for all cores.
        random_state: Seed; the same gives scikit-learn's trees of that seed.

    Attributes:
        forest_: The grown `Forest`.
        classes_: Class labels, in the order of `predict_proba`'s columns.
    """

    def __init__(
        self,
        n_estimators: int = 800,
        *,
        min_samples_split: int = 3,
        n_jobs: int | None = -1,
        random_state: Any = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_split = min_samples_split
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ExtraTrees:  # noqa: N803
        """Grow the trees on `(n, d)` finite numbers, taken as float32, and `(n,)` labels."""
        rows, labels = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(labels)
        if self.n_estimators < 1:
            raise UsageError(f"n_estimators is {self.n_estimators}: grow one tree or more.")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        kept = _Compactor(rows.shape[1], len(self.classes_))
        # One stream of random numbers for all blocks: the trees are those of one large forest.
        stream = check_random_state(self.random_state)
        block = self._block(len(rows), 64 + 8 * len(self.classes_))
        blocks = range(0, self.n_estimators, block)
        for first in progress(blocks, len(blocks), "Growing trees, in blocks"):
            sklearn = ExtraTreesClassifier(
                min(block, self.n_estimators - first),
                min_samples_split=self.min_samples_split,
                max_depth=MAX_DEPTH,
                n_jobs=self.n_jobs,
                random_state=stream,
            )
            for tree in sklearn.fit(rows, codes).estimators_:
                kept.add(tree.tree_)
            del sklearn, tree  # before the next block, so that there is one at a time
        self.forest_ = kept.forest()
        return self

    def _block(self, rows: int, node_bytes: int) -> int:
        """Trees grown at once: enough for all cores, if they fit where every row is a leaf."""
        useful = max(16, 4 * int(effective_n_jobs(self.n_jobs)))
        return max(1, min(useful, BLOCK_BYTES // (2 * rows * node_bytes)))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Class probabilities `(n, classes)` float64 of `(n, d)` numbers, taken as float32."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, order="C", reset=False)
        probabilities: NDArray[np.float64] = self.forest_.predict_proba(rows)
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The likeliest class of each row, `(n,)`."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        named: NDArray[Any] = self.classes_[likeliest]
        return named
