"""Detector: deep features and a classifier on them (the paper's g, Sec. 2 and 5.3.1)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from phototrace.errors import DamagedError, UsageError
from phototrace.files import check_contents, is_complete, locked, write_contents, write_json
from phototrace.learning.classifiers import load_classifier, save_classifier
from phototrace.learning.features import FeatureExtractor, Origin
from phototrace.learning.trees import ExtraTrees

DETECTOR_VERSION = 1
FACTS, CLASSIFIER = "detector.json", "classifier.safetensors"


class Detector(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Names the class of a patch from its deep features.

    Patches `(n, h, w[, 3])` uint8 go through the extractor first. Features `(n, d)` that the
    extractor made are taken as they are; what another model, stage or precision made is refused.
    (A plain array says nothing of its model: there only its width is checked.)

    Args:
        extractor: What makes features of patches.
        classifier: Any scikit-learn classifier; by default the paper's extremely randomised trees
            (`ExtraTrees`: 800 trees, 3 samples or more to split a node).
        random_state: Seed of the default classifier.

    Attributes:
        classes_: Class labels, in the order of `predict_proba`'s columns.
        classifier_: The fitted classifier.
        origin_: What made the features that it was fitted on.
    """

    def __init__(
        self, extractor: FeatureExtractor, classifier: Any = None, *, random_state: int | None = 0
    ) -> None:
        self.extractor = extractor
        self.classifier = classifier
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Detector:  # noqa: N803
        """Fit the classifier on patches or features, and a label for each, `(n,)`."""
        values, labels = np.asanyarray(X), np.asarray(y)
        if labels.shape != values.shape[:1]:
            raise UsageError(
                f"Each patch needs a label: patches have the shape {values.shape}, labels "
                f"{labels.shape}."
            )
        if len(np.unique(labels)) < 2:
            raise UsageError("A detector needs patches of two classes or more to tell them apart.")
        features = self._features(values)
        chosen = (
            ExtraTrees(random_state=self.random_state)
            if self.classifier is None
            else self.classifier
        )
        self.classifier_ = clone(chosen).fit(features, labels)
        self.classes_ = self.classifier_.classes_
        self.origin_ = self.extractor.origin
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class of each patch, `(n,)`."""
        return np.asarray(self._fitted().predict(self._features(np.asanyarray(X))))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Class probabilities `(n, classes)` float64; `UsageError` where the classifier has none.

        Of trees they are the mean of the leaves' class shares: not yet calibrated.
        """
        classifier = self._fitted()
        if not hasattr(classifier, "predict_proba"):
            raise UsageError(f"{type(classifier).__name__} gives no probabilities. Use predict.")
        return np.asarray(classifier.predict_proba(self._features(np.asanyarray(X))))

    def save(self, folder: Path | str) -> None:
        """Write the fitted classifier and what made its features; the model itself is not copied.

        Raises `UsageError` where `folder` holds a detector already, or the classifier is neither
        `ExtraTrees` nor `LogisticRegression`.
        """
        folder, classifier = Path(folder), self._fitted()
        with locked(folder):
            if is_complete(folder):
                raise UsageError(f"{folder} is in use. Choose another folder.")
            stored = save_classifier(classifier, folder / CLASSIFIER)
            facts = {"version": DETECTOR_VERSION, "origin": asdict(self.origin_)}
            write_json(folder / FACTS, {**facts, "classifier": stored})
            write_contents(folder, [FACTS, CLASSIFIER])

    @classmethod
    def load(cls, folder: Path | str, extractor: FeatureExtractor) -> Detector:
        """The detector in `folder`, whose features `extractor` makes.

        Raises `UsageError` where there is none or the extractor is of another model, stage, leg or
        precision, `DamagedError` where a file has changed or its arrays are not what a classifier
        needs.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise UsageError(f"There is no detector {folder}.")
        check_contents(folder)
        facts = _read_facts(folder)
        if facts["version"] != DETECTOR_VERSION:
            raise DamagedError(
                f"{folder} is a detector of version {facts['version']}; this phototrace reads "
                f"{DETECTOR_VERSION}."
            )
        origin = _origin(facts["origin"], folder)
        if origin != extractor.origin:
            raise UsageError(
                f"The detector {folder} was fitted on {origin}, but this extractor gives "
                f"{extractor.origin}. Load that model, at that stage."
            )
        classifier = load_classifier(folder / CLASSIFIER, facts["classifier"])
        if classifier.n_features_in_ != extractor.width:
            raise DamagedError(f"{folder} takes other features than its model gives. Fit it again.")
        made = cls(extractor, clone(classifier))
        made.classifier_, made.classes_ = classifier, classifier.classes_
        made.origin_ = origin
        return made

    def _fitted(self) -> Any:
        if not hasattr(self, "classifier_"):
            raise UsageError("This detector has not been fitted. Call fit(patches, labels) first.")
        if self.origin_ != self.extractor.origin:
            raise UsageError(
                f"The detector was fitted on {self.origin_}, but its extractor now gives "
                f"{self.extractor.origin}. Fit it again."
            )
        return self.classifier_

    def _features(self, given: NDArray[Any]) -> NDArray[np.float32]:
        """Features of patches, or the given features if they are the extractor's."""
        if given.ndim != 2:
            return np.asarray(self.extractor.transform(given))
        origin, wanted = getattr(given, "origin", None), self.extractor.origin
        width = given.shape[1]
        if origin is not None and origin != wanted:
            raise UsageError(
                f"The detector takes {wanted}; these features are {origin}. Make them again."
            )
        if width != self.extractor.width or not np.issubdtype(given.dtype, np.floating):
            raise UsageError(
                f"The detector takes {wanted}: {self.extractor.width} numbers a patch, float32. "
                f"These are {width}, {given.dtype}."
            )
        if not np.isfinite(given).all():
            raise UsageError("Some features are not finite numbers. Make them again.")
        return np.asarray(given)


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        whole = {"version", "origin", "classifier"} <= facts.keys()
        whole = whole and isinstance(facts["classifier"], dict)
    except (OSError, ValueError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DamagedError(f"{folder / FACTS} cannot be read. Restore the folder, or fit again.")
    return dict(facts)


def _origin(facts: Any, folder: Path) -> Origin:
    try:
        return Origin(**facts)
    except TypeError:
        raise DamagedError(f"{folder / FACTS} names no model. Restore the folder.") from None
