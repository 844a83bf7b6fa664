"""Which fitted classifiers can be stored, as plain arrays that are checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save
from sklearn.linear_model import LogisticRegression

from phototrace.errors import DamagedError, UsageError
from phototrace.files import write_bytes
from phototrace.learning.trees import ExtraTrees, Forest

TREES, LOGISTIC = "extremely randomised trees", "logistic regression"


def save_classifier(classifier: Any, path: Path) -> dict[str, Any]:
    """Write a fitted classifier's arrays to `path`; return what else `load_classifier` needs.

    Of a logistic regression only what predictions need is kept, not how it was fitted.
    Raises `UsageError` for classifiers other than `ExtraTrees` and `LogisticRegression`, and for
    class labels other than str or int.
    """
    facts: dict[str, Any]
    if type(classifier) is ExtraTrees:
        forest = classifier.forest_
        seed = classifier.random_state
        facts = {
            "kind": TREES,
            "trees": forest.trees,
            "min_samples_split": classifier.min_samples_split,
            "seed": seed if isinstance(seed, int) else None,
        }
        arrays = forest.arrays()
    elif type(classifier) is LogisticRegression:
        facts = {"kind": LOGISTIC}
        arrays = {"coef": classifier.coef_, "intercept": classifier.intercept_}
    else:
        raise UsageError(
            f"A {type(classifier).__name__} cannot be stored. Only ExtraTrees and "
            "LogisticRegression can; keep the patches and fit again."
        )
    labels = classifier.classes_.tolist()
    if not _plain(labels):
        raise UsageError("Only classes named by str or int can be stored.")
    write_bytes(path, save({name: np.ascontiguousarray(a) for name, a in arrays.items()}))
    return {**facts, "features": int(classifier.n_features_in_), "classes": labels}


def load_classifier(path: Path, facts: Mapping[str, Any]) -> Any:
    """The classifier that `save_classifier` wrote, ready to predict.

    Raises `DamagedError` unless every array has the form and the values that predictions need.
    """
    features, classes = facts.get("features"), facts.get("classes")
    if not isinstance(features, int) or features < 1 or not _plain(classes):
        raise DamagedError(f"The description of {path} makes no sense. Restore the folder.")
    assert isinstance(classes, list)
    try:
        arrays = load(path.read_bytes())
    except Exception as error:
        raise DamagedError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if facts.get("kind") == TREES:
        classifier: Any = _trees(arrays, facts, features, len(classes))
    elif facts.get("kind") == LOGISTIC:
        classifier = _logistic(arrays, features, len(classes))
    else:
        raise DamagedError(f"{path} is of a kind that this phototrace does not know.")
    classifier.classes_ = np.array(classes)
    classifier.n_features_in_ = features
    return classifier


def _trees(
    arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], features: int, classes: int
) -> ExtraTrees:
    trees, split = facts.get("trees"), facts.get("min_samples_split")
    if not isinstance(trees, int) or not isinstance(split, int):
        raise DamagedError("The trees' number and settings are missing. Restore the folder.")
    made = ExtraTrees(trees, min_samples_split=split, random_state=facts.get("seed"))
    made.forest_ = Forest.from_arrays(arrays, trees, features, classes)
    return made


def _logistic(
    arrays: Mapping[str, NDArray[Any]], features: int, classes: int
) -> LogisticRegression:
    rows = 1 if classes == 2 else classes
    shapes = {"coef": (rows, features), "intercept": (rows,)}
    if {name: array.shape for name, array in arrays.items()} != shapes or any(
        array.dtype not in (np.float32, np.float64) or not np.isfinite(array).all()
        for array in arrays.values()
    ):
        raise DamagedError("The coefficients have a wrong form or are not finite.")
    made = LogisticRegression()
    made.coef_, made.intercept_ = arrays["coef"], arrays["intercept"]
    return made


def _plain(labels: Sequence[Any] | None) -> bool:
    """Whether these are class labels that JSON keeps: two or more, distinct, all str or all int."""
    if not isinstance(labels, list) or len(labels) < 2:
        return False
    kinds = {type(label) for label in labels}
    return kinds in ({str}, {int}) and labels == sorted(set(labels))
