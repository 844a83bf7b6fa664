import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from phototrace.errors import UsageError
from phototrace.photos.finding import find_photos

Picture = Callable[..., Image.Image]


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
