import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from phototrace.errors import PhotoError, UsageError
from phototrace.photos.finding import find_photos
from phototrace.photos.indexing import index, survey
from phototrace.photos.photo import read_photo

Picture = Callable[..., Image.Image]
Entries = Sequence[tuple[int, int, bytes]]


def test_content_or_ending_makes_a_photo(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "b").mkdir()
    picture(1).save(tmp_path / "b" / "2.JPG")
    picture(1).save(tmp_path / "a.dat", format="PNG")
    picture(1).save(tmp_path / "c.gif")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "d.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "e.jpg").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "list.csv").write_text("mine")
    found = find_photos(tmp_path, frozenset([str(tmp_path / "list.csv")]))
    assert found.paths == ["a.dat", "b/2.JPG"]
    assert [p.path for p in found.broken] == ["e.jpg", "empty.jpg"]
    assert [p.path for p in found.skipped] == ["c.gif", "d.HEIC", "notes.txt"]
    assert "camera's JPEG" in found.skipped[1].text
    assert {p.kind for p in found.skipped} == {"skipped"}


def test_hidden_files_are_listed_and_not_read(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / ".trash").mkdir()
    picture(1).save(tmp_path / ".trash" / "a.jpg")
    picture(1).save(tmp_path / "._b.jpg", format="JPEG")
    found = find_photos(tmp_path)
    assert found.paths == []
    assert [p.path for p in found.skipped] == ["._b.jpg", ".trash"]


