import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from phototrace.errors import PhotoError
from phototrace.photos.damage import decode_jpeg
from phototrace.photos.indexing import index, read_photos
from phototrace.photos.manifest import Manifest, verify
from phototrace.photos.photo import read_photo, read_pixels, read_whole

Picture = Callable[..., Image.Image]
SIZE = (320, 240)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def scan_of(data: bytes) -> int:
    return data.index(b"\xff\xda") + 20


def cut(data: bytes) -> bytes:
    """A middle part is gone, the end is there."""
    return data[: len(data) // 2] + data[-len(data) // 4 :]


def cut_to_the_end(data: bytes) -> bytes:
    """Only the last marker is left of the second half."""
    return data[: len(data) // 2] + b"\xff\xd9"


def zeros(data: bytes) -> bytes:
    """A disk's unwritten blocks."""
    middle = len(data) // 2
    return data[:middle] + bytes(2048) + data[middle + 2048 :]


def repeated(data: bytes) -> bytes:
    """A block of the file stands in another's place."""
    middle, from_ = len(data) // 2, scan_of(data)
    return data[:middle] + data[from_ : from_ + 1024] + data[middle + 1024 :]


def flipped(data: bytes) -> bytes:
    """Single bits have changed: the codes behind each mean something else."""
    changed = bytearray(data)
    for place in range(scan_of(data), len(data) - 200, 997):
        if 0xFF not in (data[place - 1], data[place], data[place] ^ 0x40):  # which begin markers
            changed[place] ^= 0x40
    return bytes(changed)


def inserted(data: bytes) -> bytes:
    """More data than the picture has room for."""
    middle = len(data) // 2
    return data[:middle] + data[middle - 900 : middle] + data[middle:]


LOSSES = [cut, cut_to_the_end, zeros, repeated, flipped, inserted]
SORTS: dict[str, dict[str, Any]] = {
    "colour": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 2}
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sort", [*SORTS, "grey"])
def test_a_jpeg_that_lost_a_part_is_named_as_damaged(
    tmp_path: Path, picture: Picture, loss: Callable[[bytes], bytes], sort: str,
    green_of: Callable[[Path], NDArray[np.uint8]],
) -> None:  # fmt: skip
    path = tmp_path / "a.jpg"
    image = picture(1, SIZE, "L" if sort == "grey" else "RGB")
    data = jpeg(image, **SORTS.get(sort, {}))
    path.write_bytes(data)
    assert read_whole(path)[0].damage == ""
    path.write_bytes(loss(data))
    if sort == "progressive" and loss in (repeated, flipped):
        pytest.skip("what is spoilt there may be codes that exist")
    with pytest.raises(PhotoError, match=r"a\.jpg is a damaged JPEG .*--keep-damaged"):
        read_whole(path)
    with pytest.raises(PhotoError, match="damaged JPEG"):
        read_pixels(path, keep_damaged=False)
    photo, pixels = read_whole(path, keep_damaged=True)
    assert photo.damage
    np.testing.assert_array_equal(pixels, green_of(path))
    np.testing.assert_array_equal(read_pixels(path), pixels)


def padded(data: bytes) -> bytes:
    return data[:-2] + bytes(11) + data[-2:]


def filled(data: bytes) -> bytes:
    return data[:-2] + b"\xff" * 7 + data[-2:]


def followed(data: bytes) -> bytes:
    return data + b"\0\0maker's own data" * 50


def strayed(data: bytes) -> bytes:
    place = data.index(b"\xff\xdb")
    return data[:place] + b"\x12\x34\x56" + data[place:]


def odd_revision(data: bytes) -> bytes:
    place = data.index(b"JFIF\0") + 5
    return data[:place] + b"\x07\x01" + data[place + 2 :]


def with_odd_scan(data: bytes) -> bytes:
    """A sequential scan must say 0, 63, 0; some encoders do not."""
    place = data.index(b"\xff\xda")
    end = place + 2 + int(struct.unpack_from(">H", data, place + 2)[0])
    return data[: end - 3] + b"\0\0\0" + data[end:]


HARMLESS = [padded, filled, followed, strayed, odd_revision, with_odd_scan]


@pytest.mark.parametrize("flaw", HARMLESS)
def test_a_flaw_that_costs_no_pixel_is_no_damage(
    tmp_path: Path, picture: Picture, flaw: Callable[[bytes], bytes]
) -> None:
    path, plain = tmp_path / "a.jpg", tmp_path / "plain.jpg"
    data = jpeg(picture(2, SIZE))
    plain.write_bytes(data)
    path.write_bytes(flaw(data))
    photo, pixels = read_whole(path)
    assert photo.damage == ""
    np.testing.assert_array_equal(pixels, read_pixels(plain))


@pytest.mark.parametrize("flaw", [followed, strayed, odd_revision, with_odd_scan])
def test_a_flaw_does_not_hide_a_loss(
    tmp_path: Path, picture: Picture, flaw: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(flaw(cut(jpeg(picture(3, SIZE)))))
    with pytest.raises(PhotoError, match="damaged JPEG"):
        read_whole(path)


def test_the_further_pictures_of_a_file_do_not_matter(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "a.jpg"
    picture(7, SIZE).save(path, format="MPO", save_all=True, append_images=[picture(8, (60, 40))])
    path.write_bytes(path.read_bytes()[:-300])
    photo, pixels = read_whole(path)
    assert (photo.format, photo.damage, pixels.shape) == ("MPO", "", (240, 320))


SAMPLINGS = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "440": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "411": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}  # fmt: skip


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("size", [(64, 48), (67, 51), (1, 1), (17, 200)])
def test_both_decoders_give_the_same_pixels(
    tmp_path: Path, picture: Picture, sampling: str, progressive: int, restart: int,
    size: tuple[int, int],
) -> None:  # fmt: skip
    path = tmp_path / "a.jpg"
    options = [
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling],
        cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart,
    ]  # fmt: skip
    for mode in ("RGB", "L"):
        pixels = np.asarray(picture(4, size, mode))
        cv2.imwrite(str(path), pixels[..., ::-1] if mode == "RGB" else pixels, options)
        decoded, damage = decode_jpeg(path.read_bytes(), size, mode == "L")
        assert damage == ""
        assert decoded is not None
        with Image.open(path) as image:
            stored = np.asarray(image).reshape(decoded.shape)
        np.testing.assert_array_equal(decoded, stored)
        np.testing.assert_array_equal(read_whole(path)[1], read_pixels(path))
        colours = read_pixels(path, channels="rgb")
        checked = read_pixels(path, channels="rgb", keep_damaged=False)
        np.testing.assert_array_equal(colours, checked)
        box = (0, 0, 1, size[1])
        part = read_pixels(path, box=box, keep_damaged=False)
        np.testing.assert_array_equal(part, read_pixels(path, box=box))


def test_a_header_of_two_minds_takes_no_memory(picture: Picture) -> None:
    data = jpeg(picture(5, (16, 16)))
    assert decode_jpeg(data, (17, 16), grey=False) == (None, "")


@pytest.fixture
def damaged(tmp_path: Path, picture: Picture) -> Path:
    """A folder of four photos; the second has lost a part."""
    folder = tmp_path / "Acme_A1"
    folder.mkdir()
    for number in range(4):
        data = jpeg(picture(number, SIZE))
        (folder / f"{number}.jpg").write_bytes(cut(data) if number == 1 else data)
    return tmp_path


def test_an_index_lists_damaged_photos_as_broken_unless_they_are_kept(damaged: Path) -> None:
    result = index(damaged)
    assert [(p.path, p.kind) for p in result.broken] == [("Acme_A1/1.jpg", "unreadable")]
    assert "damaged" in result.broken[0].text
    assert len(result.manifest.photos) == 3
    kept = index(damaged, out=damaged / "m.csv", keep_damaged=True)
    assert kept.broken == ()
    read = Manifest.load(damaged / "m.csv")
    words = [p.extra["damage"] for p in read.photos]
    assert words == ["", "Corrupt JPEG data: premature end of data segment", "", ""]
    assert verify(read) == []
    assert index(damaged / "m.csv").manifest == read  # what was taken once stays


def test_photos_that_no_index_has_looked_at_are_checked(damaged: Path) -> None:
    from phototrace.patches.building import photo_pixels
    from phototrace.patches.plan import PatchSettings, plan_patches
    from phototrace.photos.splits import make_split

    kept = index(damaged, "folder", keep_damaged=True).manifest
    by_hand = replace(kept, photos=tuple(replace(p, extra={}) for p in kept.photos))
    assert [(p.path, p.kind) for p in verify(by_hand)] == [("Acme_A1/1.jpg", "unreadable")]
    assert verify(by_hand, keep_damaged=True) == []
    table = damaged / "by_hand.csv"
    by_hand.save(table)
    hashes = []
    for manifest, refused in [
        (read_photos(table), True), (read_photos(table, keep_damaged=True), False), (kept, False)
    ]:  # fmt: skip
        settings = PatchSettings(
            classes=("Acme A1",), label="camera", size=64, blocks="random", blocks_per_photo=1
        )
        plan = plan_patches(manifest, make_split(manifest, "photo", 1), settings)
        number = [p.path for p in plan.manifest.photos].index("Acme_A1/1.jpg")
        hashes.append(plan.hash)
        if refused:
            with pytest.raises(PhotoError, match="damaged JPEG"):
                photo_pixels(plan, number)
        else:
            assert photo_pixels(plan, number).shape == (240, 320)
    assert hashes[0] not in hashes[1:]  # patches cut without the photo are not taken for these


def test_a_training_takes_damaged_photos_only_where_it_is_told(damaged: Path) -> None:
    from phototrace.learning.preparing import gather_photos
    from phototrace.learning.recipe import Photos

    for keep, photos in ((False, 3), (True, 4)):
        gathered = gather_photos(
            Photos(corpus="folder"), damaged, damaged, damaged / "work", keep_damaged=keep
        )
        assert len(gathered.photos) == photos


def test_a_study_takes_what_its_manifest_kept(damaged: Path) -> None:
    from phototrace.study.photos import same_photos

    kept = index(damaged, keep_damaged=True).manifest
    found, left_out = same_photos(kept, damaged / "study" / "photos.parquet")
    assert (len(found.photos), left_out) == (4, [])
    by_hand = replace(kept, photos=tuple(replace(p, extra={}) for p in kept.photos))
    found, left_out = same_photos(by_hand, damaged / "other" / "photos.parquet")
    assert [one["path"] for one in left_out] == ["Acme_A1/1.jpg"]


def test_what_a_photo_says_of_itself_needs_no_decoding(damaged: Path) -> None:
    assert read_photo(damaged / "Acme_A1" / "1.jpg").damage == ""


@pytest.mark.slow
def test_no_real_photo_is_called_damaged(corpus: Path) -> None:
    for path in corpus.glob("photos/**/*.jpg"):
        with Image.open(path) as image:
            values, damage = decode_jpeg(path.read_bytes(), image.size, image.mode == "L")
            assert (values is not None, damage) == (True, "")
