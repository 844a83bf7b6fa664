"""Which blocks a plan takes, in how many versions, and where they lie."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.patches.cutting import central_blocks
from phototrace.patches.manipulations import NamedEdits, unaltered
from phototrace.patches.plan import PatchPlan, PatchSettings, plan_patches
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.splits import Split

EDITED = PatchSettings(
    ("one", "two", "three"), "edit", 64, editing=("block", "region"), seed=5,
    edits=NamedEdits(dict.fromkeys(("one", "two", "three"), unaltered)),
)  # fmt: skip
CAMERAS = PatchSettings(("Make A", "Make B"), "camera", 64, blocks="random", seed=5)


def record(number: int, model: str, height: int = 200, width: int = 216) -> PhotoRecord:
    sha256 = f"{7919 * (number + 1):015x}".ljust(64, "0")
    return PhotoRecord(
        sha256[:16], f"{number}.jpg", sha256, "Make", model, width=width, height=height
    )


def planned(
    settings: PatchSettings, *records: PhotoRecord, parts: tuple[str, ...] = ("train",)
) -> PatchPlan:
    """Photos in turn to the parts."""
    part = {r.id: parts[k % len(parts)] for k, r in enumerate(records)}
    manifest = Manifest(records, Path())
    return plan_patches(manifest, Split("photo", 0, part, {}, ""), settings, parts=parts)


def blocks(plan: PatchPlan) -> list[tuple[str, int, int]]:
    paths = [plan.manifest.photos[i].path for i in plan.photo]
    return list(zip(paths, plan.row.tolist(), plan.column.tolist(), strict=True))


def test_blocks_edited_alone_are_the_central_ones_and_come_in_every_version() -> None:
    plan = planned(replace(EDITED, editing=("block",)), record(0, "A"))
    expected = Counter({("0.jpg", *place): 3 for place in central_blocks(200, 216, 64)})
    assert Counter(blocks(plan)) == expected
    assert plan.count("train").tolist() == [9, 9, 9]


def test_edited_regions_meet_every_offset_to_the_grid_and_stay_in_the_photo() -> None:
    """Moved by up to half a cell; all versions of a block alike, also at the very edge."""
    offsets = set()
    for height, width in ((400, 500), (192, 300), (300, 192)):  # 192 leaves no room to move
        records = [record(k, "A", height, width) for k in range(40)]
        plan = planned(EDITED, *records)
        near = np.array(central_blocks(height, width, 64))
        region = plan.editing == 1
        versions = np.stack([plan.photo, plan.row, plan.column], axis=1)[region].reshape(-1, 3, 3)
        assert (versions == versions[:, :1]).all()
        for _, row, column in versions[:, 0]:
            away = (row, column) - near
            assert ((away >= -4) & (away < 4)).all(axis=1).any()
            assert 0 <= row <= height - 64
            assert 0 <= column <= width - 64
            offsets.add((int(row) % 8, int(column) % 8))
    assert len(offsets) == 64


def test_regions_of_one_photo_are_moved_apart() -> None:
    plan = planned(EDITED, record(0, "A", 400, 500))
    region = plan.editing == 1
    phases = {(r % 8, c % 8) for r, c in zip(plan.row[region], plan.column[region], strict=True)}
    assert len(phases) > 3


@pytest.mark.parametrize("most", [1, 7, 8, 17])
def test_no_more_of_a_class_than_asked_for_and_as_many_of_each(most: int) -> None:
    """Spread over both ways of editing, and evenly over photos."""
    records = [record(k, "A") for k in range(4)]
    plan = planned(replace(EDITED, per_class={"train": most}), *records)
    assert plan.count("train").tolist() == [most] * 3
    ways = Counter(plan.editing.tolist())
    assert ways[0] - ways[1] in (0, 3)
    per_photo = Counter(path for path, *_ in blocks(plan)).values()
    assert max(per_photo) - min(per_photo) <= 6


def test_every_photo_gives_as_many_blocks_before_one_gives_more() -> None:
    records = [record(0, "A", 600, 600), record(1, "A"), record(2, "A"), record(3, "B")]
    plan = planned(replace(CAMERAS, per_class={"train": 10}), *records)
    found = Counter(path for path, *_ in blocks(plan))
    assert sorted((found["0.jpg"], found["1.jpg"], found["2.jpg"])) == [3, 3, 4]
    assert found["3.jpg"] == 9  # all there are


def test_no_more_blocks_of_a_photo_than_asked_for() -> None:
    records = [record(0, "A"), record(1, "B"), record(2, "B", 90, 90)]
    plan = planned(replace(CAMERAS, blocks_per_photo=4), *records)
    assert Counter(path for path, *_ in blocks(plan)) == {"0.jpg": 4, "1.jpg": 4, "2.jpg": 1}


def test_balance_cuts_every_class_to_the_fewest_and_says_by_how_much() -> None:
    records = [record(0, "A"), record(1, "A"), record(2, "A"), record(3, "B")]
    plain, cut = planned(CAMERAS, *records), planned(replace(CAMERAS, balanced=True), *records)
    assert plain.count("train").tolist() == [27, 9]
    assert plain.cut == {}
    assert cut.count("train").tolist() == [9, 9]
    assert cut.cut == {"train": {"Make A": 18}}
    # What the recipe would not take anyway is not cut.
    some = planned(replace(CAMERAS, balanced=True, per_class={"train": 12}), *records)
    assert some.count("train").tolist() == [9, 9]
    assert some.cut == {"train": {"Make A": 3}}
    few = planned(replace(CAMERAS, balanced=True, per_class={"train": 5}), *records)
    assert few.count("train").tolist() == [5, 5]
    assert few.cut == {}


def test_a_class_without_photos_is_refused_in_training_and_elsewhere_if_balanced() -> None:
    only_a = [record(k, "A") for k in range(2)]
    with pytest.raises(UsageError, match="train part has no photo of Make B"):
        planned(CAMERAS, *only_a)
    mixed = [record(0, "A"), record(1, "A"), record(2, "B"), record(3, "A")]
    parts = ("train", "validation")
    plan = planned(CAMERAS, *mixed, parts=parts)
    assert plan.count("validation").tolist() == [18, 0]
    with pytest.raises(UsageError, match="validation part has no photo of Make B"):
        planned(replace(CAMERAS, balanced=True), *mixed, parts=parts)


def test_counts_are_of_a_part_and_of_the_rows_asked_for() -> None:
    plan = planned(CAMERAS, *(record(k, "AB"[k // 3 % 2]) for k in range(6)), parts=PARTS)
    for part in PARTS:
        assert plan.count(part).tolist() == [9, 9]
        assert plan.total(part) == 18
    rows = np.flatnonzero(plan.part == 0)[:4]
    assert plan.count("train", rows).sum() == 4
    assert plan.count("test", rows).tolist() == [0, 0]


def test_other_photos_and_settings_make_another_plan() -> None:
    one = planned(CAMERAS, record(0, "A"), record(1, "B"))
    assert planned(CAMERAS, record(0, "A"), record(1, "B")).hash == one.hash
    assert planned(replace(CAMERAS, recompress=70), record(0, "A"), record(1, "B")).hash != one.hash
    changed = replace(record(1, "B"), sha256=record(1, "B").sha256[:-1] + "1")
    assert planned(CAMERAS, record(0, "A"), changed).hash != one.hash
