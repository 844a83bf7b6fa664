from collections.abc import Callable
from pathlib import Path

import pytest

from phototrace.photos.corpora import table1
from phototrace.photos.corpora.labels import Labels
from phototrace.photos.corpora.vision import COUNTS, DEVICES, NATURAL, vision
from phototrace.photos.indexing import IndexResult
from phototrace.photos.manifest import Manifest

Index = Callable[[Path, str], IndexResult]
FOUR = ("D02_Apple_iPhone4s", "D10_Apple_iPhone4s", "D06_Apple_iPhone6", "D15_Apple_iPhone6")
COPIES = {"nat": (92, 1.0), "natFBH": (80, 0.8), "natFBL": (50, 0.6), "natWA": (70, 0.7)}


@pytest.fixture(scope="module")
def mirror(
    tmp_path_factory: pytest.TempPathFactory,
    shoot: Callable[..., None],
    shoot_flat: Callable[..., None],
    spoil: Callable[[Path, Path], None],
) -> Path:
    root = tmp_path_factory.mktemp("mirror") / "VISION"
    for number, device in enumerate(FOUR):
        for photo in range(1, 6):
            for variant, (quality, scale) in COPIES.items():
                name = f"{device[:3]}_I_{variant}_{photo:04d}.jpg"
                path = root / device / "images" / variant / name
                shoot(path, 10 * number + photo, quality, scale)
        for photo in (1, 2):
            name = f"{device[:3]}_I_flat_{photo:04d}.jpg"
            shoot_flat(root / device / "images" / "flat" / name, 10 * number + photo)
    images = root / FOUR[0] / "images"
    (root / FOUR[0] / "videos").mkdir()
    (root / FOUR[0] / "videos" / "D02_V_flat_panrot_0001.mp4").write_bytes(b"\0\0\0 ftypmp42")
    (images / "natWA" / "D02_I_natWA_0001.jpg").unlink()
    (images / "nat" / "D02_I_nat_0002.jpg").rename(images / "nat" / "d02_i_NAT_0002.JPG")
    (images / "natFBH" / "D02_I_natFBH_0003.jpg").rename(images / "nat" / "D02_I_natFBH_0003.jpg")
    (images / "natFBL" / "D02_I_natFBL_0004.jpg").rename(images / "natFBL" / "received.jpg")
    d10 = root / FOUR[1] / "images" / "nat"
    spoil(d10 / "D10_I_nat_0001.jpg", d10 / "D10_I_nat_0002.jpg")
    (d10 / "D10_I_nat_0003.jpg").rename(root / FOUR[2] / "images" / "nat" / "D10_I_nat_0003.jpg")
    (root / FOUR[3]).rename(root / "iphone six, second")
    return root


@pytest.fixture(scope="module")
def result(mirror: Path, indexed: Index) -> IndexResult:
    return indexed(mirror, "vision")


def test_thirty_five_devices_of_eleven_makers() -> None:
    assert len(DEVICES) == 35
    assert len(set(DEVICES.values())) == 29
    assert len({camera.split("_")[0] for camera in DEVICES.values()}) == 11
    assert sum(COUNTS.values()) == 34_427


def test_labels_are_those_of_the_names(result: IndexResult) -> None:
    photos = {Path(p.path).name: p for p in result.manifest.photos}
    assert len(photos) == 4 * 22 - 6
    one = photos["D15_I_natWA_0005.jpg"]  # its folder has a name of its own
    assert (one.make, one.model, one.device) == ("Apple", "iPhone6", "D15")
    assert one.extra["variant"] == "natWA"
    assert photos["d02_i_NAT_0002.JPG"].extra["variant"] == "nat"
    assert {p.camera for p in photos.values()} == {"Apple iPhone4s", "Apple iPhone6"}
    assert len({p.device_id for p in photos.values()}) == 4


