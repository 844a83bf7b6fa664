"""A run is tested on photos taken, renamed and capped as its recipe says."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from phototrace.evidence.assessing import assess
from phototrace.evidence.inference import predict_photos
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import BACKBONES, Stages
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest, PhotoRecord


def tiny(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "output": nn.Sequential(nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(32, classes)),
    }


@pytest.fixture(scope="module")
def coloured(photos: Manifest) -> Manifest:
    """The photos with a colour; a third of camera B's are of a Make C, whose only device is 0."""

    def change(number: int, record: PhotoRecord) -> PhotoRecord:
        colour = "blue" if number % 5 == 4 else "red"
        coloured = replace(record, extra={"colour": colour})
        other = record.model == "B" and number % 3 == 0
        return replace(coloured, model="C", device="0") if other else coloured

    return replace(photos, photos=tuple(change(n, r) for n, r in enumerate(photos.photos)))


def recipe(**leg: object) -> Recipe:
    return Recipe.parse({
        "name": "renamed",
        "photos": {"rename": {"Make C": "Make B"}},
        "split": {"validation": 0.1, "test": 0.4},
        "network": {"backbone": "tiny", "patch_size": 64},
        "legs": {"which": {"task": "camera", "blocks": "random", "batch_size": 16, **leg}},
        "training": {"epochs": 1, "precision": "float32", "seed": 5},
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(coloured: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", tiny)
        choice = recipe(without={"colour": ["blue"]})
        return train_recipe(choice, coloured, tmp_path_factory.mktemp("runs"))


def in_test_part(run: Run, manifest: Manifest) -> list[PhotoRecord]:
    return [r for r in manifest.photos if run.split["part"].get(r.sha256) == "test"]


def test_what_a_leg_leaves_out_is_not_tested(run: Run, coloured: Manifest, tmp_path: Path) -> None:
    tested = predict_photos(run, coloured, tmp_path, backbone=tiny)
    kept = {r.id for r in in_test_part(run, coloured) if r.extra["colour"] == "red"}
    assert set(tested.predictions.photo) == kept
    blue = sum(r.extra["colour"] == "blue" for r in coloured.photos)
    assert 0 < blue == tested.left_out["not chosen by the recipe"]
    assert tested.photos == len(kept)
    assert tested.photos + sum(tested.left_out.values()) == len(coloured.photos)


def test_an_unknown_camera_is_not_one_that_training_did_not_have(
    run: Run, coloured: Manifest, tmp_path: Path
) -> None:
    first, second, *rest = in_test_part(run, coloured)
    strange = replace(first, make="", model=""), replace(second, model="X")
    tested = predict_photos(
        run, replace(coloured, photos=(*strange, *rest)), tmp_path, backbone=tiny
    )
    assert tested.left_out["of unknown camera"] == 1
    assert tested.left_out["of a camera that the run was not trained on"] == 1


def test_a_renamed_camera_is_tested_as_what_it_counts_for(
    run: Run, coloured: Manifest, tmp_path: Path
) -> None:
    assert run.tasks["which"].classes == ("Make A", "Make B")
    table = predict_photos(run, coloured, tmp_path, backbone=tiny).predictions
    models = {r.id: r.model for r in coloured.photos}
    of_c = np.array([models[photo] == "C" for photo in table.photo])
    assert of_c.any()
    assert set(table.camera[of_c]) == {"Make B"}
    assert set(table.label[of_c]) == {1}
    assert set(table.device[of_c]) == {"Make B / Make C 0"}
    assert table.seen_device[of_c].all()


def test_a_new_photo_of_a_renamed_camera_is_tested_too(
    run: Run, coloured: Manifest, tmp_path: Path
) -> None:
    """The run knows it neither by hash nor by device."""
    record = next(r for r in in_test_part(run, coloured) if r.model == "C")
    unknown = replace(record, device="9")
    table = predict_photos(
        run, replace(coloured, photos=(unknown,)), tmp_path, backbone=tiny
    ).predictions
    assert set(table.device) == {"Make B / Make C 9"}
    assert not table.seen_device.any()


def test_no_more_photos_are_tested_than_the_leg_takes(coloured: Manifest, tmp_path: Path) -> None:
    choice = recipe(photos={"test": 3, "train": 6})
    run = train_recipe(choice, coloured, tmp_path, backbone=tiny)
    trained = Counter(run.split["part"][r.sha256] for r in coloured.photos)
    assert trained["train"] > 6
    assert trained["test"] > 3
    tested = predict_photos(run, coloured, tmp_path, backbone=tiny)
    assert tested.photos == 3
    assert set(tested.predictions.photo) < {r.id for r in in_test_part(run, coloured)}
    backwards = replace(coloured, photos=coloured.photos[::-1])
    again = predict_photos(run, backwards, tmp_path, backbone=tiny).predictions
    assert set(again.photo) == set(tested.predictions.photo)


def test_a_page_names_the_seed_of_the_training(
    run: Run, coloured: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "tiny", tiny)
    assess([run], coloured, tmp_path)
    (page,) = tmp_path.glob("*.html")
    assert "renamed, seed 0 (training seed 5)" in page.read_text(encoding="utf-8")


def test_photos_that_the_split_keeps_out_are_not_tested(coloured: Manifest, tmp_path: Path) -> None:
    """Of which nobody knows the device: it may be one that trained."""
    unknown = [r for r in coloured.photos if r.model == "A"][3:6]
    photos = tuple(replace(r, device="") if r in unknown else r for r in coloured.photos)
    manifest = replace(coloured, photos=photos)
    choice = recipe().model_dump()
    by_device = Recipe.parse({**choice, "split": {"by": "device", "validation": 0.1, "test": 0.4}})
    run = train_recipe(by_device, manifest, tmp_path, backbone=tiny)
    assert set(run.split["excluded"]) == {r.sha256 for r in unknown}
    tested = predict_photos(run, manifest, tmp_path, backbone=tiny)
    assert set(tested.predictions.photo) == {r.id for r in in_test_part(run, manifest)}
    assert tested.left_out["excluded by the split"] == len(unknown) == 3
