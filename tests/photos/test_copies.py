from dataclasses import replace
from pathlib import Path

import pytest

from phototrace.photos.copies import sift, without_conflicts
from phototrace.photos.manifest import Manifest, PhotoRecord

ROW = PhotoRecord("0" * 16, "a.jpg", "0" * 64, "Nikon", "D70", "1")


def test_of_equal_rows_the_first_stays_and_of_others_the_one_that_says_most() -> None:
    again, bare = (
        replace(ROW, path="b.jpg"),
        replace(ROW, path="0.jpg", make="", model="", device=""),
    )
    assert sift([ROW, again]).kept == (ROW,)
    sifted = sift([bare, replace(ROW, path="c.jpg", device=""), ROW])
    assert sifted.kept == (ROW,)
    assert [p.path for p in sifted.duplicates] == ["0.jpg", "c.jpg"]
    assert sifted.conflicts == ()


@pytest.mark.parametrize("more", [{"model": "D80"}, {"make": "Canon"}, {"device": "2"}])
def test_rows_that_contradict_are_all_left_out(more: dict[str, str]) -> None:
    other = replace(ROW, path="b.jpg", **more)  # type: ignore[arg-type]
    sound = replace(ROW, id="1" * 16, sha256="1" * 64, path="sound.jpg")
    for rows in ([ROW, other, sound], [other, ROW, sound]):
        sifted = sift(rows)
        assert sifted.kept == (sound,)
        assert [p.path for p in sifted.conflicts] == ["a.jpg", "b.jpg"]
        kept, conflicts = without_conflicts(Manifest(tuple(rows), Path()))
        assert (kept.photos, conflicts) == ((sound,), sifted.conflicts)


def test_two_ways_to_write_one_camera_are_no_conflict() -> None:
    other = replace(ROW, path="b.jpg", make="NIKON CORPORATION", model="NIKON D70")
    assert sift([ROW, other]).conflicts == ()
    manifest = Manifest((ROW, other), Path())
    assert without_conflicts(manifest) == (manifest, ())
