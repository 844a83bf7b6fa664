import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save
from scipy import ndimage
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

import phototrace as pt
from phototrace.errors import DamagedError, UsageError
from phototrace.files import write_contents
from phototrace.learning.detector import Detector
from phototrace.learning.features import FeatureExtractor
from phototrace.learning.trees import ExtraTrees

from .conftest import MakeRun, tiny

Patches = NDArray[np.uint8]
DATA = Path(__file__).parent / "data"
LABELS = np.array(["rough", "smooth"])[np.arange(120) % 2]


@pytest.fixture
def extractor(make_run: MakeRun) -> FeatureExtractor:
    return FeatureExtractor(make_run().model(backbone=tiny))


@pytest.fixture
def other(make_run: MakeRun) -> FeatureExtractor:
    return FeatureExtractor(make_run("other", seed=1).model(backbone=tiny))


def test_a_detector_learns_from_patches(extractor: FeatureExtractor, patches: Patches) -> None:
    detector = pt.Detector(extractor, ExtraTrees(40)).fit(patches[:80], LABELS[:80])
    assert list(detector.classes_) == ["rough", "smooth"]
    assert detector.score(patches[80:], LABELS[80:]) > 0.9
    chances = detector.predict_proba(patches[80:])
    assert chances.shape == (40, 2)
    assert np.allclose(chances.sum(axis=1), 1)
    assert np.array_equal(detector.classes_[chances.argmax(1)], detector.predict(patches[80:]))


def test_the_default_is_the_papers_forest(extractor: FeatureExtractor, patches: Patches) -> None:
    features = extractor.transform(patches)
    detector = Detector(extractor, random_state=4).fit(features, LABELS)
    theirs = ExtraTreesClassifier(800, min_samples_split=3, random_state=4).fit(features, LABELS)
    expected = theirs.predict_proba(features)
    assert np.abs(detector.predict_proba(features) - expected).max() < 1e-6


def test_patches_and_their_features_give_the_same(
    extractor: FeatureExtractor, patches: Patches
) -> None:
    features = extractor.transform(patches)
    by_patches = Detector(extractor, ExtraTrees(10)).fit(patches, LABELS)
    by_features = Detector(extractor, ExtraTrees(10)).fit(features[:], LABELS)
    expected = by_patches.predict_proba(patches)
    assert np.array_equal(by_features.predict_proba(patches), expected)
    assert np.array_equal(by_patches.predict_proba(np.array(features)), expected)


def test_a_support_vector_machine_tells_classes_the_network_never_saw(
    extractor: FeatureExtractor,
) -> None:
    """As Bondi et al. did for camera models outside the network's training (reference [7])."""
    rng = np.random.default_rng(0)
    blurs = {"new camera 1": (0.0, 4), "new camera 2": (1.0, 9), "new camera 3": (0.0, 12)}
    labels = np.repeat(list(blurs), 40)
    patches = np.stack([
        128 + ndimage.gaussian_filter(rng.normal(0, blurs[name][1], (64, 64)), blurs[name][0])
        for name in labels
    ]).astype(np.uint8)  # fmt: skip
    half = np.arange(120) % 2 == 0
    detector = Detector(extractor, SVC(C=10)).fit(patches[half], labels[half])
    assert list(detector.classes_) == list(blurs)
    assert detector.score(patches[~half], labels[~half]) > 0.8
    with pytest.raises(UsageError, match="SVC gives no probabilities"):
        detector.predict_proba(patches)


def test_a_given_classifier_stays_as_it_was(extractor: FeatureExtractor, patches: Patches) -> None:
    given = LogisticRegression()
    Detector(extractor, given).fit(patches, LABELS)
    assert not hasattr(given, "coef_")


