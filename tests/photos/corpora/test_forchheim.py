from collections.abc import Callable
from pathlib import Path

import pytest

from phototrace.photos.corpora.forchheim import DEVICES, VARIANTS, forchheim
from phototrace.photos.corpora.labels import Labels
from phototrace.photos.indexing import IndexResult
from phototrace.photos.manifest import Manifest

Index = Callable[[Path, str], IndexResult]
PHONES = ("D15_Samsung_Galaxy_A6_1", "D16_Samsung_Galaxy_A6_2", "D01_Motorola_E3_1")
COPIES = dict(zip(VARIANTS, ((92, 1), (80, 0.9), (70, 0.6), (75, 0.8), (85, 0.7), (50, 0.7)),
                  strict=True))  # fmt: skip
SCENES = 6


@pytest.fixture(scope="module")
def mirror(
    tmp_path_factory: pytest.TempPathFactory,
    shoot: Callable[..., None],
    spoil: Callable[[Path, Path], None],
) -> Path:
    root = tmp_path_factory.mktemp("mirror") / "FODB"
    for number, phone in enumerate(PHONES):
        for scene in range(1, SCENES + 1):
            for variant, (quality, scale) in COPIES.items():
                name = f"{phone[:3]}_img_{variant}_{scene:04d}.jpg"
                shoot(root / phone / variant / name, 10 * number + scene, quality, scale)
    d15, d16 = root / PHONES[0], root / PHONES[1]
    (d15 / "orig" / "D15_img_orig_0001.jpg").unlink()
    (d15 / "twitter" / "D15_img_twitter_0002.jpg").rename(
        d15 / "twitter" / "D15_IMG_Twitter_0002.JPG"
    )
    (d15 / "twitter" / "D15_img_twitter_0003.jpg").rename(d15 / "orig" / "D15_img_twitter_0003.jpg")
    (d15 / "telegram" / "D15_img_telegram_0004.jpg").rename(d15 / "telegram" / "photo_4.jpg")
    spoil(d16 / "orig" / "D16_img_orig_0001.jpg", d16 / "facebook" / "D16_img_facebook_0002.jpg")
    (d16 / "orig" / "D16_img_orig_0144.jpg").write_bytes(
        (d16 / "orig" / "D16_img_orig_0003.jpg").read_bytes()
    )
    return root


@pytest.fixture(scope="module")
def result(mirror: Path, indexed: Index) -> IndexResult:
    return indexed(mirror, "forchheim")


def test_labels_are_those_of_names_and_folders(result: IndexResult) -> None:
    photos = {Path(p.path).name: p for p in result.manifest.photos}
    assert len(photos) == 3 * 36 - 5
    one = photos["D16_img_whatsapp_0006.jpg"]
    assert (one.make, one.model, one.device) == ("Samsung", "Galaxy A6", "D16")
    assert (one.scene, one.extra["variant"]) == ("0006", "whatsapp")
    assert {p.device_id for p in photos.values()} == {
        "Samsung Galaxy A6 / D15", "Samsung Galaxy A6 / D16", "Motorola E3 / D01"
    }  # fmt: skip
    assert photos["D15_IMG_Twitter_0002.JPG"].extra["variant"] == "twitter"


def test_scenes_are_shared_and_bursts_are_not(result: IndexResult) -> None:
    photos = {Path(p.path).name: p for p in result.manifest.photos}
    versions = [photos[f"D01_img_{variant}_0005.jpg"] for variant in VARIANTS]
    assert len({p.burst for p in versions}) == 1
    other = photos["D16_img_orig_0005.jpg"]
    assert other.scene == versions[0].scene
    assert other.burst != versions[0].burst != ""


def test_what_is_wrong_is_said(result: IndexResult) -> None:
    assert {Path(p.path).name for p in result.broken} == {
        "D16_img_orig_0001.jpg", "D16_img_facebook_0002.jpg"
    }  # fmt: skip
    reasons = {Path(p.path).name: p.text for p in result.skipped}
    assert reasons.keys() == {"D15_img_twitter_0003.jpg", "photo_4.jpg", "D16_img_orig_0144.jpg"}
    assert "lies in orig but is named as of twitter" in reasons["D15_img_twitter_0003.jpg"]
    problems = [(p.path, p.kind) for p in result.collection]
    gone = set(DEVICES) - {"D01", "D15", "D16"}
    assert {path for path, _ in problems if path in DEVICES} == gone
    low = {p for p in problems if "0" <= p[0][-8:-4] <= "0006" and p[0].startswith("D")}
    assert low == {
        ("D15_img_orig_0001.jpg", "missing"),
        ("D15_img_twitter_0003.jpg", "missing"),
        ("D15_img_telegram_0004.jpg", "missing"),
        ("D15_Samsung_Galaxy_A6_1/twitter/D15_IMG_Twitter_0002.JPG", "misnamed"),
    }
    # Of three phones, the other 137 scenes in six versions.
    assert len(problems) == len(gone) + len(low) + 3 * 137 * 6
    assert "27 phones of 25 models, 143 scenes" in result.notes[0]


@pytest.mark.parametrize("by", ["photo", "device", "scene", "device and scene"])
def test_no_split_parts_an_original_from_its_copies(
    result: IndexResult, parts_of: Callable[[Manifest, str], dict[str, set[str]]], by: str
) -> None:
    parts = parts_of(result.manifest, by)
    assert len(parts) > 5
    assert all(len(part) == 1 for part in parts.values())


def test_a_recipe_can_take_the_originals_alone(result: IndexResult) -> None:
    originals = result.manifest.where(variant=["orig"]).photos
    assert len(originals) == 18 - 2


def models(*paths: str) -> list[str]:
    labels = forchheim(Path("nowhere"), paths).labels
    return [f"{x.make} {x.model}" for x in labels if isinstance(x, Labels)]


def test_numbers_of_devices_are_told_from_names_of_models() -> None:
    assert models(
        "D15_Samsung_Galaxy_A6_1/orig/D15_img_orig_0001.jpg",
        "D17_Apple_iPhone_7_1/orig/D17_img_orig_0001.jpg",
    ) == ["Samsung Galaxy A6", "Apple iPhone 7"]
    assert models(  # a mirror that took them away
        "D15_Samsung_Galaxy_A6/orig/D15_img_orig_0001.jpg",
        "D17_Apple_iPhone_7/orig/D17_img_orig_0001.jpg",
    ) == ["Samsung Galaxy A6", "Apple iPhone 7"]


def test_without_a_telling_folder_the_camera_is_left_to_exif() -> None:
    paths = ["phones/D01_img_orig_0001.jpg", "phones/D15_img_orig_0001.jpg",
             "D15_Samsung_Galaxy_A6_1/facebook/D15_img_facebook_0001.jpg"]  # fmt: skip
    reading = forchheim(Path("nowhere"), paths)
    assert models(*paths) == [" ", "Samsung Galaxy A6", "Samsung Galaxy A6"]
    (problem,) = [p for p in reading.problems if p.kind == "misnamed"]
    assert (problem.path, "taken from EXIF" in problem.text) == ("D01", True)