def test_links_pipes_and_loops_do_not_hang(tmp_path: Path, picture: Picture) -> None:
    real, away = tmp_path / "photos" / "real", tmp_path / "away"
    real.mkdir(parents=True)
    away.mkdir()
    picture(1).save(real / "a.jpg")
    picture(2).save(away / "b.jpg")
    top = real.parent
    (real / "up").symlink_to(top)
    (top / "again").symlink_to(real)
    (top / "away").symlink_to(away)
    (top / "self").symlink_to(top / "self")
    (top / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    (top / "link.jpg").symlink_to(real / "a.jpg")
    os.mkfifo(top / "pipe.jpg")
    found = find_photos(top)
    assert found.paths == ["away/b.jpg", "link.jpg", "real/a.jpg"]
    assert {(p.path, p.kind) for p in found.broken} == {
        ("gone.jpg", "missing"), ("self", "unreadable")
    }  # fmt: skip
    assert [p.path for p in found.skipped] == ["pipe.jpg"]


def test_a_name_that_is_not_utf8_is_broken(tmp_path: Path, picture: Picture) -> None:
    name = os.fsdecode(b"a\xff.jpg")
    picture(1).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / name)
    found = find_photos(tmp_path)
    assert found.paths == []
    assert [(p.kind, p.text) for p in found.broken] == [
        ("unreadable", "The name a\\xff.jpg is not valid UTF-8. Rename the file.")
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_closed_folders_are_broken(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert [p.path for p in find_photos(tmp_path).broken] == ["closed"]


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none cannot be opened"):
        find_photos(tmp_path / "none")


def tiff(directory: Callable[..., bytes], entries: Entries, below: Entries = ()) -> bytes:
    """A TIFF of one directory and, where entries are given, one below it (SubIFDs)."""
    if below:
        at = 8 + len(directory([*entries, (330, 4, bytes(4))], 8))
        first = directory([*entries, (330, 4, struct.pack("<L", at))], 8)
        return b"II*\0\x08\0\0\0" + first + directory(below, at)
    return b"II*\0\x08\0\0\0" + directory(entries, 8)


def short(tag: int, value: int) -> tuple[int, int, bytes]:
    return tag, 3, struct.pack("<H", value)


MAKE = (271, 2, b"Nikon\0")
EIGHT_BITS = (258, 3, struct.pack("<HHH", 8, 8, 8))
PREVIEW = [short(254, 1), EIGHT_BITS, short(262, 2), MAKE]
RAW: dict[str, tuple[Entries, Entries]] = {
    "a.NEF": (PREVIEW, [short(262, 32803), short(259, 34713)]),
    "a.ARW": ([short(254, 1), short(259, 6), MAKE], [short(262, 32803), short(259, 32767)]),
    "a.dng": ([*PREVIEW, (50706, 1, b"\1\4\0\0")], ()),
    "a.PEF": ([EIGHT_BITS, short(262, 32803), MAKE], ()),
    "a.srw": ([EIGHT_BITS, short(262, 2), MAKE], [short(259, 32770)]),
    "a.3FR": (PREVIEW, [short(254, 0)]),
    "no-ending": (PREVIEW, [short(262, 34892)]),
    "raw.tif": ([EIGHT_BITS, short(262, 32803), MAKE], ()),
    "raw.jpg": (PREVIEW, [short(262, 32803)]),
    "odd.KDC": ([short(262, 7)], ()),
}
STARTS = {
    "a.CR2": b"II*\0\x10\0\0\0CR\x02\0", "a.iiq": b"II*\0\x08\0\0\0IIIITwaR", "a.orf": b"IIRO\x08",
    "b.ORF": b"IIRS\x08", "c.orf": b"MMOR\0", "a.RW2": b"IIU\0\x18", "a.raf": b"FUJIFILMCCD-RAW ",
    "a.cr3": b"\0\0\0\x18ftypcrx ", "a.x3f": b"FOVb", "a.mrw": b"\0MRM", "odd.mos": b"unheard of",
    "a.crw": b"II\x1a\0\0\0HEAPCCDR",
}  # fmt: skip


@pytest.mark.parametrize("name", [*RAW, *STARTS])
def test_every_raw_file_is_left_out_as_raw(
    tmp_path: Path, picture: Picture, directory: Callable[..., bytes], name: str
) -> None:
    picture(1).save(tmp_path / "b.jpg")
    data = tiff(directory, *RAW[name]) if name in RAW else STARTS[name]
    (tmp_path / name).write_bytes(data + bytes(64))
    found = find_photos(tmp_path)
    assert (found.paths, found.broken) == (["b.jpg"], [])
    (left_out,) = found.skipped
    assert left_out.path == name
    assert f"{name} is a raw file, which is not read" in left_out.text
    if not name.startswith("odd"):
        with pytest.raises(PhotoError, match="is a raw file, which is not read"):
            read_photo(tmp_path / name)


def test_a_photo_is_read_whatever_its_name_and_a_broken_tiff_is_broken(
    tmp_path: Path, picture: Picture
) -> None:
    picture(1).save(tmp_path / "a.nef", format="JPEG")
    picture(2).save(tmp_path / "b.dng", format="TIFF")
    picture(3).save(tmp_path / "c.tif", exif=picture(3).getexif())
    (tmp_path / "d.tif").write_bytes(b"II*\0\x08\0\0\0")
    (tmp_path / "e.nef").touch()
    found = find_photos(tmp_path)
    assert found.paths == ["a.nef", "b.dng", "c.tif", "d.tif"]
    assert [p.text for p in found.skipped] == ["e.nef is empty. Copy it again from its source."]
    for name in found.paths[:3]:
        assert read_photo(tmp_path / name).width == 120


def test_a_folder_of_raw_files_alone_lists_them_and_is_not_used(tmp_path: Path) -> None:
    """They are no mistake of whoever indexes; but nothing can be trained on them."""
    (tmp_path / "a.orf").write_bytes(STARTS["a.orf"])
    result = index(tmp_path)
    assert not result.manifest.photos
    assert not result.broken
    assert [p.text.split(",")[0] for p in result.skipped] == ["a.orf is a raw file"]
    with pytest.raises(UsageError, match=r"no photos in .*1 files are left out.*a\.orf is a raw"):
        survey(tmp_path)
    (tmp_path / "a.orf").rename(tmp_path / "b.txt")
    (tmp_path / "b.txt").write_text("no photo")
    with pytest.raises(UsageError, match="no photos in"):
        index(tmp_path)
