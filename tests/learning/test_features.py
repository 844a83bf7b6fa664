from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import phototrace as pt
from phototrace.errors import DamagedError, UsageError
from phototrace.learning.features import FeatureExtractor, Features
from phototrace.learning.model import Model
from phototrace.learning.network import BACKBONES, Network, build_network, mislnet
from phototrace.learning.run import Run
from phototrace.patches.building import build_store
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits
from phototrace.patches.plan import PatchSettings, plan_patches
from phototrace.patches.store import PatchStore, shard_name
from phototrace.photos.manifest import Manifest
from phototrace.photos.splits import make_split

from .conftest import MakeRun, tiny

Patches = NDArray[np.uint8]


def _extractor(run: Run | Path, **choice: Any) -> FeatureExtractor:
    folder = run.folder if isinstance(run, Run) else run
    return FeatureExtractor(Model.load(folder, backbone=tiny), **choice)


def _by_hand(network: Network, patches: Patches, *stages: str) -> NDArray[np.float32]:
    """The named stages one after another, one patch at a time."""
    modules = {**dict(network.trunk.items()), **dict(network.heads["camera"].named_children())}
    found = []
    for patch in patches:
        x = torch.from_numpy(patch.astype(np.float32))
        x = x.reshape(1, 1, 64, 64) if x.ndim == 2 else x.permute(2, 0, 1)[None]
        for stage in stages:
            x = modules[stage](x)
        found.append(x.detach().numpy().ravel())
    return np.stack(found)


def test_fc2_of_the_papers_network_gives_200_features_after_tanh(tmp_path: Path) -> None:
    network = build_network(mislnet, {"a": 6}, patch_size=64).eval()
    out = network.features(torch.rand(2, 1, 64, 64) * 255, "fc2")
    assert out.shape == (2, 200)
    assert 0 < float(out.detach().abs().max()) <= 1


def test_features_are_those_of_the_stages_one_by_one(make_run: MakeRun, patches: Patches) -> None:
    run = make_run()
    found = _extractor(run).transform(patches)
    expected = _by_hand(run.model(backbone=tiny).network, patches, "constr", "conv1", "fc2")
    assert isinstance(found, Features)
    assert found.dtype == np.float32
    assert found.shape == (120, 12)
    assert np.allclose(found, expected, atol=1e-5)
    assert np.abs(found - found[0]).max() > 0.01


def test_any_stage_is_flattened(make_run: MakeRun, patches: Patches) -> None:
    run = make_run()
    network = run.model(backbone=tiny).network
    for stage, stages, width in [
        ("constr", ("constr",), 2 * 62 * 62),
        ("conv1", ("constr", "conv1"), 48),
    ]:
        extractor = _extractor(run, stage=stage)
        assert extractor.width == width
        found = extractor.transform(patches[:3])
        assert np.allclose(found, _by_hand(network, patches[:3], *stages), atol=1e-3)


def test_a_stage_above_the_share_depth_needs_the_leg(make_run: MakeRun, patches: Patches) -> None:
    run = make_run(share_depth="conv1")
    with pytest.raises(UsageError, match=r"above the share depth.*name the leg, one of camera"):
        _extractor(run).fit()
    named = _extractor(run, leg="camera")
    expected = _by_hand(run.model(backbone=tiny).network, patches[:3], "constr", "conv1", "fc2")
    assert np.allclose(named.transform(patches[:3]), expected, atol=1e-5)
    assert str(named.origin) == f"fc2, leg camera of model {run.hash[:12]} in float32"
    # Below it the leg does not matter, and the features are the same ones.
    below = [_extractor(run, stage="conv1", leg=leg).origin for leg in (None, "camera")]
    assert below[0] == below[1]


def test_an_unknown_stage_leg_or_model_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run().folder
    with pytest.raises(UsageError, match=r"no stage 'fc9'.* among constr, conv1, fc2, output"):
        FeatureExtractor.load(folder, stage="fc9", backbone=tiny)
    with pytest.raises(UsageError, match=r"no leg 'x'\. The legs: camera"):
        FeatureExtractor.load(folder, leg="x", backbone=tiny)
    with pytest.raises(UsageError, match="There is no model"):
        FeatureExtractor.load(tmp_path / "nothing")
    with pytest.raises(UsageError, match="backbone 'tiny'"):
        FeatureExtractor.load(folder)


def test_a_run_is_given_as_a_folder_or_as_itself(make_run: MakeRun, patches: Patches) -> None:
    run = make_run()
    first = _extractor(run).transform(patches)
    second = pt.FeatureExtractor.load(str(run.folder), backbone=tiny).transform(patches)
    assert np.array_equal(first, second)
    assert first.origin == second.origin