def test_features_of_another_run_or_stage_are_refused(
    extractor: FeatureExtractor, other: FeatureExtractor, patches: Patches
) -> None:
    detector = Detector(extractor, ExtraTrees(5)).fit(patches, LABELS)
    with pytest.raises(
        UsageError, match=r"takes fc2 of model \w{12} in float32; these features are fc2 of model"
    ):
        detector.predict(other.transform(patches)[3:9])
    with pytest.raises(UsageError, match="these features are"):
        Detector(extractor, ExtraTrees(5)).fit(other.transform(patches), LABELS)
    plain = np.zeros((4, 13), dtype=np.float32)
    with pytest.raises(UsageError, match=r"12 numbers a patch, float32\. These are 13"):
        detector.predict(plain)
    with pytest.raises(UsageError, match="These are 12, uint8"):
        detector.predict(np.zeros((4, 12), dtype=np.uint8))
    with pytest.raises(UsageError, match="not finite"):
        detector.predict(np.full((4, 12), np.nan, dtype=np.float32))
    detector.set_params(extractor=other)
    with pytest.raises(UsageError, match="its extractor now gives"):
        detector.predict(patches)
    assert detector.fit(patches, LABELS).origin_ == other.origin


def test_what_cannot_be_fitted_is_said_before_any_work(
    extractor: FeatureExtractor, patches: Patches, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(FeatureExtractor, "transform", never)
    with pytest.raises(UsageError, match="two classes or more"):
        Detector(extractor).fit(patches, np.full(120, "same"))
    with pytest.raises(
        UsageError, match=r"patches have the shape \(120, 64, 64\), labels \(119,\)"
    ):
        Detector(extractor).fit(patches, LABELS[:-1])
    with pytest.raises(UsageError, match="has not been fitted"):
        Detector(extractor).predict(patches)


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("labels", [LABELS, np.arange(120) % 3, np.arange(120) // 2 % 2])
@pytest.mark.parametrize("classifier", [ExtraTrees(12, random_state=2), LogisticRegression(C=3)])
def test_a_saved_detector_predicts_the_same(
    extractor: FeatureExtractor, patches: Patches, labels: Any, classifier: Any, tmp_path: Path
) -> None:
    detector = Detector(extractor, classifier).fit(patches, labels)
    detector.save(tmp_path / "saved")
    loaded = Detector.load(tmp_path / "saved", extractor)
    assert np.array_equal(loaded.predict_proba(patches), detector.predict_proba(patches))
    assert np.array_equal(loaded.predict(patches), detector.predict(patches))
    assert loaded.classes_.tolist() == detector.classes_.tolist()
    assert type(loaded.classifier_) is type(classifier)
    names = {path.name for path in (tmp_path / "saved").iterdir()} - {".lock"}
    assert names == {"detector.json", "classifier.safetensors", "contents.json"}
    loaded.save(tmp_path / "again")
    for name in names:
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_loaded_trees_can_be_fitted_again(
    extractor: FeatureExtractor, patches: Patches, tmp_path: Path
) -> None:
    detector = Detector(extractor, ExtraTrees(9, min_samples_split=5, random_state=7))
    detector.fit(patches, LABELS).save(tmp_path / "saved")
    loaded = Detector.load(tmp_path / "saved", extractor)
    expected = detector.predict_proba(patches)
    assert np.array_equal(loaded.fit(patches, LABELS).predict_proba(patches), expected)


def test_a_detector_is_loaded_with_the_run_it_was_fitted_on(
    extractor: FeatureExtractor, other: FeatureExtractor, patches: Patches, tmp_path: Path
) -> None:
    Detector(extractor, ExtraTrees(5)).fit(patches, LABELS).save(tmp_path / "saved")
    facts = json.loads((tmp_path / "saved/detector.json").read_text())
    assert facts["origin"] == {
        "model": extractor.origin.model, "stage": "fc2", "leg": None, "precision": "float32",
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"was fitted on fc2 of model .* gives fc2 of model"):
        Detector.load(tmp_path / "saved", other)
    with pytest.raises(UsageError, match=r"gives conv1 of model"):
        Detector.load(tmp_path / "saved", extractor.set_params(stage="conv1"))
    with pytest.raises(UsageError, match="There is no detector"):
        Detector.load(tmp_path / "nothing", extractor)


def test_what_cannot_be_saved_is_said(
    extractor: FeatureExtractor, patches: Patches, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="SVC cannot be stored"):
        Detector(extractor, SVC()).fit(patches, LABELS).save(tmp_path / "a")
    half = np.arange(120) % 2 / 2
    fitted = Detector(extractor, LogisticRegression()).fit(patches, half > 0)
    with pytest.raises(UsageError, match="named by str or int"):
        fitted.save(tmp_path / "b")
    fitted.fit(patches, LABELS).save(tmp_path / "c")
    with pytest.raises(UsageError, match="in use"):
        fitted.save(tmp_path / "c")


@pytest.fixture(params=["trees", "logistic"])
def saved(
    request: pytest.FixtureRequest, extractor: FeatureExtractor, patches: Patches, tmp_path: Path
) -> Path:
    classifier = ExtraTrees(3) if request.param == "trees" else LogisticRegression()
    Detector(extractor, classifier).fit(patches, np.arange(120) % 3).save(tmp_path / "saved")
    return tmp_path / "saved"


def _seal(folder: Path) -> None:
    """Hashes that fit, as one who means harm would write them."""
    write_contents(folder, ["detector.json", "classifier.safetensors"])


@pytest.mark.parametrize("name", ["detector.json", "classifier.safetensors"])
def test_a_changed_file_is_noticed(saved: Path, extractor: FeatureExtractor, name: str) -> None:
    data = bytearray((saved / name).read_bytes())
    data[-3] ^= 1
    (saved / name).write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=f"{name} has changed"):
        Detector.load(saved, extractor)


def _edit(folder: Path, *path: str, value: Any) -> None:
    facts = json.loads((folder / "detector.json").read_text())
    inside = facts
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    (folder / "detector.json").write_text(json.dumps(facts))
    _seal(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("origin",), {"model": "x"}),
        (("origin",), [1]),
        (("classifier",), 7),
        (("classifier", "kind"), "pickle"),
        (("classifier", "features"), 0),
        (("classifier", "features"), 11),
        (("classifier", "features"), 13),
        (("classifier", "features"), "12"),
        (("classifier", "classes"), [0, 1]),
        (("classifier", "classes"), [0, 1, 1]),
        (("classifier", "classes"), [0, 1, "2"]),
        (("classifier", "classes"), [0, 1, 2, 3]),
        (("classifier", "classes"), [0, 1, [2]]),
        (("classifier", "classes"), "abc"),
    ],
)
def test_hostile_facts_are_refused(
    saved: Path, extractor: FeatureExtractor, path: tuple[str, ...], value: Any
) -> None:
    _edit(saved, *path, value=value)
    with pytest.raises(DamagedError):
        Detector.load(saved, extractor)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"version": 1}'])
