"""The most photos of a part: how they are drawn."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits
from phototrace.patches.plan import PatchPlan, PatchSettings, plan_patches
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.splits import Split, make_split

SETTINGS = PatchSettings(
    tuple(MANIPULATIONS), "manipulation", 64, photos={"train": 10, "test": 4},
    edits=NamedEdits(MANIPULATIONS), seed=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def many() -> Manifest:
    """Sixty photos of two cameras by their sizes alone: planning opens none."""
    records = [
        PhotoRecord(
            f"{number * 7919:016x}", f"{number}.jpg", f"{number * 7919:016x}".ljust(64, "0"),
            "Make", "AB"[number % 2], width=216, height=200,
        )
        for number in range(60)
    ]  # fmt: skip
    return Manifest(tuple(records), Path())


@pytest.fixture(scope="module")
def split(many: Manifest) -> Split:
    return make_split(many, "photo", 1)


def photos_of(plan: PatchPlan, part: str) -> set[str]:
    used = {int(i) for i in plan.photo[plan.part == PARTS.index(part)]}
    return {plan.manifest.photos[i].path for i in used}


def test_no_more_photos_of_a_part_are_taken_than_asked_for(many: Manifest, split: Split) -> None:
    plan = plan_patches(many, split, SETTINGS)
    of_part = {part: {p.path for p in split.photos(many, part).photos} for part in PARTS}
    assert [len(photos_of(plan, part)) for part in PARTS] == [10, len(of_part["validation"]), 4]
    assert all(photos_of(plan, part) <= of_part[part] for part in PARTS)
    assert plan.count("train").tolist() == [90] * 6
    assert photos_of(plan, "validation") == of_part["validation"]


def test_the_draw_is_of_the_seed_and_not_of_the_order(many: Manifest, split: Split) -> None:
    plan = plan_patches(many, split, SETTINGS)
    shuffled = list(many.photos)
    random.Random(3).shuffle(shuffled)
    assert plan_patches(replace(many, photos=tuple(shuffled)), split, SETTINGS).hash == plan.hash
    drawn = {
        frozenset(photos_of(plan_patches(many, split, replace(SETTINGS, seed=seed)), "train"))
        for seed in range(8)
    }
    assert len(drawn) == 8
    more = plan_patches(many, split, replace(SETTINGS, photos={"train": 11}))
    assert photos_of(plan, "train") < photos_of(more, "train")


def test_more_than_there_are_takes_all(many: Manifest, split: Split) -> None:
    plain = plan_patches(many, split, replace(SETTINGS, photos={}))
    plenty = plan_patches(many, split, replace(SETTINGS, photos=dict.fromkeys(PARTS, 1000)))
    assert [photos_of(plenty, part) for part in PARTS] == [photos_of(plain, part) for part in PARTS]
    assert plenty.hash != plain.hash  # settings count


def test_cameras_are_drawn_among_the_photos_of_their_classes(many: Manifest, split: Split) -> None:
    one = PatchSettings(("Make A",), "camera", 64, photos={"train": 5, "test": 2}, seed=2)
    plan = plan_patches(many, split, one)
    assert {p.camera for p in plan.manifest.photos} == {"Make A"}
    assert (len(photos_of(plan, "train")), len(photos_of(plan, "test"))) == (5, 2)
