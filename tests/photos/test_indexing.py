import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from phototrace.errors import PhotoError, UsageError
from phototrace.photos import reading
from phototrace.photos.indexing import index, read_photos
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import read_photo

Picture = Callable[..., Image.Image]


def serial_map(function: Callable[[Any], Any], items: Sequence[Any], label: str) -> Iterator[Any]:
    return (function(item) for item in items)


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "parallel_map", serial_map)


@pytest.fixture
def folder(tmp_path: Path, picture: Picture, exif: Callable[..., bytes]) -> Path:
    """Thirty photos: two devices named by folders, and some by EXIF alone."""
    root = tmp_path / "photos"
    for number in range(24):
        place = root / "Canon_EOS_6D" / str(number % 2)
        place.mkdir(parents=True, exist_ok=True)
        picture(number).save(place / f"{number:02d}.jpg")
    for number in range(24, 30):
        taken = f"2024:05:06 07:0{number % 6}:00"
        data = exif("Nikon D90", taken=taken, serial="77")
        picture(number).save(root / f"{number}.jpg", exif=data)
    return root


def test_a_folder_becomes_a_manifest(folder: Path, tmp_path: Path, serial: None) -> None:
    result = index(folder, out=tmp_path / "lists" / "m.parquet")
    assert (result.broken, result.skipped, result.duplicates) == ((), (), ())
    photos = result.manifest.photos
    assert len(photos) == 30
    assert [p.path for p in photos] == sorted(p.path for p in photos)
    assert Manifest.load(tmp_path / "lists" / "m.parquet") == result.manifest
    by_folder = next(p for p in photos if p.path.endswith("Canon_EOS_6D/1/01.jpg"))
    assert by_folder.path == "../photos/Canon_EOS_6D/1/01.jpg"
    assert by_folder.device_id == "Canon EOS 6D / 1"
    assert (by_folder.width, by_folder.height, by_folder.corpus) == (120, 80, "auto")
    photo = read_photo(result.manifest.path_of(by_folder))
    assert (by_folder.sha256, by_folder.qtables) == (photo.sha256, photo.qtables)
    assert len(by_folder.extra["phash"]) == 16
    by_exif = next(p for p in photos if p.path.endswith("25.jpg"))
    assert by_exif.device_id == "Nikon D90 / 77"
    assert by_exif.extra["taken"] == "2024-05-06T07:01:00"
    assert {p.burst for p in photos} == {""}
    assert list(result.manifest.root.iterdir()) == [tmp_path / "lists" / "m.parquet"]


def test_exif_alone(folder: Path, serial: None) -> None:
    cameras = {p.camera for p in index(folder, corpus="exif").manifest.photos}
    assert cameras == {"", "Nikon D90"}


def test_broken_and_double_files_are_listed_and_the_rest_is_kept(
    folder: Path, serial: None
) -> None:
    cut = folder / "Canon_EOS_6D" / "0" / "04.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    shutil.copy(folder / "25.jpg", folder / "zz.jpg")
    shutil.copy(folder / "26.jpg", folder / "Canon_EOS_6D" / "1" / "copy.jpg")
    (folder / "none.jpg").touch()
    (folder / "list.txt").write_text("x")
    result = index(folder)
    assert len(result.manifest.photos) == 29
    assert [(p.path, p.kind) for p in result.broken] == [
        ("Canon_EOS_6D/0/04.jpg", "unreadable"), ("none.jpg", "unreadable")
    ]  # fmt: skip
    assert [p.path for p in result.duplicates] == ["Canon_EOS_6D/1/copy.jpg", "zz.jpg"]
    assert [p.path for p in result.contradictions] == ["Canon_EOS_6D/1/copy.jpg"]
    assert result.conflicts == ()
    assert [p.path for p in result.skipped] == ["list.txt"]


