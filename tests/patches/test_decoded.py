"""Photos kept decoded: the pixels of the photos, whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phototrace.errors import DamagedError, UsageError
from phototrace.patches import decoded
from phototrace.patches.building import stored_pixels
from phototrace.patches.decoded import DecodedPhotos, decode_photos, kept_part
from phototrace.patches.plan import PatchSettings
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import read_pixels

GREEN = PatchSettings(classes=("a",), label="camera", size=64)


@pytest.mark.parametrize("channels", ["green", "rgb"])
@pytest.mark.parametrize("recompress", [None, 60])
def test_pixels_are_those_of_the_photos(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: str,
    recompress: int | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(decoded, "FILE_BYTES", 100_000)
    settings = replace(GREEN, channels=channels, recompress=recompress)  # type: ignore[arg-type]
    made = decode_photos(photos, settings, tmp_path / "d")
    assert len(list((tmp_path / "d").glob("*.u8"))) > 3
    for record in photos.photos:
        expected = stored_pixels(photos.path_of(record), record, settings)
        assert np.array_equal(made.pixels(record.sha256), expected)
    again = decode_photos(photos, settings, tmp_path / "d")
    assert again.hash == made.hash
    assert again.places == made.places
    assert {p.suffix for p in (tmp_path / "d").iterdir()} == {".u8", ".json"}
    assert len(list((tmp_path / "d").glob("*.json"))) == 2


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (12240, 16320), (100, 100_000)])
def test_of_a_large_photo_the_middle_is_kept_on_its_grid(height: int, width: int) -> None:
    top, left, h, w = kept_part(height, width)
    assert 0.9 * decoded.MOST_PIXELS < h * w <= decoded.MOST_PIXELS
    assert top % 8 == left % 8 == h % 8 == w % 8 == 0
    assert min(h, w) >= min(96, height)
    assert abs(2 * top + h - height) <= 16
    assert abs(2 * left + w - width) <= 16
    assert kept_part(1000, 4000) == (0, 0, 1000, 4000)


def test_a_large_photo_gives_its_middle(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "MOST_PIXELS", 20_000)
    record = photos.photos[0]
    top, left, h, w = kept_part(record.height, record.width)
    made = decode_photos(replace(photos, photos=(record,)), GREEN, tmp_path / "d")
    whole = read_pixels(photos.path_of(record))
    assert np.array_equal(made.pixels(record.sha256), whole[top : top + h, left : left + w])


def test_photos_that_cannot_be_read_are_listed(photos: Manifest, tmp_path: Path) -> None:
    gone = replace(photos.photos[0], path="gone.jpg")
    changed = replace(photos.photos[1], sha256="0" * 64)
    wrong = replace(photos.photos[2], width=217)
    manifest = replace(photos, photos=(gone, changed, wrong, *photos.photos[3:]))
    made = decode_photos(manifest, GREEN, tmp_path / "d")
    assert {s["path"] for s in made.skipped} == {"gone.jpg", changed.path, wrong.path}
    assert "217 x 200" in next(s["reason"] for s in made.skipped if s["path"] == wrong.path)
    assert len(made.places) == len(photos.photos) - 3
    with pytest.raises(UsageError, match="None of the 2 photos"):
        decode_photos(replace(photos, photos=(gone, changed)), GREEN, tmp_path / "none")


def test_what_has_changed_is_refused(photos: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    decode_photos(photos, GREEN, folder)
    with pytest.raises(UsageError, match="other photos"):
        decode_photos(replace(photos, photos=photos.photos[1:]), GREEN, folder)
    path = next(folder.glob("*.u8"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match="changed"):
        decode_photos(photos, GREEN, folder)
    (folder / "decoded.json").write_text("{}")
    with pytest.raises(DamagedError):
        DecodedPhotos.load(folder)


def test_a_full_disk_is_said_beforehand(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "free_bytes", lambda folder: 2**30 + 10_000)
    with pytest.raises(UsageError, match=r"take 0\.0 GB, and there is room"):
        decode_photos(photos, GREEN, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_an_interruption_costs_one_file(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "FILE_BYTES", 100_000)
    whole = decode_photos(photos, GREEN, tmp_path / "whole")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decoded, "write_contents", fail)
        with pytest.raises(KeyboardInterrupt):
            decode_photos(photos, GREEN, tmp_path / "cut")
    first = tmp_path / "cut/planes-00000.u8"
    before = first.stat().st_mtime_ns
    (tmp_path / "cut/planes-00001.u8").write_bytes(b"half")
    made = decode_photos(photos, GREEN, tmp_path / "cut")
    assert first.stat().st_mtime_ns == before
    assert made.hash == whole.hash
    assert json.loads((tmp_path / "cut/decoded.json").read_text())["version"] == decoded.VERSION
