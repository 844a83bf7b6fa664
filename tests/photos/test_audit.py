from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from phototrace.errors import PhotoError, UsageError
from phototrace.photos.audit import Leak, audit, split_from_column
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.perceptual import phash
from phototrace.photos.photo import read_whole
from phototrace.photos.splits import Split, make_split

Picture = Callable[..., Image.Image]


def listed(folder: Path, name: str, part: str = "", burst: str = "") -> PhotoRecord:
    photo, green = read_whole(folder / name)
    extra = {"part": part, "phash": phash(green)}
    return PhotoRecord(
        photo.sha256[:16], name, photo.sha256, model="A", device=f"d-{part}", scene=f"s-{name}",
        burst=burst, extra=extra,
    )  # fmt: skip


@pytest.fixture
def clean(tmp_path: Path, picture: Picture) -> Manifest:
    """Thirty photos in three parts that share nothing; the last is without contrast."""
    photos = []
    for number in range(30):
        name = f"{number:02d}.jpg"
        picture(number).save(tmp_path / name)
        photos.append(listed(tmp_path, name, ["train", "validation", "test"][number % 3]))
    for part in ("train", "test"):
        Image.new("RGB", (64, 64), (9, 9, len(part))).save(tmp_path / f"flat-{part}.png")
        photos.append(listed(tmp_path, f"flat-{part}.png", part))
    return Manifest(tuple(photos), tmp_path)


def planted(clean: Manifest, **changed: dict[str, str]) -> Manifest:
    """The clean manifest with labels of some photos changed; p03 names 03.jpg."""
    return replace(
        clean,
        photos=tuple(replace(p, **changed.get(f"p{p.path[:2]}", {})) for p in clean.photos),  # type: ignore[arg-type]
    )


def found(manifest: Manifest, by: str = "device and scene") -> list[tuple[str, str, str]]:
    return [(k.kind, k.a, k.b) for k in audit(manifest, split_from_column(manifest, by=by))]


def test_a_clean_set_has_no_leaks(clean: Manifest) -> None:
    assert found(clean) == []
    assert audit(clean) == []


def test_a_photo_saved_again_is_found(clean: Manifest, picture: Picture) -> None:
    path = clean.root / "again.jpg"
    picture(3).resize((90, 60), Image.Resampling.LANCZOS).save(path, quality=50)
    manifest = replace(clean, photos=(*clean.photos, listed(clean.root, "again.jpg", "test")))
    (leak,) = audit(manifest, split_from_column(manifest))
    assert (leak.kind, leak.a, leak.b) == ("resaved", "03.jpg", "again.jpg")
    assert leak.parts == ("train", "test")
    assert "03.jpg in train" in leak.text
    assert [(k.kind, k.a, k.b, k.parts) for k in audit(manifest)] == [
        ("resaved", "03.jpg", "again.jpg", ("", ""))
    ]
    same_part = replace(clean, photos=(*clean.photos, listed(clean.root, "again.jpg", "train")))
    assert found(same_part) == []


def test_without_hashes_in_the_manifest_they_are_computed(
    clean: Manifest, picture: Picture
) -> None:
    picture(3).save(clean.root / "again.jpg", quality=50)
    photos = (*clean.photos, listed(clean.root, "again.jpg", "test"))
    bare = replace(clean, photos=tuple(replace(p, extra={"part": p.extra["part"]}) for p in photos))
    assert found(bare) == [("resaved", "03.jpg", "again.jpg")]


def test_near_hashes_of_different_pictures_are_not_enough(clean: Manifest) -> None:
    one = dict(clean.photos[0].extra)
    photos = tuple(replace(p, extra={**p.extra, "phash": one["phash"]}) for p in clean.photos)
    assert found(replace(clean, photos=photos)) == []


def test_the_same_file_in_two_parts_is_found(clean: Manifest) -> None:
    first = clean.photos[0]
    copy = replace(first, path="copy.jpg", extra={**first.extra, "part": "test"})
    manifest = replace(clean, photos=(copy, *clean.photos))
    split = split_from_column(manifest)
    assert [(k.kind, k.a, k.b, k.parts) for k in audit(manifest, split)] == [
        ("same file", "00.jpg", "copy.jpg", ("train", "test"))
    ]
    assert [(k.kind, k.a, k.b) for k in audit(manifest)] == [("same file", "copy.jpg", "00.jpg")]


def test_a_burst_on_two_sides_is_found_once(clean: Manifest) -> None:
    burst = {"burst": "b"}
    manifest = planted(clean, p00=burst, p03=burst, p02=burst, p05=burst)
    (leak,) = audit(manifest, split_from_column(manifest))
    assert (leak.kind, leak.parts) == ("same burst", ("train", "test"))
    assert "2 photo(s) in train and 2 in test" in leak.text
    assert found(planted(clean, p00=burst, p03=burst)) == []