def test_an_original_and_its_copies_share_scene_and_burst(result: IndexResult) -> None:
    photos = {Path(p.path).name: p for p in result.manifest.photos}
    versions = [photos[f"D06_I_{variant}_0004.jpg"] for variant in NATURAL]
    assert len({p.burst for p in versions}) == len({p.scene for p in versions}) == 1
    assert versions[0].burst
    assert versions[0].burst != photos["D06_I_nat_0005.jpg"].burst
    assert versions[0].scene != photos["D15_I_nat_0004.jpg"].scene
    assert photos["D06_I_flat_0001.jpg"].scene == photos["D02_I_flat_0002.jpg"].scene == "flat"


def test_copies_that_look_unlike_are_joined_by_their_numbers(
    tmp_path: Path, indexed: Index, shoot: Callable[..., None]
) -> None:
    for seed, variant in enumerate(NATURAL):
        shoot(tmp_path / f"D02_I_{variant}_0007.jpg", seed)
        shoot(tmp_path / f"D02_I_{variant}_0008.jpg", 50 + seed)
    photos = indexed(tmp_path, "vision").manifest.photos
    bursts = {(p.extra["original"], p.burst) for p in photos}
    assert len(bursts) == len({burst for _, burst in bursts}) == 2


def test_what_is_wrong_is_said(result: IndexResult) -> None:
    assert {Path(p.path).name for p in result.broken} == {
        "D10_I_nat_0001.jpg",
        "D10_I_nat_0002.jpg",
    }
    reasons = {Path(p.path).name: p.text for p in result.skipped}
    assert "lies in nat but is named as of natFBH" in reasons["D02_I_natFBH_0003.jpg"]
    assert "not named as D01_I_nat_0001.jpg" in reasons["received.jpg"]
    assert "named as a photo of D10" in reasons["D10_I_nat_0003.jpg"]
    assert len(reasons) == 4  # and a video
    problems = [(p.path, p.kind) for p in result.collection]
    assert [path for path, _ in problems if path in DEVICES] == sorted(
        set(DEVICES) - {"D02", "D06", "D10", "D15"}
    )
    named = {p for p in problems if p[0] not in (*DEVICES, *COUNTS)}
    assert named == {
        ("D02_I_natWA_0001.jpg", "missing"),
        ("D02_I_natFBH_0003.jpg", "missing"),
        ("D02_I_natFBL_0004.jpg", "missing"),
        ("D10_I_nat_0003.jpg", "missing"),
        (
            "VISION/D02_Apple_iPhone4s/images/nat/d02_i_NAT_0002.JPG".removeprefix("VISION/"),
            "misnamed",
        ),
    }
    texts = {p.path: p.text for p in result.collection}
    assert texts["flat"] == "Of the version flat, 8 of 4167 photos are there."
    assert "34,427 images of 35 devices" in result.notes[0]


@pytest.mark.parametrize("by", ["photo", "device", "scene", "device and scene"])
def test_no_split_parts_an_original_from_its_copies(
    result: IndexResult, parts_of: Callable[[Manifest, str], dict[str, set[str]]], by: str
) -> None:
    parts = parts_of(result.manifest, by)
    assert len(parts) > 8
    assert all(len(part) == 1 for part in parts.values())


def test_a_recipe_can_take_the_originals_alone(result: IndexResult) -> None:
    originals = result.manifest.where(variant=["nat"]).photos
    assert {p.extra["variant"] for p in originals} == {"nat"}
    assert len(originals) == 20 - 3


def test_a_version_that_is_not_there_at_all_is_told_once() -> None:
    paths = [f"D0{d}_Apple/nat/D0{d}_I_nat_{n:04d}.jpg" for d in (2, 5) for n in range(1, 9)]
    reading = vision(Path("nowhere"), paths)
    assert all(isinstance(label, Labels) for label in reading.labels)
    assert [p.path for p in reading.problems if p.path in NATURAL] == [
        "natFBH", "natFBL", "natWA", "nat"
    ]  # fmt: skip
    assert not [p for p in reading.problems if p.path.endswith(".jpg")]


def test_two_of_the_papers_classes_are_served() -> None:
    cameras = [camera.replace("_", " ") for camera in DEVICES.values()]
    assert table1.served(cameras)["T_B"] == {
        "Apple iPhone 4s": "Apple iPhone4s", "Apple iPhone 6": "Apple iPhone6"
    }  # fmt: skip
    assert table1.served(cameras)["T_C"] == {}