def test_colour_patches_go_into_a_run_for_colour(make_run: MakeRun, patches: Patches) -> None:
    run = make_run(channels="rgb")
    colour = np.stack([patches[:3], patches[3:6], patches[6:9]], axis=-1)
    expected = _by_hand(run.model(backbone=tiny).network, colour, "constr", "conv1", "fc2")
    assert np.allclose(_extractor(run).transform(colour), expected, atol=1e-5)
    with pytest.raises(UsageError, match=r"\(n, 64, 64, 3\) uint8; these are \(120, 64, 64\)"):
        _extractor(run).transform(patches)


def test_patches_of_another_form_are_refused(make_run: MakeRun, patches: Patches) -> None:
    extractor = _extractor(make_run())
    for wrong in (patches[:, :32], patches[0], patches.astype(np.float32), patches[..., None]):
        with pytest.raises(UsageError, match=r"takes patches \(n, 64, 64\) uint8; these are"):
            extractor.transform(wrong)


def test_no_patches_give_no_features(make_run: MakeRun, patches: Patches) -> None:
    assert _extractor(make_run()).transform(patches[:0]).shape == (0, 12)


def test_rows_of_features_still_know_their_source(make_run: MakeRun, patches: Patches) -> None:
    extractor = _extractor(make_run())
    found = extractor.transform(patches)
    some = found[::2][np.arange(5)]
    assert isinstance(some, Features)
    assert some.origin == extractor.origin


def test_setting_another_run_changes_the_features(make_run: MakeRun, patches: Patches) -> None:
    extractor = _extractor(make_run("a"))
    first = extractor.transform(patches)
    other = make_run("b", seed=1)
    second = extractor.set_params(model=other.model(backbone=tiny)).transform(patches)
    assert not np.allclose(first, second)
    assert second.origin is not None
    assert second.origin.model == other.hash


def test_another_folder_set_later_is_loaded(
    make_run: MakeRun, patches: Patches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "tiny", tiny)
    runs = [make_run("a"), make_run("b", seed=1)]
    extractor = FeatureExtractor(runs[0].folder)
    assert extractor.origin.model == runs[0].hash
    assert extractor.loaded() is extractor.loaded()
    first = extractor.transform(patches)
    extractor.set_params(model=runs[1].folder)
    assert extractor.origin.model == runs[1].hash
    assert not np.allclose(extractor.transform(patches), first)


def test_it_works_in_a_pipeline(make_run: MakeRun, patches: Patches) -> None:
    labels = np.arange(120) % 2
    pipeline = make_pipeline(_extractor(make_run()), LogisticRegression(C=100, max_iter=1000))
    fitted = clone(pipeline).fit(patches[:80], labels[:80])
    assert fitted.score(patches[80:], labels[80:]) > 0.9


FLOATS = "transform takes uint8 patches (n, h, w), and the check gives (n, d) floats"
NOT_FITTED = "nothing is fitted, so fit does not look at what it is given"
CANNOT_APPLY = {
    "check_complex_data": NOT_FITTED,
    "check_dict_unchanged": FLOATS,
    "check_dtype_object": FLOATS,
    "check_estimator_sparse_tag": NOT_FITTED,
    "check_estimators_dtypes": FLOATS,
    "check_estimators_empty_data_messages": NOT_FITTED,
    "check_estimators_nan_inf": NOT_FITTED,
    "check_estimators_pickle": FLOATS,
    "check_f_contiguous_array_estimator": FLOATS,
    "check_fit1d": NOT_FITTED,
    "check_fit2d_predict1d": FLOATS,
    "check_fit_idempotent": FLOATS,
    "check_fit_score_takes_y": FLOATS,
    "check_methods_sample_order_invariance": FLOATS,
    "check_methods_subset_invariance": FLOATS,
    "check_n_features_in": NOT_FITTED,
    "check_n_features_in_after_fitting": NOT_FITTED,
    "check_pipeline_consistency": FLOATS,
    "check_transformer_data_not_an_array": FLOATS,
    "check_transformer_general": FLOATS,
    "check_transformer_preserve_dtypes": FLOATS,
    "check_transformers_unfitted_stateless": FLOATS,
}


def test_scikit_learns_checks(make_run: MakeRun) -> None:
    results = check_estimator(
        _extractor(make_run()), expected_failed_checks=CANNOT_APPLY, on_fail=None, on_skip=None
    )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {}
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(CANNOT_APPLY)


@pytest.fixture
def store(photos: Manifest, tmp_path: Path) -> PatchStore:
    settings = PatchSettings(
        ("unaltered", "median filter"), "manipulation", 64, edits=NamedEdits(MANIPULATIONS)
    )
    plan = plan_patches(photos, make_split(photos, "photo", 1), settings)
    return build_store(plan, tmp_path / "stores/first")


