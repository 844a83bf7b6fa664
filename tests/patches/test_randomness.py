"""Every patch has a random stream of its own, which other photos and patches do not change."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from phototrace.patches.building import cut_patches
from phototrace.patches.manipulations import NamedEdits, QualityEdits, white_noise
from phototrace.patches.plan import PatchPlan, PatchSettings, plan_patches
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.splits import Split

GREY = np.full((200, 216), 128, np.uint8)
SETTINGS = PatchSettings(
    ("noisy", "noisier"), "noise", 64,
    edits=NamedEdits({"noisy": white_noise, "noisier": white_noise}),
    editing=("block", "region"), seed=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """Three photos, by their sizes alone."""
    hashes = [f"{7919 * (number + 1):015x}".ljust(64, "0") for number in range(3)]
    records = [
        PhotoRecord(sha256[:16], f"{sha256[:4]}.jpg", sha256, "Make", "A", width=216, height=200)
        for sha256 in hashes
    ]
    return Manifest(tuple(records), Path())


def planned(manifest: Manifest, settings: PatchSettings = SETTINGS) -> PatchPlan:
    part = {r.id: "train" for r in manifest.photos}
    return plan_patches(manifest, Split("photo", 0, part, {}, ""), settings, parts=["train"])


def noise(plan: PatchPlan) -> NDArray[np.int64]:
    """What was added to each patch of a plan, were all its photos plain grey."""
    rows = [np.flatnonzero(plan.photo == photo).tolist() for photo in range(3)]
    cut = np.concatenate([cut_patches(GREY, of_photo, plan) for of_photo in rows])
    return cut.astype(np.int64) - 128


def test_no_two_patches_have_the_same_noise(manifest: Manifest) -> None:
    """Of two photos, blocks, labels or ways of editing: as unlike as chance would have it."""
    plan = planned(manifest)
    found = noise(plan).reshape(len(plan), -1)
    assert len(found) == 3 * 9 * 2 * 2
    alike = np.corrcoef(found) - np.eye(len(found))
    assert np.abs(alike).max() < 6 / np.sqrt(64 * 64)  # six standard deviations


def test_two_ways_of_one_place_have_two_streams(manifest: Manifest) -> None:
    """Told apart by their number alone, as blocks and regions by where they lie as well."""
    twice = replace(SETTINGS, editing=("block", "block"))
    plan = planned(manifest, twice)
    first, second = (noise(plan)[plan.editing == way] for way in (0, 1))
    assert len(first) == len(second) == 3 * 9 * 2
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    drawn = planned(manifest, replace(twice, classes=(), label="quality", edits=QualityEdits()))
    ours, theirs = (drawn.label[drawn.editing == way] for way in (0, 1))
    assert (ours == theirs).mean() < 0.2


def test_other_photos_and_rows_do_not_change_a_patch(manifest: Manifest) -> None:
    whole = planned(manifest)
    alone = planned(replace(manifest, photos=manifest.photos[1:2]))
    middle = np.flatnonzero(
        [whole.manifest.photos[i].sha256 == manifest.photos[1].sha256 for i in whole.photo]
    )
    expected = cut_patches(GREY, middle.tolist(), whole)
    np.testing.assert_array_equal(cut_patches(GREY, list(range(len(alone))), alone), expected)
    np.testing.assert_array_equal(cut_patches(GREY, [7], alone)[0], expected[7])


def test_the_seed_changes_the_noise(manifest: Manifest) -> None:
    one, two = (noise(planned(manifest, replace(SETTINGS, seed=seed))) for seed in (5, 6))
    same_block = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one, two, strict=True)]
    assert np.abs(same_block).max() < 0.1


def test_random_blocks_differ_from_photo_to_photo_and_with_the_seed(manifest: Manifest) -> None:
    places = []
    for seed in (5, 6):
        settings = PatchSettings(("Make A",), "camera", 64, blocks="random", seed=seed)
        plan = planned(manifest, settings)
        for photo in range(3):
            chosen = plan.photo == photo
            places.append(set(zip(plan.row[chosen], plan.column[chosen], strict=True)))
    assert all(one != two for one, two in combinations(places, 2))


def test_the_qualities_of_blocks_are_drawn_apart(manifest: Manifest) -> None:
    """Of photos, blocks and ways: 54 draws of two out of 46."""
    edits = QualityEdits()
    plan = planned(manifest, replace(SETTINGS, classes=(), label="quality", edits=edits))
    drawn = [tuple(two) for two in plan.label.reshape(-1, 2).tolist()]
    assert len(drawn) == 3 * 9 * 2
    assert len(set(drawn)) > 45