def test_facts_that_are_no_facts_are_refused(
    saved: Path, extractor: FeatureExtractor, text: str
) -> None:
    (saved / "detector.json").write_text(text)
    _seal(saved)
    with pytest.raises(DamagedError, match="cannot be read"):
        Detector.load(saved, extractor)


def test_a_file_that_is_no_safetensors_is_refused(saved: Path, extractor: FeatureExtractor) -> None:
    path = saved / "classifier.safetensors"
    for data in (b"", b"\x80\x04pickle", path.read_bytes()[:-5]):
        path.write_bytes(data)
        _seal(saved)
        with pytest.raises(DamagedError, match="cannot be read"):
            Detector.load(saved, extractor)


def test_hostile_arrays_in_a_file_are_refused(saved: Path, extractor: FeatureExtractor) -> None:
    path = saved / "classifier.safetensors"
    good = load(path.read_bytes())
    for name, array in good.items():
        changed = array.astype(np.float64)
        changed.flat[0] = np.nan
        for wrong in (changed, array[:-1], array[None], array.astype(np.float16)):
            path.write_bytes(save({**good, name: np.ascontiguousarray(wrong)}))
            _seal(saved)
            with pytest.raises(DamagedError):
                Detector.load(saved, extractor)


@pytest.mark.parametrize("name", ["trees", "logistic"])
def test_a_detector_of_version_1_is_read(name: str, patches: Patches, tmp_path: Path) -> None:
    """Run and detectors were written by the first release; predictions are those of that day."""
    shutil.copytree(DATA, tmp_path / "data")
    extractor = FeatureExtractor.load(tmp_path / "data/run-1", backbone=tiny)
    detector = Detector.load(tmp_path / f"data/{name}-1", extractor)
    expected = json.loads((DATA / "expected.json").read_text())[name]
    features = np.linspace(-0.9, 0.9, 60, dtype=np.float32).reshape(5, 12)
    assert np.allclose(detector.predict_proba(features), expected, atol=1e-9)
    assert detector.classes_.tolist() == ["one", "three", "two"]
    assert extractor.transform(patches).shape == (120, 12)