def test_bursts_are_found(
    folder: Path, picture: Picture, exif: Callable[..., bytes], serial: None
) -> None:
    late = exif("Nikon D90", taken="2024:05:06 07:01:09", serial="77")
    picture(500).save(folder / "late.jpg", exif=late)
    picture(3).save(folder / "Canon_EOS_6D" / "1" / "again.jpg", quality=40)
    photos = {Path(p.path).name: p for p in index(folder).manifest.photos}
    assert photos["late.jpg"].burst == photos["25.jpg"].burst != ""
    assert photos["again.jpg"].burst == photos["03.jpg"].burst != ""
    assert sum(p.burst != "" for p in photos.values()) == 4


def test_workers_do_not_matter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parallel = index(folder, out=tmp_path / "a.csv")
    monkeypatch.setattr(reading, "parallel_map", serial_map)
    monkeypatch.setattr(reading, "_CHUNK", 3)
    assert index(folder, out=tmp_path / "b.csv").manifest == parallel.manifest
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_an_interruption_is_taken_up_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serial: None
) -> None:
    whole = index(folder, out=tmp_path / "whole.csv").manifest
    out, journal = tmp_path / "m.csv", tmp_path / ".m.csv.journal"
    read: list[str] = []
    plain = reading.read_file

    def stopping(path: str) -> Any:
        read.append(path)
        if len(read) == 20:
            raise KeyboardInterrupt
        return plain(path)

    journal.write_text('{"version": 1, "files": [["half a li')  # an earlier interruption
    monkeypatch.setattr(reading, "read_file", stopping)
    with pytest.raises(KeyboardInterrupt):
        index(folder, out=out)
    assert not out.exists()
    with journal.open("a") as file:
        file.write(journal.read_text().splitlines()[-1][:100])
    done = read[:8]
    os.utime(done[0], ns=(1, 1))
    read.clear()
    read.extend([""] * 20)
    assert index(folder, out=out).manifest == whole
    # Two chunks of eight were finished; one of their files has another time since.
    assert len(read) - 20 == 30 - 16 + 1
    assert done[0] in read
    assert not journal.exists()
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_journal_of_nonsense_is_no_obstacle(folder: Path, tmp_path: Path, serial: None) -> None:
    journal = tmp_path / ".m.csv.journal"
    nonsense = b'\xff\n[]\n{"version": 1, "files": [[1]]}\n{"version": 9}\n{"version": 1'
    journal.write_bytes(nonsense)
    assert len(index(folder, out=tmp_path / "m.csv").manifest.photos) == 30


def test_a_manifest_is_checked_and_completed(
    folder: Path, tmp_path: Path, picture: Picture, serial: None
) -> None:
    names = ["24.jpg", "25.jpg", "26.jpg", "27.jpg"]
    lines = ["path,sha256,make,model,scene,colour,qtables"]
    hashes = {name: read_photo(folder / name).sha256 for name in names}
    lines += [f"photos/{name},{sha256},Mine,X,s,red,mine" for name, sha256 in hashes.items()]
    source = tmp_path / "given.csv"
    source.write_text("\n".join([*lines, lines[1]]) + "\n")
    (folder / "25.jpg").unlink()
    picture(300).save(folder / "26.jpg")
    result = index(source, out=tmp_path / "new.parquet")
    assert [(p.path, p.kind) for p in result.broken] == [
        ("photos/25.jpg", "missing"), ("photos/26.jpg", "changed")
    ]  # fmt: skip
    assert [p.path for p in result.duplicates] == ["photos/24.jpg"]
    photo = result.manifest.photos[0]
    assert (photo.camera, photo.scene, photo.extra["colour"]) == ("Mine X", "s", "red")
    assert (photo.device, photo.qtables, photo.width) == ("77", "mine", 120)
    assert photo.extra["taken"] == "2024-05-06T07:00:00"
    assert photo.corpus == tmp_path.name
    with pytest.raises(UsageError, match="Name another file"):
        index(source, out=source)


