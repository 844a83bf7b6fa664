import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phototrace.errors import DamagedError, UsageError
from phototrace.patches import building
from phototrace.patches.building import build_store, recompressed
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits, Pixels
from phototrace.patches.plan import PatchPlan, PatchSettings, plan_patches
from phototrace.patches.store import PatchStore, shard_name
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import read_pixels
from phototrace.photos.splits import make_split

SIX = tuple(MANIPULATIONS)
SETTINGS = PatchSettings(
    classes=SIX, label="manipulation", size=64, edits=NamedEdits(MANIPULATIONS),
    editing=("block", "region"), seed=5,
)  # fmt: skip


def _plan(manifest: Manifest, settings: PatchSettings = SETTINGS) -> PatchPlan:
    return plan_patches(manifest, make_split(manifest, "photo", 1), settings)


def test_every_block_comes_in_all_six_versions_and_both_ways(photos: Manifest) -> None:
    plan = _plan(photos)
    for part in ("train", "validation", "test"):
        assert len(set(plan.count(part).tolist())) == 1
    blocks = {
        (p, r, c, w)
        for p, r, c, w in zip(plan.photo, plan.row, plan.column, plan.editing, strict=True)
    }
    assert len(plan) == 6 * len(blocks)
    assert len(plan) == len(photos.photos) * 9 * 2 * 6


def test_the_plan_is_a_function_of_photos_and_seed(photos: Manifest) -> None:
    backwards = Manifest(photos=photos.photos[::-1], root=photos.root)
    assert _plan(photos).hash == _plan(backwards).hash
    other = PatchSettings(**{**vars(SETTINGS), "seed": 6})
    assert _plan(photos).hash != _plan(photos, other).hash


def test_camera_patches_are_balanced_and_spread_over_photos(photos: Manifest) -> None:
    cameras = tuple(sorted({r.camera for r in photos.photos}))
    fewer = Manifest(photos=photos.photos[:-2], root=photos.root)
    settings = PatchSettings(cameras, "camera", 64, blocks="random", balanced=True)
    plan = _plan(fewer, settings)
    train = plan.part == 0
    assert len(set(plan.count("train").tolist())) == 1
    for label in range(len(cameras)):
        per_photo = np.bincount(plan.photo[train & (plan.label == label)])
        per_photo = per_photo[per_photo > 0]
        assert per_photo.max() - per_photo.min() <= 1
    limited = _plan(fewer, PatchSettings(**{**vars(settings), "per_class": {"train": 7}}))
    assert set(limited.count("train").tolist()) == {7}


def test_photos_too_small_are_named(photos: Manifest) -> None:
    with pytest.raises(UsageError, match="too small for blocks of 256"):
        _plan(photos, PatchSettings(**{**vars(SETTINGS), "size": 256}))


def test_stored_patches_are_those_of_the_photos(photos: Manifest, tmp_path: Path) -> None:
    store = build_store(_plan(photos), tmp_path / "store")
    store.verify()
    assert store.classes == SIX
    editing, names = store.column("editing"), store.column("photo")
    rows = np.flatnonzero((store.label == 0) & (editing == "block"))
    patches = store.read(rows)
    by_id = {r.id: r for r in photos.photos}
    for row, patch in list(zip(rows, patches, strict=True))[::7]:
        pixels = read_pixels(photos.path_of(by_id[names[row]]))
        top, left = store.column("row")[row], store.column("column")[row]
        assert np.array_equal(patch, pixels[top : top + 64, left : left + 64])
    assert set(store.column("grid_row")) <= set(range(8))
    assert store.read(np.array([], dtype=np.int64)).shape == (0, 64, 64)


def test_reading_keeps_the_order_asked_for(
    photos: Manifest, small_shards: None, tmp_path: Path
) -> None:
    store = build_store(_plan(photos), tmp_path / "store")
    assert len(list(tmp_path.glob("store/*.npy"))) > 3
    rows = np.random.default_rng(0).permutation(len(store))[:50]
    one_by_one = np.concatenate([store.read(rows[i : i + 1]) for i in range(50)])
    assert np.array_equal(store.read(rows), one_by_one)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "SHARD_BYTES", 1_000_000)


def test_an_interrupted_build_goes_on_to_the_same_store(
    photos: Manifest, small_shards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_store(_plan(photos), tmp_path / "whole")

    def breaks(
        work: Callable[[object], object], items: list[object], label: str
    ) -> Iterator[object]:
        for item in items[:2]:
            yield work(item)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "parallel_map", breaks)
        with pytest.raises(KeyboardInterrupt):
            build_store(_plan(photos), tmp_path / "broken")
    (tmp_path / "broken" / shard_name(1)).write_bytes(b"half")

    again = build_store(_plan(photos), tmp_path / "broken")
    assert again.hash == whole.hash
    again.verify()
    assert not list(tmp_path.glob("broken/.*.tmp"))