# ------------------------------------------------------------------ scikit-learn's checks

WIDTH = "takes patches or the run's features (12 a patch); the check gives another number of floats"
ERRORS = "a user's mistake is the project's UsageError, not scikit-learn's ValueError"
ONE_CLASS = "a detector tells classes apart: one class is refused"
CANNOT_APPLY = {
    "check_classifier_data_not_an_array": WIDTH,
    "check_classifiers_classes": WIDTH,
    "check_classifiers_one_label": ONE_CLASS,
    "check_classifiers_regression_target": WIDTH,
    "check_classifiers_train": ERRORS,
    "check_complex_data": ERRORS,
    "check_dict_unchanged": WIDTH,
    "check_dont_overwrite_parameters": WIDTH,
    "check_dtype_object": WIDTH,
    "check_estimator_sparse_array": WIDTH,
    "check_estimator_sparse_matrix": WIDTH,
    "check_estimator_sparse_tag": WIDTH,
    "check_estimators_dtypes": WIDTH,
    "check_estimators_empty_data_messages": ERRORS,
    "check_estimators_fit_returns_self": WIDTH,
    "check_estimators_nan_inf": ERRORS,
    "check_estimators_overwrite_params": WIDTH,
    "check_estimators_pickle": WIDTH,
    "check_estimators_unfitted": ERRORS,
    "check_f_contiguous_array_estimator": WIDTH,
    "check_fit1d": ERRORS,
    "check_fit2d_1feature": WIDTH,
    "check_fit2d_1sample": ONE_CLASS,
    "check_fit2d_predict1d": WIDTH,
    "check_fit_check_is_fitted": WIDTH,
    "check_fit_idempotent": WIDTH,
    "check_fit_score_takes_y": WIDTH,
    "check_methods_sample_order_invariance": WIDTH,
    "check_methods_subset_invariance": WIDTH,
    "check_n_features_in": WIDTH,
    "check_n_features_in_after_fitting": WIDTH,
    "check_pipeline_consistency": WIDTH,
    "check_positive_only_tag_during_fit": WIDTH,
    "check_readonly_memmap_input": WIDTH,
    "check_requires_y_none": ERRORS,
    "check_supervised_y_2d": WIDTH,
    "check_supervised_y_no_nan": ERRORS,
}


def test_scikit_learns_checks_that_apply(extractor: FeatureExtractor) -> None:
    """Those that cannot are listed; the classifier itself passes them whole (`test_trees`)."""
    results = check_estimator(
        Detector(extractor, ExtraTrees(5)),
        expected_failed_checks=CANNOT_APPLY, on_fail=None, on_skip=None,
    )  # fmt: skip
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(CANNOT_APPLY)
