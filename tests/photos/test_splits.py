import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from phototrace.errors import UsageError
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.splits import BY, Split, make_split


def record(number: int, **values: Any) -> PhotoRecord:
    sha256 = f"{number:03x}".ljust(16, "5") + f"{number:048x}"
    labels: dict[str, Any] = {
        "make": "M",
        "model": "A",
        "device": "d0",
        "scene": "s0",
        "burst": "",
    } | values
    return PhotoRecord(sha256[:16], f"{number}.jpg", sha256, **labels)


def manifest_of(*photos: PhotoRecord) -> Manifest:
    return Manifest(photos, Path("somewhere"))


def cameras(models: str, devices: int, scenes: int, each: int = 2) -> Manifest:
    """Every device of every model photographs every scene `each` times."""
    rows = [
        {"model": model, "device": f"d{device}", "scene": f"s{scene}"}
        for model in models
        for device in range(devices)
        for scene in range(scenes)
        for _ in range(each)
    ]
    return manifest_of(*(record(number, **row) for number, row in enumerate(rows)))


def values(manifest: Manifest, split: Split, column: str) -> dict[str, set[str]]:
    return {
        part: {getattr(p, column) for p in split.photos(manifest, part).photos} for part in PARTS
    }


def sizes(split: Split) -> Counter[str]:
    return Counter(split.part.values())


rows = st.fixed_dictionaries(
    {
        "make": st.sampled_from(["M", ""]),
        "model": st.sampled_from(["A", "B", ""]),
        "device": st.sampled_from(["d0", "d1", "d2", ""]),
        "scene": st.sampled_from([f"s{n}" for n in range(6)]),
        "burst": st.sampled_from([""] * 8 + [f"b{n}" for n in range(4)]),
    }
)
manifests = st.lists(rows, min_size=3, max_size=40).map(
    lambda found: manifest_of(*(record(n, **row) for n, row in enumerate(found)))
)
forced_devices = st.lists(st.sampled_from(["M A / d0", "M B / d1"]), max_size=2)
generously = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


def split_or_assume(manifest: Manifest, by: str, seed: int, forced: list[str]) -> Split:
    known = {p.device_id for p in manifest.photos}
    try:
        chosen = [device for device in forced if device in known]
        return make_split(manifest, by, seed, test_devices=chosen)
    except UsageError:
        assume(False)
        raise


@pytest.mark.parametrize("by", BY)
@generously
@given(manifest=manifests, seed=st.integers(0, 99), forced=forced_devices)
def test_bursts_stay_whole_and_promises_are_kept(
    by: str, manifest: Manifest, seed: int, forced: list[str]
) -> None:
    split = split_or_assume(manifest, by, seed, forced)
    ids = {p.id for p in manifest.photos}
    assert set(split.part) | set(split.excluded) == ids
    assert not set(split.part) & set(split.excluded)
    assert set(split.part.values()) == set(PARTS)
    bursts = defaultdict(set)
    for p in manifest.photos:
        if p.burst and p.id in split.part:
            bursts[p.burst].add(split.part[p.id])
    assert all(len(parts) == 1 for parts in bursts.values())
    devices, scenes = values(manifest, split, "device_id"), values(manifest, split, "scene")
    if "device" in by:
        assert not devices["test"] & (devices["train"] | devices["validation"])
    if "scene" in by:
        assert not scenes["test"] & (scenes["train"] | scenes["validation"])
        assert not scenes["train"] & scenes["validation"]
    for p in manifest.photos:
        if p.device_id in forced and p.id in split.part:
            assert split.part[p.id] == "test"
        if p.device_id in forced and by in ("photo", "scene"):
            assert p.id in split.part


@pytest.mark.parametrize("by", BY)
@generously
@given(manifest=manifests, seed=st.integers(0, 99))
def test_order_and_paths_do_not_matter(by: str, manifest: Manifest, seed: int) -> None:
    split = split_or_assume(manifest, by, seed, [])
    shuffled = list(manifest.photos)
    random.Random(seed).shuffle(shuffled)
    moved = Manifest(tuple(replace(p, path=f"x/{p.path}") for p in shuffled), Path("else"))
    assert make_split(moved, by, seed) == split


