import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from phototrace.errors import UsageError
from phototrace.evidence.assessing import Assessment, assess
from phototrace.evidence.evaluation import Stratum, evaluate
from phototrace.evidence.formatting import wide
from phototrace.evidence.inference import detect_photos, predict_photos
from phototrace.evidence.kinds import with_classes
from phototrace.evidence.predictions import Predictions
from phototrace.learning.detector import Detector
from phototrace.learning.features import FeatureExtractor
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.learning.trees import ExtraTrees
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import read_pixels


def _recipe(name: str, task: str, **split: object) -> Recipe:
    return Recipe.parse({
        "name": name,
        "split": {"by": "photo", "validation": 0.15, "test": 0.25, **split},
        "network": {"patch_size": 64},
        "legs": {"leg": {"task": task, "batch_size": 16, "blocks": "random"}},
        "training": {"epochs": 1, "optimizer": "adamw", "precision": "float32"},
    })  # fmt: skip


@pytest.fixture(scope="module")
def runs(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    out = tmp_path_factory.mktemp("runs")
    held = sorted({r.device_id for r in photos.photos})[0]
    first = train_recipe(_recipe("first", "camera", test_devices=[held]), photos, out)
    second = train_recipe(_recipe("second", "camera", test_devices=[held]), photos, out)
    return [first, second]


@pytest.fixture(scope="module")
def assessed(
    runs: list[Run], photos: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Assessment:
    return assess(runs, photos, tmp_path_factory.mktemp("out"))


def test_only_photos_that_trained_nothing_are_tested(
    assessed: Assessment, runs: list[Run], photos: Manifest
) -> None:
    part = runs[0].split["part"]
    test = {r.id for r in photos.photos if part[r.sha256] == "test"}
    assert set(assessed.tested[0].predictions.photo) == test
    assert assessed.tested[0].left_out == {"used in training": len(photos.photos) - len(test)}


def test_a_burst_with_a_training_photo_is_not_tested(
    runs: list[Run], photos: Manifest, tmp_path: Path
) -> None:
    part = runs[0].split["part"]
    test = [r for r in photos.photos if part[r.sha256] == "test"]
    trained = next(r for r in photos.photos if part[r.sha256] == "train")
    joined = {test[0].id, trained.id}
    rows = (replace(r, burst="b" if r.id in joined else "") for r in photos.photos)
    tested = predict_photos(runs[0], replace(photos, photos=tuple(rows)), tmp_path)
    assert set(tested.predictions.photo) == {r.id for r in test[1:]}
    assert tested.left_out["in a burst with a photo used in training"] == 1


def test_a_device_kept_out_is_marked_as_never_seen(assessed: Assessment) -> None:
    table = assessed.tested[0].predictions
    assert set(table.device[~table.seen_device]) == {"Make A / 0"}
    assert "never seen" in str([s.value for s in assessed.evaluations[0].strata])


def test_probabilities_are_the_networks_own(
    assessed: Assessment, runs: list[Run], photos: Manifest
) -> None:
    table = assessed.tested[0].predictions
    record = next(r for r in photos.photos if r.id == table.photo[5])
    row, column = int(table.row[5]), int(table.column[5])
    pixels = read_pixels(photos.path_of(record))[row : row + 64, column : column + 64]
    with torch.inference_mode():
        network = runs[0].model().network
        scores = network({"leg": torch.from_numpy(pixels)[None, None].float()})["leg"]
    assert np.allclose(scores.softmax(1).numpy()[0], with_classes(table).chances[5], atol=1e-4)


def test_every_figure_can_be_worked_out_again(assessed: Assessment) -> None:
    saved = Predictions.load(assessed.folder / "predictions-first.parquet")
    stored = json.loads((assessed.folder / "evaluation.json").read_text())
    assert json.loads(json.dumps(evaluate(saved).to_dict())) == stored["evaluations"][0]


def test_runs_with_the_same_weights_do_not_differ(assessed: Assessment) -> None:
    (comparison,) = assessed.comparisons
    assert comparison.difference.value == 0
    assert not comparison.excludes_zero
    assert "do not differ beyond chance" in assessed.sentences()[-2]


def test_wide_intervals_are_put_in_words(assessed: Assessment) -> None:
    said = assessed.sentences()
    lines = [
        wide(stratum.accuracy)
        for e in assessed.evaluations
        for stratum in e.strata
        if isinstance(stratum, Stratum)
    ]
    assert any(lines)
    for line in filter(None, lines):
        assert any(text.endswith(f" photos). {line}") for text in said)
    assert not any(text.endswith(" photos). ") for text in said)


@pytest.fixture(scope="module")
def hybrid(runs: list[Run], photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A camera leg as in the other runs, and two more, under the same split."""
    data = runs[0].recipe.model_dump()
    data["name"] = "hybrid"
    data["network"]["share_depth"] = "conv1"
    data["legs"] = {
        "what": {**data["legs"]["leg"], "task": "manipulation"},
        "which": data["legs"]["leg"],
        "few": {**data["legs"]["leg"], "classes": ["Make B", "Make A"]},
    }
    return train_recipe(Recipe.parse(data), photos, tmp_path_factory.mktemp("runs"))


def test_every_leg_is_tested_and_compared_where_it_answers_the_same(
    runs: list[Run], hybrid: Run, photos: Manifest, tmp_path: Path
) -> None:
    result = assess([hybrid, runs[0]], photos, tmp_path)
    names = ["hybrid (what)", "hybrid (which)", "hybrid (few)", "first"]
    assert [e.run for e in result.evaluations] == names
    assert [e.task for e in result.evaluations] == ["manipulation", "camera", "camera", "camera"]
    assert [(c.a, c.b) for c in result.comparisons] == [("hybrid (which)", "first")]
    kept = {path.name for path in tmp_path.glob("*.parquet")}
    assert kept == {
        "predictions-first.parquet", "predictions-hybrid.few.parquet",
        "predictions-hybrid.what.parquet", "predictions-hybrid.which.parquet",
    }  # fmt: skip
    page = (tmp_path / "index.html").read_text()
    assert "manipulation: hybrid (what)" in page
    assert "shared up to conv1; weights of the legs: what 1, which 1, few 1" in page
    said = "\n".join(result.sentences())
    assert all(f"{name}: " in said for name in names)
    network, table = hybrid.model().network, result.tested[1].predictions
    record = next(r for r in photos.photos if r.id == table.photo[5])
    row, column = int(table.row[5]), int(table.column[5])
    pixels = read_pixels(photos.path_of(record))[row : row + 64, column : column + 64]
    with torch.inference_mode():
        scores = network({"which": torch.from_numpy(pixels)[None, None].float()})["which"]
    assert np.allclose(scores.softmax(1).numpy()[0], with_classes(table).chances[5], atol=1e-4)


def test_a_leg_without_photos_does_not_keep_the_others_from_being_tested(
    hybrid: Run, photos: Manifest, tmp_path: Path
) -> None:
    strange = tuple(replace(r, model="Z") for r in photos.photos)
    result = assess([hybrid], replace(photos, photos=strange), tmp_path)
    assert [e.run for e in result.evaluations] == ["hybrid (what)"]
    assert set(result.untested) == {"hybrid (which)", "hybrid (few)"}
    assert "camera that the run was not trained on" in result.untested["hybrid (few)"]
    assert {entry["path"] for entry in result.unreadable()} == set(result.untested)


def test_photos_that_trained_a_trunk_are_left_out(
    runs: list[Run], photos: Manifest, tmp_path: Path
) -> None:
    data = runs[0].recipe.model_dump()
    data["name"] = "transfer"
    data["network"]["share_depth"] = "fc2"
    part = runs[0].split["part"]
    gone = next(r for r in photos.photos if part[r.sha256] == "train")
    own = replace(photos, photos=tuple(r for r in photos.photos if r is not gone))
    run = train_recipe(Recipe.parse(data), own, tmp_path, trunk=runs[0])
    result = assess([run], photos, tmp_path / "out")
    tested = set(result.tested[0].predictions.photo)
    assert tested <= {r.id for r in photos.photos if part[r.sha256] == "test"}
    assert gone.sha256 not in {r.sha256 for r in own.photos}
    assert result.tested[0].left_out == {"used in training": len(photos.photos) - len(tested)}
    assert "of the run first (hash" in (tmp_path / "out/index.html").read_text()


def test_photos_of_unknown_cameras_are_left_out_and_counted(
    runs: list[Run], photos: Manifest, tmp_path: Path
) -> None:
    others = tuple(
        replace(r, model="C") if runs[0].split["part"][r.sha256] == "test" and i % 2 else r
        for i, r in enumerate(photos.photos)
    )
    result = assess(runs[:1], replace(photos, photos=others), tmp_path)
    assert result.tested[0].left_out["of a camera that the run was not trained on"] > 0


def test_nothing_left_to_test_is_a_sentence(
    runs: list[Run], photos: Manifest, tmp_path: Path
) -> None:
    part = runs[0].split["part"]
    trained = tuple(r for r in photos.photos if part[r.sha256] == "train")
    with pytest.raises(UsageError, match="used in training"):
        assess(runs[:1], replace(photos, photos=trained), tmp_path)


def test_two_runs_of_one_name_are_refused(
    runs: list[Run], photos: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="'first'"):
        assess([runs[0], runs[0]], photos, tmp_path)


def test_recipe_is_the_same_in_both(runs: list[Run]) -> None:
    first, second = (run.model().network.state_dict() for run in runs)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_a_detector_is_tested_on_the_patches_that_test_its_leg(
    assessed: Assessment, runs: list[Run], photos: Manifest, tmp_path: Path
) -> None:
    target, source = runs
    store = target.store()
    rows = store.rows("train")
    extractor = FeatureExtractor(source.model())
    detector = Detector(extractor, ExtraTrees(n_estimators=10, random_state=0))
    detector.fit(extractor.transform_store(store)[rows], store.label[rows])
    table = detect_photos(detector, target, "leg", photos, tmp_path, "trees").predictions
    network = assessed.tested[0].predictions
    assert (table.run, table.run_hash, with_classes(table).classes) == (
        "trees", source.hash, with_classes(network).classes,
    )  # fmt: skip
    for column in ("photo", "row", "column", "label", "seen_device"):
        assert np.array_equal(getattr(table, column), getattr(network, column))
    record = next(r for r in photos.photos if r.id == table.photo[7])
    row, place = int(table.row[7]), int(table.column[7])
    patch = read_pixels(photos.path_of(record))[row : row + 64, place : place + 64]
    assert np.allclose(
        detector.predict_proba(patch[None])[0], with_classes(table).chances[7], atol=1e-3
    )
    other = replace(target, split={**target.split, "hash": "other"})
    with pytest.raises(UsageError, match="different splits"):
        detect_photos(detector, other, "leg", photos, tmp_path, "trees")


def test_what_was_said_of_the_photos_stands_on_the_page_and_in_json(
    runs: list[Run], photos: Manifest, tmp_path: Path
) -> None:
    said = "3 photos could not be read. a.jpg is empty."
    assess(runs[:1], photos, tmp_path, notes=[said])
    assert said in (tmp_path / "index.html").read_text()
    assert json.loads((tmp_path / "evaluation.json").read_text())["photo_notes"] == [said]