def test_a_burst_of_copies_is_told_once(clean: Manifest, picture: Picture) -> None:
    picture(3).save(clean.root / "again.jpg", quality=50)
    photos = (*clean.photos, listed(clean.root, "again.jpg", "test", burst="b"))
    manifest = planted(replace(clean, photos=photos), p03={"burst": "b"})
    assert [kind for kind, _, _ in found(manifest)] == ["resaved"]


def test_a_device_is_found_where_the_split_promises_to_part_it(clean: Manifest) -> None:
    manifest = planted(clean, p00={"device": "x"}, p01={"device": "x"}, p02={"device": "x"})
    kinds = {(k.kind, k.parts) for k in audit(manifest, split_from_column(manifest, by="device"))}
    # Train and validation may share a device: only test must have its own.
    assert kinds == {("same device", ("train", "test")), ("same device", ("validation", "test"))}
    assert len(found(manifest, "device and scene")) == 2
    assert found(manifest, "photo") == []
    assert found(manifest, "scene") == []
    unknown = planted(clean, p00={"device": ""}, p02={"device": ""})
    assert found(unknown, "device") == []


def test_a_scene_is_found_where_the_split_promises_to_part_it(clean: Manifest) -> None:
    manifest = planted(clean, p00={"scene": "x"}, p01={"scene": "x"})
    assert [kind for kind, _, _ in found(manifest, "scene")] == ["same scene"]
    assert [kind for kind, _, _ in found(manifest, "device and scene")] == ["same scene"]
    assert found(manifest, "device") == []


@pytest.mark.parametrize("by", ["photo", "scene"])
def test_a_drawn_split_passes_its_audit(clean: Manifest, by: str) -> None:
    burst = {"burst": "b"}
    manifest = planted(clean, p00=burst, p01=burst, p02=burst)
    assert audit(manifest, make_split(manifest, by, 4)) == []


def test_excluded_photos_do_not_leak(clean: Manifest, picture: Picture) -> None:
    picture(3).save(clean.root / "again.jpg", quality=50)
    photos = (*clean.photos, listed(clean.root, "again.jpg", " ", burst="b"))
    manifest = planted(replace(clean, photos=photos), p03={"burst": "b"})
    split = split_from_column(manifest)
    assert split.excluded == {photos[-1].id: "part is empty"}
    assert split.notes == ("1 photo(s) excluded: part is empty.",)
    assert audit(manifest, split) == []


@pytest.mark.parametrize(
    ("word", "part"),
    [("val", "validation"), ("Train", "train"), ("train ", "train"), ("valid", "validation"),
     ("dev", "validation"), ("TEST", "test"), ("training", "train"), ("testing", "test")],
)  # fmt: skip
def test_plain_words_for_a_part_are_understood(clean: Manifest, word: str, part: str) -> None:
    photos = (replace(clean.photos[0], extra={"part": word}), *clean.photos[1:])
    manifest = replace(clean, photos=photos)
    assert split_from_column(manifest).part[manifest.photos[0].id] == part


def test_a_word_that_is_no_part_is_refused_with_its_photo(clean: Manifest) -> None:
    strange = [
        replace(p, extra={"part": word})
        for p, word in zip(clean.photos, ("holdout", "x"), strict=False)
    ]
    manifest = replace(clean, photos=(*strange, *clean.photos[2:]))
    with pytest.raises(UsageError, match=r"'holdout' of 00.*2 of \d+ rows"):
        split_from_column(manifest)


def test_a_changed_file_is_not_compared(clean: Manifest, picture: Picture) -> None:
    picture(3).save(clean.root / "again.jpg", quality=50)
    manifest = replace(clean, photos=(*clean.photos, listed(clean.root, "again.jpg", "test")))
    picture(700).save(clean.root / "again.jpg")
    with pytest.raises(PhotoError, match=r"again\.jpg has changed"):
        audit(manifest)


def test_what_cannot_be_audited_is_said(clean: Manifest) -> None:
    with pytest.raises(UsageError, match="no column 'sort'"):
        split_from_column(clean, "sort")
    with pytest.raises(UsageError, match="of no photo"):
        split_from_column(clean, "scene")
    with pytest.raises(UsageError, match="cannot be by 'camera'"):
        split_from_column(clean, by="camera")
    with pytest.raises(UsageError, match="of other photos"):
        audit(clean, Split("photo", 0, {"0" * 16: "train"}, {}, ""))


def test_ten_thousand_photos_are_audited_in_seconds(tmp_path: Path) -> None:
    import random
    import time

    rng = random.Random(5)
    photos = [
        PhotoRecord(
            f"{n:016x}", f"{n}.jpg", f"{n:016x}".ljust(64, "0"), model="A", device=str(n % 3),
            scene=str(n % 3), extra={"phash": f"{rng.getrandbits(64):016x}"},
        )
        for n in range(10_000)
    ]  # fmt: skip
    part = {p.id: ["train", "validation", "test"][n % 3] for n, p in enumerate(photos)}
    split = Split("device and scene", 0, part, {}, "")
    start = time.process_time()
    leaks: list[Leak] = audit(Manifest(tuple(photos), tmp_path), split)
    assert leaks == []
    assert time.process_time() - start < 15