@generously
@given(manifest=manifests, seed=st.integers(0, 99))
def test_by_photo_every_model_with_three_bursts_is_in_all_parts(
    manifest: Manifest, seed: int
) -> None:
    split = split_or_assume(manifest, "photo", seed, [])
    # A burst across models counts for the model of its first photo.
    joined = {p.burst for p in manifest.photos if p.burst}
    across = {b for b in joined if len({p.camera for p in manifest.photos if p.burst == b}) > 1}
    assume(not across)
    groups, found = defaultdict(set), defaultdict(set)
    for p in manifest.photos:
        groups[p.camera].add(p.burst or p.id)
        found[p.camera].add(split.part[p.id])
    for camera, bursts in groups.items():
        if len(bursts) >= 3:
            assert found[camera] == set(PARTS)


def test_the_draw_is_fixed_for_good() -> None:
    manifest = cameras("AB", 2, 5)
    assert {by: make_split(manifest, by, 1).hash[:8] for by in BY} == {
        "photo": "2548f8ff", "device": "f164d0bb", "scene": "1c547328",
        "device and scene": "4eb9a186",
    }  # fmt: skip


def test_hash_tells_settings_apart() -> None:
    manifest = cameras("AB", 3, 5)
    hashes = {
        make_split(manifest, "photo", 1).hash,
        make_split(manifest, "photo", 2).hash,
        make_split(manifest, "photo", 1, validation=0.2).hash,
        make_split(manifest, "photo", 1, test=0.3).hash,
        make_split(manifest, "photo", 1, test_devices=["M A / d1"]).hash,
        make_split(manifest, "device", 1).hash,
        make_split(manifest_of(*manifest.photos[:-1]), "photo", 1).hash,
    }
    assert len(hashes) == 7
    assert len({make_split(manifest, "photo", seed).hash for seed in range(20)}) == 20


def test_by_photo_comes_near_the_shares_in_every_model() -> None:
    manifest = cameras("AB", 1, 10, each=10)
    split = make_split(manifest, "photo", 3)
    for model in "AB":
        counts = Counter(split.part[p.id] for p in manifest.photos if p.model == model)
        assert counts == {"train": 70, "validation": 10, "test": 20}


def test_by_photo_a_huge_burst_trains() -> None:
    photos = [record(n, burst="huge" if n < 50 else "") for n in range(60)]
    for seed in range(10):
        split = make_split(manifest_of(*photos), "photo", seed)
        assert split.part[photos[0].id] == "train"
        assert sizes(split)["test"] + sizes(split)["validation"] == 10


def test_by_photo_a_model_with_few_bursts_is_noted() -> None:
    manifest = manifest_of(
        *(record(n) for n in range(9)), record(20, model="B"), record(21, model="B")
    )
    split = make_split(manifest, "photo", 1)
    assert split.notes == ("M B is not in the validation part: it has 2 photos.",)