def test_features_of_a_store_are_those_of_its_patches(make_run: MakeRun, store: PatchStore) -> None:
    extractor = _extractor(make_run())
    found = extractor.transform_store(store)
    patches = store.read(np.arange(len(store)))
    assert np.array_equal(found, extractor.transform(patches))
    assert found.origin == extractor.origin
    assert isinstance(found.base, np.memmap)
    assert not found.flags.writeable


def test_kept_features_are_reused_until_run_or_stage_change(
    make_run: MakeRun, store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = make_run("a"), make_run("b", seed=1)
    passes = []
    real = FeatureExtractor._batches

    def counted(self: FeatureExtractor, *given: Any) -> Any:
        passes.append(self.stage)
        return real(self, *given)

    monkeypatch.setattr(FeatureExtractor, "_batches", counted)
    first = _extractor(run).transform_store(store)
    again = _extractor(run.folder).transform_store(PatchStore.load(store.folder))
    assert len(passes) == 1
    assert np.array_equal(first, again)
    assert not np.array_equal(_extractor(other).transform_store(store), first)
    assert _extractor(run, stage="conv1").transform_store(store).shape == (len(store), 48)
    assert len(passes) == 3


def test_features_kept_in_a_chosen_folder_are_not_taken_for_others(
    make_run: MakeRun, store: PatchStore, tmp_path: Path
) -> None:
    _extractor(make_run("a")).transform_store(store, tmp_path / "kept")
    assert (tmp_path / "kept/features.npy").is_file()
    with pytest.raises(UsageError, match="another model, stage or store"):
        _extractor(make_run("b", seed=1)).transform_store(store, tmp_path / "kept")


def test_nor_for_those_of_another_store(
    make_run: MakeRun, store: PatchStore, photos: Manifest, tmp_path: Path
) -> None:
    """As many patches, edited otherwise."""
    extractor, kept = _extractor(make_run()), tmp_path / "kept"
    extractor.transform_store(store, kept)
    settings = PatchSettings(
        ("unaltered", "white noise"), "manipulation", 64, edits=NamedEdits(MANIPULATIONS)
    )
    plan = plan_patches(photos, make_split(photos, "photo", 1), settings)
    other = build_store(plan, tmp_path / "stores/other")
    assert len(other) == len(store)
    with pytest.raises(UsageError, match="another model, stage or store"):
        extractor.transform_store(other, kept)
    assert not np.array_equal(extractor.transform_store(other), extractor.transform_store(store))


def test_changed_features_are_found(make_run: MakeRun, store: PatchStore, tmp_path: Path) -> None:
    extractor = _extractor(make_run())
    extractor.transform_store(store, tmp_path / "kept")
    path = tmp_path / "kept/features.npy"
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=r"has changed.*computed again"):
        extractor.transform_store(store, tmp_path / "kept")


def test_a_store_changed_on_disk_is_found_before_any_work(
    make_run: MakeRun, store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.folder / shard_name(0)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(bytes(data))
    extractor = _extractor(make_run())
    monkeypatch.setattr(FeatureExtractor, "_batches", None)
    with pytest.raises(DamagedError, match="has changed"):
        extractor.transform_store(store)


def test_a_store_of_another_form_is_refused(
    make_run: MakeRun, store: PatchStore, tmp_path: Path
) -> None:
    extractor = _extractor(make_run(channels="rgb"))
    with pytest.raises(UsageError, match="green patches of 64 px, but run takes rgb"):
        extractor.transform_store(store)


def test_a_store_of_another_size_is_refused(
    make_run: MakeRun, photos: Manifest, tmp_path: Path
) -> None:
    settings = PatchSettings(("Make A", "Make B"), "camera", 96, blocks="random")
    plan = plan_patches(photos, make_split(photos, "photo", 1), settings)
    larger = build_store(plan, tmp_path / "larger")
    with pytest.raises(UsageError, match=r"green patches of 96 px, but .* of 64 px"):
        _extractor(make_run()).transform_store(larger)


def test_a_disk_too_small_is_noticed_before_any_work(
    make_run: MakeRun, store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: full)
    with pytest.raises(UsageError, match=r"more than .* has room for"):
        _extractor(make_run()).transform_store(store)


def test_an_interrupted_pass_leaves_nothing_that_is_taken_for_features(
    make_run: MakeRun, store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = _extractor(make_run())

    def breaks(*given: Any) -> Any:
        yield np.zeros((64, 12), dtype=np.float32)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractor, "_batches", breaks)
        with pytest.raises(KeyboardInterrupt):
            extractor.transform_store(store, tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*features*"))
    found = extractor.transform_store(store, tmp_path / "kept")
    assert np.array_equal(found, extractor.transform(store.read(np.arange(len(store)))))
