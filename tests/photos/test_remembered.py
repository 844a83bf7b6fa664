"""Photos are known again by what is kept of them, which names nobody."""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phototrace.errors import DamagedError
from phototrace.photos.audit import audit
from phototrace.photos.bursts import find_bursts
from phototrace.photos.completing import with_traces
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.perceptual import look, phash
from phototrace.photos.remembered import Recognised, Remembered, recognise, remember

KEY = bytes(range(32))
Record = Callable[..., PhotoRecord]


@pytest.fixture
def record(picture: Callable[..., Image.Image]) -> Record:
    """A photo of a picture of its own; its SHA-256 is made up."""

    def make(
        seed: int, *, image: Image.Image | None = None, name: str = "", **facts: Any
    ) -> PhotoRecord:
        green = np.asarray(image or picture(seed, (300, 200)))[..., 1]
        sha256 = f"{seed:08x}{name:0<8}".encode().hex()[:64].ljust(64, "0")
        extra = {"phash": phash(green), "look": look(green),
                 "body": facts.pop("body", ""), "taken": facts.pop("taken", "")}  # fmt: skip
        given = {"make": "Canon", "model": "EOS 6D", "device": "1", **facts}
        return PhotoRecord(sha256[:16], f"{seed}{name}.jpg", sha256, **given, extra=extra)

    return make


def found(known: list[PhotoRecord], *tests: PhotoRecord, key: bytes = KEY) -> Recognised:
    return recognise(remember(known, key), Manifest(tests, Path()), {p.sha256 for p in known})


def saved(image: Image.Image, quality: int, scale: float) -> Image.Image:
    size = (round(image.width * scale), round(image.height * scale))
    buffer = io.BytesIO()
    image.resize(size).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(("quality", "scale"), [(95, 1.0), (60, 1.0), (80, 0.5), (85, 1.4)])
@pytest.mark.parametrize("key", [KEY, b""])
def test_a_photo_saved_again_is_known(
    record: Record, picture: Callable[..., Image.Image], quality: int, scale: float, key: bytes
) -> None:
    known = [record(n) for n in range(20)]
    copy = record(
        99, image=saved(picture(7, (300, 200)), quality, scale),
        make="", model="", device="", name="copy",
    )  # fmt: skip
    other = record(50, model="D70", make="Nikon", device="2")
    assert found(known, copy, other, known[3], key=key).reasons == {
        copy.id: "resaved",
        known[3].id: "same file",
    }


def test_one_scene_by_two_devices_is_no_copy(
    record: Record, picture: Callable[..., Image.Image]
) -> None:
    known = [record(1, scene="hall")]
    image = saved(picture(1, (300, 200)), 90, 1.0)
    same = [record(2, image=image, scene="hall", device=d, name="b") for d in ("2", "")]
    assert found(known, same[0]).reasons == {}
    assert found(known, same[1]).reasons == {same[1].id: "resaved"}


def test_a_burst_is_known_by_device_and_time(record: Record) -> None:
    known = [record(1, taken="2020-05-05T10:00:00"), record(2, taken="")]
    third = record(3, taken="2020-05-05T10:00:09")
    later = record(4, taken="2020-05-05T10:00:11")
    other = record(5, taken="2020-05-05T10:00:00", device="2")
    untimed = record(6)
    assert found(known, third, later, other, untimed).reasons == {third.id: "same burst"}
    # What shares a burst with a photo that is known goes with it.
    pair = [replace(third, burst="b"), replace(untimed, burst="b")]
    assert set(found(known, *pair).reasons) == {third.id, untimed.id}
    named = replace(untimed, burst="x"), replace(later, burst="x")
    assert found([*known, replace(record(9), burst="x")], *named).reasons.keys() == {
        untimed.id, later.id,
    }  # fmt: skip


@pytest.mark.parametrize(("trained", "tested"), [("1", ""), ("", "1"), ("", "third")])
def test_a_photo_that_does_not_tell_its_device_may_be_of_a_burst(
    record: Record, trained: str, tested: str
) -> None:
    known = [record(1, device=trained, taken="2020-05-05T10:00:00")]
    third = record(2, device=tested, taken="2020-05-05T10:00:04")
    later = record(3, device=tested, taken="2020-05-05T11:00:00")
    other = record(4, device=tested, model="D70", make="Nikon", taken="2020-05-05T10:00:04")
    assert found(known, third, later, other).reasons == {third.id: "same burst"}
    assert third.id in found(known, third).device


def test_a_clock_that_was_reset_makes_no_burst(record: Record) -> None:
    when = "2000-01-01T00:00:00"
    assert found([record(n, taken=when) for n in range(3)], record(9, taken=when)).reasons == {}
    known = [record(n, taken=when) for n in range(2)]
    assert len(found(known, record(9, taken=when)).reasons) == 1


def test_a_device_is_met_by_name_body_or_a_photo_beside(record: Record) -> None:
    known = [
        record(1, device="0", body="12345", taken="2020-05-05T10:00:00"),
        record(2, device="", model="D70", make="Nikon", body="777"),
    ]
    by_name = record(3, device="0")
    by_body = record(4, device="attic", body="777", model="X", make="Y")
    its_other = record(5, device="attic", model="X", make="Y")
    never = record(6, device="9", body="888")
    unknown = record(7, device="", model="D70", make="Nikon")
    assert found(known, by_name, by_body, its_other, never, unknown).device == {
        by_name.id, by_body.id, its_other.id,
    }  # fmt: skip
    beside = [
        record(8, device="", model="EOS 6D", taken="2020-05-05T10:00:01"),
        record(9, device="0", name="x"),
    ]
    assert found(known, *beside).reasons == {beside[0].id: "same burst"}
    assert found(known, *beside).device == {beside[0].id, beside[1].id}


