"""What a folder of photos says of its cameras, where EXIF agrees, contradicts or is silent."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from phototrace.photos.indexing import IndexResult, index
from phototrace.photos.manifest import PhotoRecord

Picture = Callable[..., Image.Image]
Shoot = Callable[..., Path]


@pytest.fixture
def shoot(tmp_path: Path, picture: Picture, exif: Callable[..., bytes]) -> Shoot:
    """Write a photo of its own in a folder, with EXIF of a camera if one is given."""
    count = iter(range(1000))

    def take(name: str, camera: str = "", serial: str = "") -> Path:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = exif(camera, serial=serial) if camera else b""
        picture(next(count)).save(path, exif=data)
        return path

    return take


def read(tmp_path: Path, corpus: str = "auto") -> tuple[IndexResult, dict[str, PhotoRecord]]:
    result = index(tmp_path / "photos", corpus)
    return result, {row.path: row for row in result.manifest.photos}


@pytest.mark.parametrize(
    "folder", ["DCIM/100CANON", "2016/07", "train/cats", "Canon/EOS40D", "apple_pie", "Sony trip 2"]
)
def test_exif_counts_whatever_the_folder_is_called(
    shoot: Shoot, tmp_path: Path, folder: str
) -> None:
    for number in range(2):
        shoot(f"{folder}/{number}.jpg", "Canon EOS 40D")
    result, rows = read(tmp_path)
    assert {row.device_id for row in rows.values()} == {"Canon EOS 40D / unknown device"}
    assert (result.contradictions, result.notes) == ((), ())


def test_copies_do_not_count_as_photos_of_unknown_camera(shoot: Shoot, tmp_path: Path) -> None:
    photo = shoot("Nikon_D70/0/1.jpg")
    (tmp_path / "photos/links").mkdir()
    (tmp_path / "photos/links/1.jpg").symlink_to(photo)
    result, rows = read(tmp_path)
    assert list(rows) == ["Nikon_D70/0/1.jpg"]
    assert result.notes == ()
    shoot("attic/2.jpg")
    shutil.copy(tmp_path / "photos/attic/2.jpg", tmp_path / "photos/attic/3.jpg")
    assert read(tmp_path)[0].notes[0].startswith("1 photo is of unknown camera")


def test_photos_without_exif_are_of_unknown_camera_unless_a_folder_plainly_is_one(
    shoot: Shoot, tmp_path: Path
) -> None:
    for name in ("DCIM/100CANON/1.jpg", "2016/07/2.jpg", "train/cats/3.jpg", "apple_pie/4.jpg"):
        shoot(name)
    shoot("Nikon_D70/0/5.jpg")
    result, rows = read(tmp_path)
    assert rows["Nikon_D70/0/5.jpg"].device_id == "Nikon D70 / 0"
    assert [row.camera for row in rows.values() if row.camera] == ["Nikon D70"]
    (note,) = result.notes
    assert note.startswith("4 photos are of unknown camera: EXIF names none, and no folder is")
    assert "2016/07/2.jpg" in note
    assert "--corpus folder" in note


def test_a_photo_in_another_cameras_folder_is_named_and_exif_counts(
    shoot: Shoot, tmp_path: Path
) -> None:
    shoot("Nikon_D70/0/1.jpg", "Canon EOS 40D")
    shoot("Nikon_D70/0/2.jpg", "NIKON D70")
    shoot("Canon/EOS40D/3.jpg", "Canon EOS 40D")
    result, rows = read(tmp_path)
    assert rows["Nikon_D70/0/1.jpg"].device_id == "Canon EOS 40D / unknown device"
    assert rows["Nikon_D70/0/2.jpg"].device_id == "Nikon D70 / 0"
    (wrong,) = result.contradictions
    assert wrong.path == "Nikon_D70/0/1.jpg"
    assert wrong.text == (
        "Nikon_D70/0/1.jpg lies in Nikon_D70 but is by its EXIF of Canon EOS 40D. What EXIF says "
        "is taken."
    )


def test_folder_and_exif_give_one_camera_one_name(shoot: Shoot, tmp_path: Path) -> None:
    shoot("Canon_EOS_Rebel_XT/1.jpg")
    shoot("Canon_EOS_Rebel_XT/2.jpg", "Canon EOS 350D DIGITAL")
    shoot("canon eos 40d/3.jpg")
    shoot("b/4.jpg", "Canon EOS 40D")
    result, rows = read(tmp_path)
    assert {row.camera for row in rows.values()} == {"Canon EOS 350D", "Canon EOS 40D"}
    assert (result.notes, result.contradictions) == ((), ())


def test_the_device_is_the_serial_number_else_the_folder_in_the_cameras(
    shoot: Shoot, tmp_path: Path
) -> None:
    shoot("Elm_700/1/a.jpg", "Elm 700")
    shoot("Elm_700/2/b.jpg", "Elm 700", serial="4711")
    shoot("Elm_700/2/edited.jpg", "Elm 700")
    shoot("other/3/c.jpg", "Elm 700")
    shoot("Elm_700/2016/d.jpg", "Elm 700")
    _, rows = read(tmp_path)
    assert {path: row.device for path, row in rows.items()} == {
        "Elm_700/1/a.jpg": "1",
        "Elm_700/2/b.jpg": "4711",
        "Elm_700/2/edited.jpg": "4711",  # it lost its number, and is no second device
        "other/3/c.jpg": "",
        "Elm_700/2016/d.jpg": "",
    }


def test_the_strict_layout_says_when_most_photos_are_of_another_camera(
    shoot: Shoot, tmp_path: Path
) -> None:
    for number in range(3):
        shoot(f"DCIM/100CANON/{number}.jpg", "Canon EOS 40D")
    shoot("Canon_EOS_40D/3.jpg", "Canon EOS 40D")
    shoot("Canon_EOS_40D/4.jpg")
    result, rows = read(tmp_path, "folder")
    assert {row.camera for row in rows.values()} == {"DCIM", "Canon EOS 40D"}
    (note,) = result.notes
    assert note.startswith("3 of 4 photos with a camera in EXIF lie in a folder that names another")
    assert "DCIM/100CANON/0.jpg lies in DCIM but is by its EXIF of Canon EOS 40D" in note
    assert "--corpus auto" in note
    assert "--corpus exif" in note
    for number in range(2):
        (tmp_path / f"photos/DCIM/100CANON/{number}.jpg").unlink()
    result, _ = read(tmp_path, "folder")
    assert result.notes == ()
    assert [p.path for p in result.contradictions] == ["DCIM/100CANON/2.jpg"]


def test_near_equal_names_and_a_serial_number_under_two_models_are_noted(
    shoot: Shoot, tmp_path: Path
) -> None:
    shoot("1.jpg", "Fly Tornado-Slim", serial="55501")
    shoot("2.jpg", "Fly Tornado Slim")
    shoot("3.jpg", "Fly Storm", serial="55501")
    result, _ = read(tmp_path)
    assert len(result.notes) == 2
    assert "2 names of one camera model" in result.notes[0]
    assert "55501 stands under 2 camera models" in result.notes[1]


def test_a_table_beside_the_photos_adds_names(shoot: Shoot, tmp_path: Path) -> None:
    shoot("1.jpg", "Fly Tornado-Slim")
    shoot("Fly_Storm_X1/0/2.jpg")
    table = tmp_path / "photos/camera_names.toml"
    table.write_text('[makes]\n"Fly" = []\n[models."Fly"]\n"T1" = ["Tornado Slim"]\n')
    result, rows = read(tmp_path)
    assert {row.device_id for row in rows.values()} == {
        "Fly T1 / unknown device",
        "Fly Storm X1 / 0",
    }
    assert result.skipped == ()


def test_of_a_file_and_links_to_it_the_file_stays(shoot: Shoot, tmp_path: Path) -> None:
    real = shoot("Nikon_D70/0/z.jpg")
    (tmp_path / "photos/Canon_EOS_40D").mkdir()
    (tmp_path / "photos/Canon_EOS_40D/a.jpg").symlink_to(real)
    (tmp_path / "photos/choice").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.jpg").symlink_to(real)
    for corpus in ("auto", "folder"):
        result, rows = read(tmp_path, corpus)
        assert list(rows) == ["Nikon_D70/0/z.jpg"]
        assert [p.path for p in result.duplicates] == ["Canon_EOS_40D/a.jpg", "choice/b.jpg"]
        assert "is the same file as Nikon_D70/0/z.jpg, which is kept" in result.duplicates[0].text
        assert (result.conflicts, rows["Nikon_D70/0/z.jpg"].camera) == ((), "Nikon D70")
    os.link(real, tmp_path / "photos/a.jpg")  # no link to see: a copy like any other
    assert [p.path for p in read(tmp_path)[0].duplicates] == [
        "Canon_EOS_40D/a.jpg", "a.jpg", "choice/b.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("corpus", ["auto", "folder"])
@pytest.mark.parametrize("other", ["Nikon_D70/0", "Canon_EOS_40D/1", "A_Nikon_D70/0"])
def test_one_file_under_two_cameras_or_devices_is_left_out_and_named(
    shoot: Shoot, tmp_path: Path, corpus: str, other: str
) -> None:
    shoot("Canon_EOS_40D/0/more.jpg")
    first = shoot("Canon_EOS_40D/0/a.jpg")
    second = tmp_path / "photos" / other / "b.jpg"
    second.parent.mkdir(parents=True)
    shutil.copy(first, second)
    result, rows = read(tmp_path, corpus)
    if other.startswith("A_") and corpus == "auto":  # that folder names no camera
        assert set(rows) == {"Canon_EOS_40D/0/more.jpg", "Canon_EOS_40D/0/a.jpg"}
        return
    assert set(rows) == {"Canon_EOS_40D/0/more.jpg"}
    assert {p.path for p in result.conflicts} == {"Canon_EOS_40D/0/a.jpg", f"{other}/b.jpg"}
    assert {p.kind for p in result.conflicts} == {"conflict"}
    assert "as of Canon EOS 40D / 0 and as of" in result.conflicts[0].text
    assert len(result.listed) == 3
