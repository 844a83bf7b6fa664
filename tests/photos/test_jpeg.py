import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from phototrace.photos.jpeg import nearest_quality, tables_hash
from phototrace.photos.photo import read_photo


@pytest.mark.parametrize("quality", range(1, 101))
def test_quality_is_the_one_it_was_saved_with(
    tmp_path: Path, picture: Callable[..., Image.Image], quality: int
) -> None:
    path = tmp_path / "a.jpg"
    picture(1, (16, 16)).save(path, quality=quality)
    assert read_photo(path).quality == quality


def test_quality_of_a_camera_with_its_own_table() -> None:
    assert nearest_quality([1] * 64) == 100
    assert nearest_quality([255] * 64) < 10


@pytest.mark.parametrize(("option", "text"), [(0, "1x1"), (1, "2x1"), (2, "2x2")])
def test_subsampling(
    tmp_path: Path, picture: Callable[..., Image.Image], option: int, text: str
) -> None:
    path = tmp_path / "a.jpg"
    picture(1).save(path, subsampling=option)
    assert read_photo(path).subsampling == text


def test_only_jpegs_have_tables(tmp_path: Path, picture: Callable[..., Image.Image]) -> None:
    path = tmp_path / "a.png"
    picture(1).save(path)
    photo = read_photo(path)
    assert (photo.qtables, photo.quality, photo.subsampling) == ("", None, "")


def test_the_name_of_tables_is_fixed() -> None:
    natural = list(range(64))
    assert tables_hash({0: natural}) == "e2a10ae25c"
    assert tables_hash({1: natural, 0: natural}) == tables_hash({0: natural, 1: natural})
    assert len({tables_hash({0: natural}), tables_hash({1: natural}), tables_hash({})}) == 3


def test_the_name_of_tables_is_the_corpus_own(corpus: Path) -> None:
    rows = list(csv.DictReader((corpus / "manifest.csv").open()))[::20]
    equal = sum(read_photo(corpus / row["path"]).qtables == row["qtables"] for row in rows)
    # A few cameras wrote a third table, equal to the second; lossless cropping left it out.
    assert equal > 0.9 * len(rows)
