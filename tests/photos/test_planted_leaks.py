"""Twenty leaks of five kinds among five hundred photos: all are found, and nothing else."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from phototrace import cli
from phototrace.photos.audit import Leak, audit, split_from_column
from phototrace.photos.bursts import find_bursts
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.perceptual import phash
from phototrace.photos.photo import read_whole

Picture = Callable[..., Image.Image]
PARTS = ("train", "validation", "test")
BY = "device and scene"


def listed(folder: Path, name: str, part: str, device: str, scene: str) -> PhotoRecord:
    photo, green = read_whole(folder / name)
    return PhotoRecord(
        photo.sha256[:16], name, photo.sha256, make="Make", model="M", device=device, scene=scene,
        width=photo.width, height=photo.height, corpus="test",
        extra={"part": part, "phash": phash(green)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, picture: Picture) -> Manifest:
    """Train and validation share two devices, test has its own; scenes are of one part each."""
    root = tmp_path_factory.mktemp("clean")
    photos = []
    for number in range(500):
        part = PARTS[number % 3]
        device = "3" if part == "test" else str(number // 3 % 2 + 1)
        picture(number, (72, 48)).save(root / f"{number:03d}.jpg", quality=92)
        scene = f"{part} {number // 30}"
        photos.append(listed(root, f"{number:03d}.jpg", part, device, scene))
    return Manifest(tuple(photos), root)


@pytest.fixture(scope="module")
def leaking(clean: Manifest, picture: Picture) -> tuple[Manifest, set[tuple[str, frozenset[str]]]]:
    """The clean manifest with four leaks of each kind; and the kinds and paths of the leaks."""
    photos = {int(p.path[:3]): p for p in clean.photos}
    more: list[PhotoRecord] = []
    wanted: set[tuple[str, frozenset[str]]] = set()

    def plant(kind: str, a: str, b: str) -> None:
        wanted.add((kind, frozenset((a, b))))

    for number in range(4):
        # The same file: listed again under another name, with the labels of its other part.
        first, other = photos[3 * number], photos[3 * number + 2]
        extra = {**first.extra, "part": "test"}
        name = f"again-{number}.jpg"
        again = replace(
            first, path=name, extra=extra, device=other.device, scene=other.scene
        )  # fmt: skip
        (clean.root / name).write_bytes((clean.root / first.path).read_bytes())
        more.append(again)
        plant("same file", first.path, name)

        # Saved again: two at another quality, two smaller.
        source, other = photos[60 + 3 * number], photos[62 + 3 * number]
        image = picture(60 + 3 * number, (72, 48))
        name = f"saved-{number}.jpg"
        size = (72, 48) if number < 2 else (60, 40)
        image.resize(size, Image.Resampling.LANCZOS).save(clean.root / name, quality=60)
        more.append(listed(clean.root, name, "test", other.device, other.scene))
        plant("resaved", source.path, name)

        # A burst: seconds apart, in train and validation, which may share a device.
        a, b = 120 + 6 * number, 121 + 6 * number
        for n, second in ((a, 1), (b, 9)):
            taken = f"2024-05-0{number + 1}T10:00:0{second}"
            photos[n] = replace(
                photos[n], device="1", extra={**photos[n].extra, "taken": taken}
            )  # fmt: skip
        plant("same burst", photos[a].path, photos[b].path)

        # A device and a scene of their own, each in train and test.
        a, b = 180 + 6 * number, 182 + 6 * number
        for n in (a, b):
            photos[n] = replace(photos[n], device=f"leak-{number}")
        plant("same device", photos[a].path, photos[b].path)
        a, b = 240 + 6 * number, 242 + 6 * number
        for n in (a, b):
            photos[n] = replace(photos[n], scene=f"leak-{number}")
        plant("same scene", photos[a].path, photos[b].path)
    bursts = find_bursts(list(photos.values()))
    named = [replace(p, burst=bursts.get(p.id, "")) for p in photos.values()]
    return Manifest((*named, *more), clean.root), wanted


def kinds(leaks: list[Leak]) -> set[tuple[str, frozenset[str]]]:
    return {(leak.kind, frozenset((leak.a, leak.b))) for leak in leaks}


def test_a_clean_set_of_five_hundred_has_none(clean: Manifest) -> None:
    bursts = find_bursts(list(clean.photos))
    assert bursts == {}
    assert audit(clean, split_from_column(clean, by=BY)) == []
    assert audit(clean) == []


def test_all_twenty_are_found_by_their_kinds(
    leaking: tuple[Manifest, set[tuple[str, frozenset[str]]]],
) -> None:
    manifest, wanted = leaking
    leaks = audit(manifest, split_from_column(manifest, by=BY))
    assert Counter(leak.kind for leak in leaks) == dict.fromkeys(
        ("same file", "resaved", "same burst", "same device", "same scene"), 4
    )
    assert kinds(leaks) == wanted


def test_the_command_names_all_twenty(
    leaking: tuple[Manifest, set[tuple[str, frozenset[str]]]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest, wanted = leaking
    manifest.save(manifest.root / "m.csv")
    path = str(manifest.root / "m.csv")
    monkeypatch.setattr(sys, "argv", ["phototrace", "audit", path, "--by", BY, "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    leaks = json.loads(capsys.readouterr().out)["leaks"]
    assert len(leaks) == 20
    assert {(leak["kind"], frozenset((leak["a"], leak["b"]))) for leak in leaks} == wanted


def test_one_scene_by_two_devices_is_no_photo_saved_again(
    clean: Manifest, picture: Picture
) -> None:
    picture(0, (72, 48)).save(clean.root / "twin.jpg", quality=70)
    twin = listed(clean.root, "twin.jpg", "test", "3", clean.photos[0].scene)
    manifest = replace(clean, photos=(*clean.photos, twin))
    assert audit(manifest, split_from_column(manifest, by="device")) == []
    assert [x.kind for x in audit(manifest, split_from_column(manifest, by="scene"))] == [
        "same scene"
    ]
    first, *others = clean.photos
    for one, unsure in (
        (first, replace(twin, device="")),
        (first, replace(twin, device="1")),
        (first, replace(twin, scene="another")),
        (replace(first, scene=""), replace(twin, scene="")),
    ):
        manifest = replace(clean, photos=(one, *others, unsure))
        found = [x.kind for x in audit(manifest, split_from_column(manifest, by="photo"))]
        assert found == ["resaved"]