def test_bursts_of_a_manifest_are_kept(folder: Path, tmp_path: Path, serial: None) -> None:
    sha = read_photo(folder / "24.jpg").sha256
    (tmp_path / "m.csv").write_text(f"path,sha256,burst\nphotos/24.jpg,{sha},mine\n")
    assert index(tmp_path / "m.csv").manifest.photos[0].burst == "mine"


def test_what_cannot_be_indexed_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no photos in"):
        index(tmp_path / "empty")
    with pytest.raises(UsageError, match="cannot be opened"):
        index(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be opened"):
        index(folder / "24.jpg")
    with pytest.raises(UsageError, match=r"no corpus 'x'.*folder"):
        index(folder, corpus="x")
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        index(folder, out=tmp_path / "m.txt")


def test_read_photos_takes_both(
    folder: Path, tmp_path: Path, serial: None, caplog: pytest.LogCaptureFixture
) -> None:
    written = index(folder, out=tmp_path / "m.csv").manifest
    assert read_photos(tmp_path / "m.csv") == written
    (folder / "broken.jpg").touch()
    assert read_photos(folder).hash == written.hash
    assert "broken.jpg is empty" in caplog.text
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").touch()
    with pytest.raises(PhotoError, match="None of the photos"):
        read_photos(tmp_path / "bad")


def test_near_equal_names_of_a_manifest_are_noted_and_kept(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.csv"
    rows = [f"{n}.jpg,{n * 64},{make},GT-1" for n, make in (("0", "SAMSUNG"), ("1", "samsung"))]
    path.write_text("\n".join(["path,sha256,make,model", *rows]) + "\n")
    manifest = read_photos(path)
    assert manifest.hash == Manifest.load(path).hash
    assert [row.make for row in manifest.photos] == ["SAMSUNG", "samsung"]
    assert "SAMSUNG GT-1, samsung GT-1 look like 2 names of one camera model" in caplog.text


def test_an_output_inside_the_folder_is_not_a_stray_file(folder: Path, serial: None) -> None:
    index(folder, out=folder / "m.csv")
    assert index(folder, out=folder / "m.csv").skipped == ()


def test_real_photos(corpus: Path, tmp_path: Path) -> None:
    lines = (corpus / "manifest.csv").read_text().splitlines()
    shutil.copytree(corpus / "photos", tmp_path / "photos", symlinks=True, copy_function=os.symlink)
    (tmp_path / "m.csv").write_text("\n".join(lines[:1] + lines[1::40]) + "\n")
    result = index(tmp_path / "m.csv")
    assert len(result.manifest.photos) == len(lines[1::40])
    assert result.broken == ()
    assert "original_width" in result.manifest.columns


@pytest.mark.parametrize(
    ("tag", "taken_from"), [(0x9003, ""), (0x9004, "digitized"), (306, "modified")]
)
def test_photos_a_second_apart_are_one_burst_by_any_date(
    tmp_path: Path, picture: Picture, exif_of: Callable[..., bytes], serial: None,
    tag: int, taken_from: str,
) -> None:  # fmt: skip
    for number in range(4):
        moment = f"2020:05:05 10:00:0{number}" if number < 3 else "2020:05:05 11:00:00"
        entry = [(tag, 2, moment.encode() + b"\0")]
        main = [(271, 2, b"Acme\0"), (272, 2, b"Cam\0"), *(entry if tag == 306 else [])]
        data = exif_of(main, [] if tag == 306 else entry)
        picture(number).save(tmp_path / f"{number}.jpg", exif=b"Exif\0\0" + data)
    result = index(tmp_path, corpus="exif")
    photos = result.manifest.photos
    assert len({p.burst for p in photos[:3]} - {""}) == 1
    assert photos[3].burst == ""
    assert {p.extra["taken_from"] for p in photos} == {taken_from}
    told = [note for note in result.notes if "no DateTimeOriginal" in note]
    tags = {"digitized": "DateTimeDigitized", "modified": "DateTime"}
    text = "4 photos have no DateTimeOriginal: the time of 4 is {}."
    assert told == ([text.format(tags[taken_from])] if taken_from else [])


def test_a_clock_that_was_reset_makes_no_burst_and_is_named(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], serial: None
) -> None:
    for number in range(7):
        data = exif(["Nikon D90", "Canon A1"][number // 4], "2000:01:01 00:00:00", "A77")
        picture(number).save(tmp_path / f"{number}.jpg", exif=data)
    result = index(tmp_path, corpus="exif")
    assert {p.burst for p in result.manifest.photos} == {""}
    (note,) = result.notes
    assert "3 photos of Canon A1 / A77 all carry the time 2000-01-01T00:00:00, and" in note
    assert "those of 1 more one each" in note


def test_a_serial_number_of_three_models_is_no_device_and_is_named(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], serial: None
) -> None:
    serials = {"Nikon D90": "A77", "Canon A1": "A77", "Sony X1": "A77", "Sony X2": "B88"}
    for number, (camera, text) in enumerate([*serials.items(), ("Sony X3", "B88")]):
        picture(number).save(tmp_path / f"{number}.jpg", exif=exif(camera, serial=text))
    result = index(tmp_path, corpus="exif")
    assert [p.device for p in result.manifest.photos] == ["", "", "", "B88", "B88"]
    (note,) = result.notes
    assert note == "The serial number A77 stands in photos of 3 camera models: it names no device."


def test_a_table_without_hashes_gets_them(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], serial: None
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        picture(number).save(tmp_path / "photos" / f"{number}.jpg", exif=exif(serial="A77"))
    for header, fields in [("path,scene", ",here"), ("path,sha256,scene", ",nan,here")]:
        table = tmp_path / "mine.csv"
        rows = [f"photos\\{number}.jpg{fields}" for number in range(2)]
        table.write_text("\n".join([header, *rows]))
        with pytest.raises(UsageError, match=r"phototrace index .*mine\.csv -o photos\.parquet"):
            read_photos(table)
        result = index(table, out=tmp_path / "m.parquet")
        assert result.broken == ()
        read = Manifest.load(tmp_path / "m.parquet")
        assert [p.sha256 for p in read.photos] == [
            read_photo(tmp_path / "photos" / f"{number}.jpg").sha256 for number in range(2)
        ]
        assert {(p.device_id, p.scene) for p in read.photos} == {("Canon EOS 6D / A77", "here")}


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "", "Canon EOS 6D"),
        ("", "", "Canon EOS 6D"),
        ("", "Canon eos 6d", "Canon eos 6d"),
        ("", "EOS 5D", "EOS 5D"),
        ("Canon", "EOS 5D", "Canon EOS 5D"),
    ],
)
def test_a_table_that_names_half_a_camera_is_completed_from_exif(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], serial: None,
    make: str, model: str, camera: str,
) -> None:  # fmt: skip
    picture(1).save(tmp_path / "a.jpg", exif=exif())
    (tmp_path / "mine.csv").write_text(f"path,make,model\na.jpg,{make},{model}\n")
    (photo,) = index(tmp_path / "mine.csv").manifest.photos
    assert photo.camera == camera
    assert photo.make == ("" if model == "EOS 5D" and not make else "Canon")


def test_makes_that_exif_cannot_complete_are_noted(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], serial: None
) -> None:
    for number in range(3):
        camera = exif() if number else b""
        picture(number).save(tmp_path / f"{number}.jpg", exif=camera)
    (tmp_path / "mine.csv").write_text("path,make\n0.jpg,Acme\n1.jpg,Acme\n2.jpg,CANON Inc.\n")
    result = index(tmp_path / "mine.csv")
    assert result.manifest.photos[0].camera == ""
    assert "1 photo is of unknown camera: EXIF names none. The first: 0.jpg." in result.notes
    (other,) = result.contradictions
    assert other.text.startswith("1.jpg is listed as by Acme but is by its EXIF of Canon EOS 6D.")
    assert [p.model for p in result.manifest.photos] == ["", "EOS 6D", "EOS 6D"]