@pytest.mark.parametrize(
    ("times", "why"),
    [(["2000-01-01T00:00:00"], ", each of photos that all carry the same time"),
     (["2000-01-01T00:00:00", "2000-01-01T00:00:01"], ""), ([""], "")],
)  # fmt: skip
def test_by_photo_a_model_of_few_bursts_says_why(times: list[str], why: str) -> None:
    shots = [
        record(20 + n, model="B", burst="xy"[n % 2], extra={"taken": times[n // 2 % len(times)]})
        for n in range(24)
    ]
    split = make_split(manifest_of(*(record(n) for n in range(9)), *shots), "photo", 1)
    expected = f"M B is not in the validation part: its 24 photos form 2 bursts{why}."
    assert split.notes == (expected,)


def test_by_device_holds_one_whole_device_of_each_model_out() -> None:
    manifest = cameras("ABC", 2, 5)
    split = make_split(manifest, "device", 1)
    assert Counter(d[:3] for d in values(manifest, split, "device_id")["test"]) == {
        "M A": 1, "M B": 1, "M C": 1
    }  # fmt: skip
    assert sizes(split) == {"test": 30, "train": 27, "validation": 3}
    assert split.notes == ()


def test_by_device_a_third_device_validates() -> None:
    manifest = cameras("AB", 3, 5)
    devices = values(manifest, make_split(manifest, "device", 1), "device_id")
    assert [len(devices[part]) for part in PARTS] == [2, 2, 2]
    assert not devices["train"] & devices["validation"]


def test_by_device_no_device_validates_where_none_may() -> None:
    """The paper: all devices of a model but one train, and that one tests."""
    manifest = cameras("AB", 4, 20)
    for seed in range(5):
        split = make_split(manifest, "device", seed, validation=0.05, validation_devices=False)
        devices = values(manifest, split, "device_id")
        assert Counter(d[:3] for d in devices["test"]) == {"M A": 1, "M B": 1}
        assert not devices["test"] & (devices["train"] | devices["validation"])
        assert len(devices["train"]) == 6
        assert devices["validation"] <= devices["train"]
        assert sizes(split) == {"test": 80, "train": 228, "validation": 12}
        tested = values(
            manifest, make_split(manifest, "device", seed, validation=0.05), "device_id"
        )
        assert devices["test"] == tested["test"]  # the same devices test


def test_by_device_without_validation_devices_bursts_stay_whole() -> None:
    rows = [record(n, device=f"d{n % 3}", burst=f"b{n // 6}-{n % 3}") for n in range(90)]
    split = make_split(manifest_of(*rows), "device", 1, validation_devices=False)
    assert not split.excluded
    for burst in {p.burst for p in rows}:
        assert len({split.part[p.id] for p in rows if p.burst == burst}) == 1


def test_the_hash_tells_whether_devices_may_validate() -> None:
    manifest = cameras("AB", 2, 5)
    may, not_any = (make_split(manifest, "device", 1, validation_devices=x) for x in (True, False))
    assert may.part == not_any.part  # of two devices none validates anyway
    assert may.hash != not_any.hash
    assert may.hash == make_split(manifest, "device", 1).hash


def test_by_device_a_model_with_one_device_is_not_tested_and_noted() -> None:
    one = tuple(record(900 + n, model="B") for n in range(10))
    manifest = manifest_of(*cameras("A", 2, 5).photos, *one)
    split = make_split(manifest, "device", 1)
    assert {split.part[p.id] for p in one} == {"train", "validation"}
    assert split.notes == ("M B has one device only, so it is not in the test part.",)


def test_by_device_the_largest_trains_and_a_tiny_one_is_not_drawn() -> None:
    counts = {"large": 45, "middle": 36, "tiny": 1}
    names = [device for device, count in counts.items() for _ in range(count)]
    manifest = manifest_of(*(record(n, device=device) for n, device in enumerate(names)))
    for seed in range(20):
        split = make_split(manifest, "device", seed)
        assert values(manifest, split, "device")["test"] == {"middle"}
        assert "middle" not in values(manifest, split, "device")["validation"]
    no_middle = manifest.where(device=["large", "tiny"])
    assert values(no_middle, make_split(no_middle, "device", 1), "device")["test"] == {"tiny"}


def test_by_device_another_photo_moves_no_device() -> None:
    manifest = cameras("ABCD", 4, 3)
    for seed in range(10):
        before = values(manifest, make_split(manifest, "device", seed), "device_id")
        more = manifest_of(*manifest.photos, record(999, device="d3"))
        after = values(more, make_split(more, "device", seed), "device_id")
        assert len(before["test"] ^ after["test"]) <= 2  # only model A, where d3 is now largest


def test_by_device_photos_that_may_be_of_a_test_device_are_excluded() -> None:
    lost = record(900, device="")
    nothing = record(901, make="", model="", device="")
    manifest = manifest_of(*cameras("A", 2, 5).photos, lost, nothing)
    split = make_split(manifest, "device", 1)
    assert set(split.excluded) == {lost.id, nothing.id}
    assert "unknown" in split.excluded[lost.id]
    assert len(split.notes) == 2
    harmless = manifest_of(*cameras("A", 2, 5).photos, record(900, model="B", device=""))
    assert not make_split(harmless, "device", 1).excluded


def test_by_device_test_devices_replace_the_draw_of_their_model() -> None:
    manifest = cameras("AB", 3, 5)
    for device in ("d0", "d1", "d2"):
        split = make_split(manifest, "device", 1, test_devices=[f"M A / {device}"])
        tested = values(manifest, split, "device_id")["test"]
        assert {d for d in tested if d.startswith("M A")} == {f"M A / {device}"}
        assert len(tested) == 2


def test_by_device_a_burst_over_two_devices_is_not_cut() -> None:
    manifest = cameras("A", 2, 5)
    first, last = manifest.photos[0], manifest.photos[-1]
    joined = manifest_of(
        replace(first, burst="b"), *manifest.photos[1:-1], replace(last, burst="b")
    )
    split = make_split(joined, "device", 1)
    (gone,) = split.excluded
    assert gone in (first.id, last.id)
    assert {split.part[p.id] for p in (first, last) if p.id != gone} == {"test"}


def test_by_scene_keeps_scenes_whole_and_needs_them_all() -> None:
    manifest = cameras("AB", 2, 10)
    split = make_split(manifest, "scene", 1)
    assert [len(found) for found in values(manifest, split, "scene").values()] == [7, 1, 2]
    unknown = manifest_of(*manifest.photos, record(901, scene=""), record(902, scene=""))
    with pytest.raises(UsageError, match=r"2 of 82 photos have no scene.*leave these photos out"):
        make_split(unknown, "scene", 1)


def test_by_scene_test_devices_take_their_scenes_along() -> None:
    manifest = manifest_of(*cameras("A", 1, 6).photos, record(900, device="x", scene="s2"))
    for seed in range(5):
        split = make_split(manifest, "scene", seed, test_devices=["M A / x"])
        assert "s2" in values(manifest, split, "scene")["test"]


def test_by_device_and_scene_counts_what_is_left_over() -> None:
    manifest = cameras("AB", 2, 10, each=1)
    split = make_split(manifest, "device and scene", 1)
    assert sizes(split) == {"train": 14, "validation": 2, "test": 4}
    assert Counter(split.excluded.values()) == {
        "a test device in a scene that is not a test scene": 16,
        "a test scene by a device that is not a test device": 4,
    }
    assert [note.split()[0] for note in split.notes] == ["16", "4"]


def test_the_same_file_under_two_labels_is_excluded() -> None:
    manifest = cameras("A", 2, 5)
    twice = replace(manifest.photos[0], device="d1", path="other.jpg")
    again = replace(manifest.photos[1], path="again.jpg")
    split = make_split(manifest_of(*manifest.photos, twice, again), "photo", 1)
    assert split.excluded == {
        twice.id: "the same file stands in several rows with different labels"
    }
    assert again.id in split.part


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: make_split(m, "camera", 1), "cannot be by 'camera'.*photo, device"),
        (lambda m: make_split(m, "photo", 1, validation=0.0), "leave no photos"),
        (lambda m: make_split(m, "photo", 1, validation=0.5, test=0.5), "leave no photos"),
        (lambda m: make_split(m, "photo", 1, test=float("nan")), "leave no photos"),
        (lambda m: make_split(m, "photo", 1, test_devices=["x"]), "no device 'x'"),
        (lambda m: make_split(m.where(device="d0"), "device", 1), "test part empty.*one device"),
        (lambda m: make_split(m.where(scene=["s0", "s1"]), "scene", 1), "validation part empty"),
        (lambda m: make_split(manifest_of(), "photo", 1), "train part empty"),
        (lambda m: make_split(m, "photo", 1).photos(m, "valid"), "no part 'valid'"),
    ],
)
def test_what_cannot_be_meant_is_said(call: Callable[[Manifest], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(cameras("A", 2, 5))


def test_ten_thousand_photos_are_split_in_no_time() -> None:
    import time

    manifest = cameras("ABCDEFGHIJ", 5, 100, each=2)
    for by in BY:
        start = time.process_time()
        make_split(manifest, by, 1)
        assert time.process_time() - start < 3
