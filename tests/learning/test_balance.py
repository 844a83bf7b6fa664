"""A camera with few photos: it is drawn as often as the others, and takes nothing from them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phototrace.learning.batches import epoch_order, steps_per_epoch
from phototrace.learning.batchnorm import CorrectedBatchNorm2d
from phototrace.learning.leg_data import leg_of
from phototrace.learning.preparing import Experiment, prepare
from phototrace.learning.recipe import Recipe
from phototrace.patches.building import build_store
from phototrace.photos.manifest import Manifest


@pytest.fixture(scope="module")
def uneven(photos: Manifest) -> Manifest:
    """Make A has nine photos of two bodies, eight by one of them; Make B has three."""
    a = [r for r in photos.photos if r.model == "A"][:9]
    b = [r for r in photos.photos if r.model == "B"][:3]
    records = [replace(r, device="0" if k < 8 else "1") for k, r in enumerate(a)]
    records += [replace(r, device="0") for r in b]
    return replace(photos, photos=tuple(records))


def prepared(manifest: Manifest, balance: str, **leg: Any) -> Experiment:
    choice = {"task": "camera", "blocks": "random", "batch_size": 4, "balance": balance, **leg}
    recipe = Recipe.parse({
        "name": "uneven",
        "split": {"validation": 0.2, "test": 0.2},
        "network": {"patch_size": 64},
        "legs": {"camera": choice},
    })  # fmt: skip
    return prepare(recipe, manifest)


def test_few_photos_of_one_camera_cut_no_other(uneven: Manifest) -> None:
    counts = prepared(uneven, "draw").plans["camera"].count("train")
    cut = prepared(uneven, "cut").plans["camera"].count("train")
    assert counts[1] == cut[1] == cut[0]
    assert counts[0] > 2 * cut[0]


def test_what_is_cut_is_said(uneven: Manifest) -> None:
    made = prepared(uneven, "cut")
    whole = prepared(uneven, "draw").plans["camera"].count("train")
    left_out = whole[0] - whole[1]
    notes = [note for note in made.notes if "cut" in note]
    assert f"every class is cut to {whole[1]} train patches, the number of Make B" in notes[0]
    assert f"{left_out} patches of 1 classes are left out" in notes[0]
    assert not [note for note in prepared(uneven, "draw").notes if "left out" in note]


def test_a_class_shown_again_and_again_is_said(uneven: Manifest) -> None:
    """Planning opens no photo: the same nine, thirty times under other hashes."""
    a, *b = uneven.photos[0], *uneven.photos[9:]
    many = [replace(a, id=f"{k:016x}", sha256=f"{k:064x}") for k in range(270)]
    notes = prepared(replace(uneven, photos=(*many, *b)), "draw").notes
    assert any("those of Make B" in note and "times an epoch" in note for note in notes)
    assert not any("times an epoch" in note for note in prepared(uneven, "draw").notes)


def test_in_an_epoch_classes_come_equally_often(uneven: Manifest, tmp_path: Path) -> None:
    experiment = prepared(uneven, "draw")
    store = build_store(experiment.plans["camera"], tmp_path / "store")
    leg = leg_of(experiment, "camera", store)
    rows = epoch_order(leg, 0, steps_per_epoch([leg]), seed=1, number=0).ravel()
    shown = Counter(store.label[rows].tolist())
    assert abs(shown[0] - shown[1]) <= 1
    assert set(rows) <= set(leg.train)
    device = store.column("device")
    for label in (0, 1):
        there = leg.train[store.label[leg.train] == label]
        assert set(device[rows[store.label[rows] == label]]) == set(device[there])


def test_a_leg_that_is_cut_or_edited_is_shuffled_as_a_whole(
    uneven: Manifest, tmp_path: Path
) -> None:
    experiment = prepared(uneven, "cut")
    store = build_store(experiment.plans["camera"], tmp_path / "store")
    assert leg_of(experiment, "camera", store).strata is None


def test_validation_has_all_the_patches_there_are(uneven: Manifest) -> None:
    plans = [prepared(uneven, way).plans["camera"] for way in ("draw", "cut")]
    assert plans[0].total("validation") >= plans[1].total("validation")
    assert len(np.unique(plans[0].count("validation"))) > 1


def test_corrected_averages_count_on_from_what_was_loaded() -> None:
    """The count of batches is kept beside the device's own, and both begin where weights do."""
    first = CorrectedBatchNorm2d(3)
    for _ in range(4):
        first(torch.rand(2, 3, 4, 4))
    second = CorrectedBatchNorm2d(3)
    second(torch.rand(2, 3, 4, 4))
    second.load_state_dict(first.state_dict())
    x = torch.rand(2, 3, 4, 4)
    first(x)
    second(x)
    assert int(second.num_batches_tracked or 0) == 5
    assert torch.equal(first.running_mean, second.running_mean)  # type: ignore[arg-type]
    second.reset_running_stats()
    second(x)
    assert second.momentum == 1.0