def test_without_the_key_names_are_not_known(record: Record, tmp_path: Path) -> None:
    known = remember([record(1, device="0", body="12345", scene="hall", burst="b")], KEY)
    known.save(tmp_path / "k.parquet")
    text = (tmp_path / "k.parquet").read_bytes()
    assert not [name for name in (b"12345", b"hall", b"EOS 6D", b"1.jpg") if name in text]
    again = Remembered.load(tmp_path / "k.parquet", KEY)
    for name in ("hashed", "phash", "look", "taken", "model", "device", "body", "scene",
                 "known_device"):  # fmt: skip
        assert np.array_equal(getattr(known, name), getattr(again, name))
        assert getattr(known, name).dtype == getattr(again, name).dtype
    assert again.tells_devices
    keyless = Remembered.load(tmp_path / "k.parquet", b"")
    assert not keyless.tells_devices
    test = record(2, device="0", body="12345", scene="hall")
    told = recognise(keyless, Manifest((test,), Path()), set())
    assert told == Recognised()
    with pytest.raises(DamagedError, match="key"):
        Remembered.load(tmp_path / "k.parquet", bytes(32))
    other = remember([record(1, device="0", body="12345")], bytes(32))
    assert other.device[0] != known.device[0]
    assert other.body[0] != known.body[0]


@pytest.mark.parametrize("cut", [0, 10, 500])
def test_a_damaged_list_is_refused(record: Record, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "k.parquet"
    remember([record(1)], KEY).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedError, match=r"k\.parquet"):
        Remembered.load(path, KEY)


def test_joining_under_another_key_loses_names(record: Record) -> None:
    one, two = remember([record(1)], KEY), remember([record(2, scene="hall")], bytes(32))
    both = one.join(two)
    assert len(both) == 2
    assert not both.tells_devices
    assert both.scene.tolist() == ["", ""]
    assert one.join(remember([record(2)], KEY)).tells_devices
    test = record(5, device="1", name="z")
    assert recognise(both, Manifest((test,), Path()), set()).device == {test.id}


def test_nothing_is_known_among_nothing(record: Record) -> None:
    assert found([], record(1)) == Recognised()
    assert found([record(1)]) == Recognised()


def test_traces_are_added_once_and_what_is_there_stays(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(photos.photos[0], extra={"taken": "2001-01-01T00:00:00", "colour": "red"})
    changed = replace(photos.photos[1], sha256="0" * 64)
    gone = replace(photos.photos[2], path="gone.jpg")
    manifest = replace(photos, photos=(own, changed, gone, *photos.photos[3:]))
    full = with_traces(manifest, tmp_path / "new")
    assert full.photos[0].extra.keys() == {"phash", "look", "body", "taken", "colour"}
    assert full.photos[0].extra["taken"] == "2001-01-01T00:00:00"
    assert full.photos[1:3] == (changed, gone)
    assert full.hash == manifest.hash
    monkeypatch.setattr("phototrace.photos.reading.read_whole", None)
    again = with_traces(replace(photos, photos=(own, *photos.photos[3:])), tmp_path / "new")
    assert again.photos[1:] == full.photos[3:]
    assert with_traces(again, tmp_path / "none") == again
    assert not (tmp_path / "none").exists()


def test_thousands_of_equal_flat_photos_take_seconds() -> None:
    """Covers left on and blank scans: all hashes are equal, and looks tell nothing."""
    flat = {"phash": "8" + "0" * 15, "look": "0" * 128, "body": "", "taken": ""}
    photos = tuple(
        PhotoRecord(f"{n:016x}", f"{n}.jpg", f"{n:064x}", "Canon", "EOS 6D", "1", extra=flat)
        for n in range(6000)
    )
    start = time.perf_counter()
    assert len(set(find_bursts(photos).values())) == 1
    assert audit(Manifest(photos, Path())) == []
    tests = Manifest(photos[3000:], Path())
    assert len(recognise(remember(photos[:3000], KEY), tests, set()).reasons) == 3000
    assert time.perf_counter() - start < 10


def test_a_device_that_a_folder_names_is_met_where_a_photo_of_its_model_lies_beside(
    record: Record,
) -> None:
    """One body in two folders: no serial numbers, seconds apart."""
    when, beside, later = (f"2020-05-05T10:00:{s:02d}" for s in (0, 6, 30))
    known = [record(1, taken=when)]
    shot = record(2, device="third", taken=beside)
    its_other = record(3, device="third")
    told = found(known, shot, its_other)
    assert told.reasons == {}
    assert told.device == {shot.id, its_other.id}
    assert found(known, record(2, device="third", taken=later)).device == frozenset()
    assert found(known, record(2, device="third", taken=beside, body="777")).device == frozenset()
    collection = record(2, device="third", taken=beside, corpus="dresden")
    assert found(known, collection).device == frozenset()
