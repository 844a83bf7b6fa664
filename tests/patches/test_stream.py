"""Fresh patches: a pure function of seed, leg, epoch and place in the epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phototrace.learning.tasks import TASKS
from phototrace.patches.decoded import decode_photos
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits, QualityEdits
from phototrace.patches.plan import PatchSettings, plan_patches
from phototrace.patches.stream import FreshPatches, random_place, turn
from phototrace.photos.manifest import Manifest
from phototrace.photos.splits import make_split

CAMERAS = PatchSettings(classes=("Make A", "Make B"), label="camera", size=64, blocks="random")


def fresh(
    photos: Manifest, folder: Path, settings: PatchSettings = CAMERAS, *, turned: bool = False
) -> FreshPatches:
    plan = plan_patches(photos, make_split(photos, "photo", 1), settings).only("train")
    return FreshPatches(plan, decode_photos(plan.manifest, settings, folder), turned)


def test_the_same_place_in_an_epoch_gives_the_same_patch(photos: Manifest, tmp_path: Path) -> None:
    one = fresh(photos, tmp_path / "d")
    rows = one.rows[:20]
    patches, labels = one.read(rows, [7, 0, 3], 100)
    apart = [one.read(rows[k : k + 1], [7, 0, 3], 100 + k) for k in range(20)]
    assert np.array_equal(patches, np.concatenate([p for p, _ in apart]))
    assert np.array_equal(labels, one.plan.label[rows])
    for other in ([8, 0, 3], [7, 1, 3], [7, 0, 4]):
        assert (one.read(rows, other, 100)[0] != patches).any(axis=(1, 2)).mean() > 0.9
    assert (one.read(rows, [7, 0, 3], 101)[0] != patches).any(axis=(1, 2)).mean() > 0.9


def test_patches_are_parts_of_their_photos(photos: Manifest, tmp_path: Path) -> None:
    one = fresh(photos, tmp_path / "d")
    patches, _ = one.read(one.rows[:8], [1, 0, 0])
    for row, patch in zip(one.rows[:8], patches, strict=True):
        pixels = one.photos.pixels(one.plan.manifest.photos[one.plan.photo[row]].sha256)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (64, 64))
        assert (windows == patch).all(axis=(2, 3)).any()


@pytest.mark.parametrize("channels", ["green", "rgb"])
def test_edits_are_those_of_the_row_and_noise_is_new(
    photos: Manifest, tmp_path: Path, channels: str
) -> None:
    task = TASKS["manipulation"]
    settings = PatchSettings(
        classes=task.classes, label=task.name, size=64, channels=channels,  # type: ignore[arg-type]
        edits=NamedEdits(MANIPULATIONS), editing=("block", "region"),
    )  # fmt: skip
    one = fresh(photos, tmp_path / "d", settings)
    rows = one.rows[:24]
    patches, labels = one.read(rows, [1, 0, 0])
    assert patches.shape[1:] == ((64, 64) if channels == "green" else (64, 64, 3))
    assert np.array_equal(labels, one.plan.label[rows])
    assert labels.dtype == np.int64
    smooth = {k: np.abs(np.diff(patches[labels == k].astype(int), axis=1)).mean() for k in (0, 1)}
    assert smooth[1] < 0.8 * smooth[0]


def test_numbers_are_drawn_anew(photos: Manifest, tmp_path: Path) -> None:
    settings = PatchSettings(
        classes=(), label="quality", size=64, edits=QualityEdits(), editing=("block",)
    )
    one = fresh(photos, tmp_path / "d", settings)
    first, second = (one.read(one.rows[:30], [1, 0, epoch])[1] for epoch in (0, 1))
    assert first.dtype == np.float32
    assert ((first >= 50) & (first <= 95)).all()
    assert (first != second).mean() > 0.8


def test_offsets_to_the_grid_are_even() -> None:
    rng = np.random.default_rng(0)
    places = np.array([random_place(200, 216, 64, rng) for _ in range(64_000)])
    counts = np.bincount(places[:, 0] % 8 * 8 + places[:, 1] % 8, minlength=64)
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)
    assert places.min(axis=0).tolist() == [0, 0]
    assert places.max(axis=0).tolist() == [136, 152]
    assert {random_place(64, 66, 64, rng) for _ in range(99)} == {(0, 0), (0, 1), (0, 2)}


def test_the_eight_turns_are_eight() -> None:
    patch = np.arange(16, dtype=np.uint8).reshape(4, 4)
    made = {turn(patch, way).tobytes() for way in range(8)}
    assert len(made) == 8
    assert np.array_equal(turn(patch, 0), patch)
    colour = np.stack([patch] * 3, axis=2)
    assert all(np.array_equal(turn(colour, w)[..., 1], turn(patch, w)) for w in range(8))


def test_turning_changes_the_patch_and_not_what_it_shows(photos: Manifest, tmp_path: Path) -> None:
    plain, turned = (fresh(photos, tmp_path / "d", turned=t) for t in (False, True))
    rows = plain.rows[:40]
    a, b = plain.read(rows, [1, 0, 0])[0], turned.read(rows, [1, 0, 0])[0]
    assert np.array_equal(np.sort(a.reshape(40, -1)), np.sort(b.reshape(40, -1)))
    assert 20 < (a != b).any(axis=(1, 2)).sum() < 40
    assert plain.hash != turned.hash


def test_photos_that_are_lost_give_no_rows(photos: Manifest, tmp_path: Path) -> None:
    whole = fresh(photos, tmp_path / "d")
    lost = whole.plan.manifest.photos[0]
    places = {s: place for s, place in whole.photos.places.items() if s != lost.sha256}
    less = replace(whole, photos=replace(whole.photos, places=places))
    assert set(whole.rows) - set(less.rows) == set(np.flatnonzero(whole.plan.photo == 0))
