"""Every stored patch, and all that the store's index says of it, is as planned."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from phototrace.files import sha256_of
from phototrace.patches import building
from phototrace.patches.building import build_store, cut_patches, photo_pixels, recompressed
from phototrace.patches.manipulations import NamedEdits, Pixels, unaltered, white_noise
from phototrace.patches.plan import PatchPlan, PatchSettings, plan_patches
from phototrace.patches.store import PatchStore
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import read_pixels
from phototrace.photos.splits import make_split

SETTINGS = PatchSettings(
    ("plain", "noisy"), "edit", 64, seed=5, editing=("region", "block"),
    edits=NamedEdits({"plain": unaltered, "noisy": white_noise}),
)  # fmt: skip


@pytest.fixture(scope="module")
def plan(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> PatchPlan:
    """The photos and one that is too small."""
    path = tmp_path_factory.mktemp("small") / "small.jpg"
    Image.fromarray(np.zeros((90, 500, 3), np.uint8)).save(path)
    sha256 = sha256_of(path)
    small = replace(
        photos.photos[0], id=sha256[:16], sha256=sha256, path=str(path), height=90, width=500
    )
    manifest = replace(photos, photos=(*photos.photos, small))
    return plan_patches(manifest, make_split(manifest, "photo", 1), SETTINGS)


@pytest.fixture(scope="module")
def store(plan: PatchPlan, tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    """In several shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "SHARD_BYTES", 1_000_000)
        made = build_store(plan, tmp_path_factory.mktemp("store") / "store")
    assert len(set(made.column("shard"))) > 2
    return made


def test_the_index_says_what_was_planned(plan: PatchPlan, store: PatchStore) -> None:
    records = [plan.manifest.photos[i] for i in plan.photo]
    expected = {
        "photo": [r.id for r in records],
        "camera": [r.camera for r in records],
        "device": [r.device_id for r in records],
        "scene": [r.scene for r in records],
        "part": [PARTS[k] for k in plan.part],
        "editing": [("region", "block")[k] for k in plan.editing],
        "row": plan.row.tolist(),
        "column": plan.column.tolist(),
        "grid_row": [row % 8 for row in plan.row.tolist()],
        "grid_column": [column % 8 for column in plan.column.tolist()],
        "label": plan.label.tolist(),
    }
    for name, values in expected.items():
        assert len(set(values)) > 1, name
        assert store.column(name).tolist() == values, name
    for part in PARTS:
        assert store.rows(part).tolist() == np.flatnonzero(store.column("part") == part).tolist()
        assert store.facts["count"][part] == plan.count(part).tolist()
    assert store.facts["patches"] == len(store) == len(plan)


def test_photos_without_a_block_are_named(plan: PatchPlan, store: PatchStore) -> None:
    (small,) = plan.too_small
    assert store.facts["too_small"] == [{"id": small.id, "path": small.path}]
    assert store.facts["skipped"] == []
    assert json.loads((store.folder / "store.json").read_text()) == store.facts


def test_every_patch_lies_where_the_index_says(plan: PatchPlan, store: PatchStore) -> None:
    """Cut again photo by photo, in the middle of other photos' rows."""
    for photo in range(0, len(plan.manifest.photos), 6):
        rows = np.flatnonzero(plan.photo == photo)
        expected = cut_patches(photo_pixels(plan, photo), rows.tolist(), plan)
        np.testing.assert_array_equal(store.read(rows), expected)
        pixels = read_pixels(plan.manifest.path_of(plan.manifest.photos[photo]))
        for k, row in enumerate(rows):
            place = np.s_[plan.row[row] : plan.row[row] + 64, plan.column[row] :][:2]
            block = pixels[place][:, :64].astype(int)
            most = 0 if plan.label[row] == 0 else 12  # six sigmas of the noise
            assert np.abs(expected[k] - block).max() <= most


def test_blocks_are_edited_alone_and_regions_with_their_surroundings(photos: Manifest) -> None:
    """By an edit that paints what it is given with the height of it."""

    def height(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        return np.full_like(pixels, pixels.shape[0])

    edits = NamedEdits({"plain": unaltered, "noisy": height})
    plan = plan_patches(
        photos, make_split(photos, "photo", 1), replace(SETTINGS, edits=edits), parts=["train"]
    )
    rows = np.flatnonzero((plan.photo == 0) & (plan.label == 1))
    painted = cut_patches(photo_pixels(plan, 0), rows.tolist(), plan)
    alone = plan.editing[rows] == plan.settings.ways.index("block")
    assert alone.sum() == 9
    assert set(painted[alone].ravel().tolist()) == {64}
    assert painted[~alone].min() > 64


def test_recompression_halves_the_colours_each_way() -> None:
    """4:2:0: beside each other, colours differ far less than before."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    found = recompressed(pixels, 60)
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).mean() > 10
    for axis in (0, 1):
        before, after = (
            np.abs(np.diff(np.asarray(Image.fromarray(rgb).convert("YCbCr"))[..., 1].astype(int),
                           axis=axis)).mean()
            for rgb in (pixels, found)
        )  # fmt: skip
        assert after < 0.3 * before