def test_a_photo_changed_since_indexing_is_skipped_and_named(
    photos: Manifest, tmp_path: Path
) -> None:
    plan = _plan(photos)
    victim = plan.manifest.photos[3]
    path = photos.path_of(victim)
    original = path.read_bytes()
    try:
        path.write_bytes(original[:-40])
        store = build_store(plan, tmp_path / "store")
    finally:
        path.write_bytes(original)
    assert [s["id"] for s in store.facts["skipped"]] == [victim.id]
    assert victim.id not in set(store.column("photo"))
    assert len(store) == len(plan) - 9 * 2 * 6
    kept = plan.photo != 3
    for name in ("row", "column", "label"):
        np.testing.assert_array_equal(store.column(name), getattr(plan, name)[kept])
    assert store.column("photo").tolist() == [plan.manifest.photos[i].id for i in plan.photo[kept]]
    store.verify()
    shards = [np.load(path) for path in sorted(store.folder.glob("*.npy"))]
    np.testing.assert_array_equal(np.concatenate(shards), store.read(np.arange(len(store))))


def test_a_photo_of_another_size_than_the_manifests_is_skipped_and_named(
    photos: Manifest, tmp_path: Path
) -> None:
    first, *others = photos.photos
    wrong = replace(photos, photos=(replace(first, height=first.height + 64), *others))
    store = build_store(_plan(wrong), tmp_path / "store")
    (skipped,) = store.facts["skipped"]
    assert skipped["id"] == first.id
    assert f"says {first.width} x {first.height + 64}. Index" in skipped["reason"]


def test_photos_without_a_size_are_no_photos_too_small(photos: Manifest) -> None:
    first, *others = photos.photos
    with pytest.raises(UsageError, match=r"no width and height of 1 photos.*index"):
        _plan(replace(photos, photos=(replace(first, width=0), *others)))


def test_a_changed_shard_is_found(photos: Manifest, tmp_path: Path) -> None:
    store = build_store(_plan(photos), tmp_path / "store")
    shard = tmp_path / "store" / shard_name(0)
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match="has changed"):
        store.verify()
    shard.write_bytes(bytes(data[:-1]))
    with pytest.raises(DamagedError, match="size"):
        PatchStore.load(tmp_path / "store")


def test_a_store_of_another_plan_or_version_is_refused(photos: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    build_store(_plan(photos), folder)
    other = PatchSettings(**{**vars(SETTINGS), "seed": 6})
    with pytest.raises(UsageError, match="another plan"):
        build_store(_plan(photos, other), folder)
    facts = json.loads((folder / "store.json").read_text())
    text = json.dumps({**facts, "version": 9})
    contents = json.loads((folder / "contents.json").read_text())
    contents["files"]["store.json"]["bytes"] = len(text)
    (folder / "contents.json").write_text(json.dumps(contents))
    (folder / "store.json").write_text(text)
    with pytest.raises(DamagedError, match="version 9"):
        PatchStore.load(folder)


def test_a_users_own_operation_is_stored(photos: Manifest, tmp_path: Path) -> None:
    def negative(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        return 255 - pixels

    edits = NamedEdits({**MANIPULATIONS, "negative": negative})
    settings = PatchSettings(("unaltered", "negative"), "sign", 64, edits=edits)
    store = build_store(_plan(photos, settings), tmp_path / "store")
    pairs = store.read(np.arange(len(store))).reshape(-1, 2, 64, 64)
    assert np.array_equal(pairs[:, 1], 255 - pairs[:, 0])
    with pytest.raises(UsageError, match="'negative'"):
        _plan(photos, replace(settings, edits=NamedEdits(MANIPULATIONS)))


def test_colour_patches_keep_three_channels(photos: Manifest, tmp_path: Path) -> None:
    settings = PatchSettings(**{**vars(SETTINGS), "channels": "rgb"})
    store = build_store(_plan(photos, settings), tmp_path / "store")
    assert store.read(np.arange(3)).shape == (3, 64, 64, 3)


def test_recompression_leaves_one_table(photos: Manifest, tmp_path: Path) -> None:
    rgb = read_pixels(photos.path_of(photos.photos[0]), channels="rgb")
    once = recompressed(rgb, 75)
    settings = PatchSettings(**{**vars(SETTINGS), "recompress": 75, "editing": ("block",)})
    plan = _plan(photos, settings)
    store = build_store(plan, tmp_path / "store")
    rows = np.flatnonzero((store.column("photo") == photos.photos[0].id) & (store.label == 0))
    top, left = store.column("row")[rows[0]], store.column("column")[rows[0]]
    assert np.array_equal(store.read(rows[:1])[0], once[top : top + 64, left : left + 64, 1])
    assert not np.array_equal(once, rgb)
