"""The forests of a study are grown on training patches alone."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from phototrace.learning.detector import Detector
from phototrace.learning.features import FeatureExtractor, Features
from phototrace.patches.store import PatchStore
from phototrace.photos.manifest import Manifest
from phototrace.study import running
from phototrace.study.recipe import StudyRecipe
from phototrace.study.running import run_study

Rows = NDArray[np.float32]


class Grown:
    """What each forest was fitted on, and the training rows of the store that it came from."""

    def __init__(self) -> None:
        self.fitted: list[Rows] = []
        self.train: list[Rows] = []
        self.labels: list[tuple[Any, Any]] = []


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> Grown:
    """Of the studies that run from now on."""
    found = Grown()
    read: list[tuple[PatchStore, Features]] = []

    class WatchedExtractor(FeatureExtractor):
        def transform_store(self, store: PatchStore, folder: Path | None = None) -> Features:
            read.append((store, super().transform_store(store, folder)))
            return read[-1][1]

    class WatchedDetector(Detector):
        def fit(self, X: Any, y: Any) -> Detector:  # noqa: N803
            store, features = read[-1]
            rows = np.flatnonzero(store.column("part") == "train")
            assert 0 < len(rows) < len(store)
            found.fitted.append(np.array(X))
            found.train.append(np.array(features[rows]))
            found.labels.append((np.array(y), store.label[rows]))
            return super().fit(X, y)

    monkeypatch.setattr(running, "FeatureExtractor", WatchedExtractor)
    monkeypatch.setattr(running, "Detector", WatchedDetector)
    return found


@pytest.fixture
def study(done: Path, tmp_path: Path) -> Path:
    """The tiny study, its forests yet to be grown."""
    out = Path(shutil.copytree(done, tmp_path / "study"))
    for path in out.glob("predictions/trees-*"):
        path.unlink()
    return out


def test_on_all_of_them(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest, grown: Grown
) -> None:
    run_study(tiny, tiny_photos, study)
    assert len(grown.fitted) == 11
    for fitted, train, labels in zip(grown.fitted, grown.train, grown.labels, strict=True):
        np.testing.assert_array_equal(fitted, train)
        np.testing.assert_array_equal(*labels)


def test_or_on_as_many_as_the_recipe_takes(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest, grown: Grown
) -> None:
    few = tiny.model_copy(update={"trees": tiny.trees.model_copy(update={"patches": 10})})
    run_study(few, tiny_photos, study)
    assert len(grown.fitted) == 11
    for fitted, train in zip(grown.fitted, grown.train, strict=True):
        known = {row.tobytes() for row in train}
        assert len(fitted) == 10
        assert all(row.tobytes() in known for row in fitted)
