import hashlib
import os
import random
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from phototrace.errors import PhotoError, UsageError
from phototrace.photos.decoding import PIXEL_LIMIT
from phototrace.photos.photo import (
    Photo,
    legible,
    read_photo,
    read_pixels,
    read_whole,
)

Picture = Callable[..., Image.Image]
Green = Callable[[Path], NDArray[np.uint8]]


def png_of(width: int, height: int, *, depth: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        )

    header = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + end


@pytest.mark.parametrize(
    ("name", "format_"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.tif", "TIFF")]
)
def test_the_three_formats_are_read(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], green_of: Green,
    name: str, format_: str,
) -> None:  # fmt: skip
    path = tmp_path / name
    picture(1).save(path, exif=exif(taken="2024:05:06 07:08:09", serial="0123"))
    photo, green = read_whole(path)
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (photo.format, photo.width, photo.height, photo.mode) == (format_, 120, 80, "RGB")
    assert (photo.make, photo.model) == ("Canon", "Canon EOS 6D")
    assert (photo.taken, photo.serial) == ("2024-05-06T07:08:09", "0123")
    assert photo == read_photo(path)
    assert green.dtype == np.uint8
    np.testing.assert_array_equal(green, green_of(path))
    np.testing.assert_array_equal(read_pixels(path, channels="rgb")[..., 1], green)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a-lzw.tif"])
def test_orientation_is_told_and_never_applied(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], name: str, orientation: int
) -> None:
    path, upright = tmp_path / name, tmp_path / f"upright-{name}"
    if "lzw" in name:
        picture(2).save(path, compression="tiff_lzw", tiffinfo={274: orientation})
    else:
        picture(2).save(path, exif=exif(orientation=orientation))
    picture(2).save(upright)
    photo, green = read_whole(path)
    assert photo.orientation == orientation
    assert (photo.width, photo.height) == (120, 80)
    assert green.shape == (80, 120)
    np.testing.assert_array_equal(green, read_pixels(upright))


def test_colour_profiles_change_nothing(tmp_path: Path, picture: Picture) -> None:
    from PIL import ImageCms

    plain, tagged = tmp_path / "plain.jpg", tmp_path / "tagged.jpg"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture(3).save(plain)
    picture(3).save(tagged, icc_profile=profile)
    np.testing.assert_array_equal(read_pixels(plain), read_pixels(tagged))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_grey_serves_as_all_three_colours(tmp_path: Path, picture: Picture, name: str) -> None:
    picture(4, mode="L").save(tmp_path / name)
    green = read_pixels(tmp_path / name)
    colours = read_pixels(tmp_path / name, channels="rgb")
    assert colours.shape == (80, 120, 3)
    for channel in range(3):
        np.testing.assert_array_equal(colours[..., channel], green)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_alpha_is_dropped_and_the_colour_stays(
    tmp_path: Path, picture: Picture, name: str, mode: str
) -> None:
    image = picture(5, mode=mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / name)
    stored = np.asarray(image)[..., 1 if mode == "RGBA" else 0]
    np.testing.assert_array_equal(read_pixels(tmp_path / name), stored)
    assert read_pixels(tmp_path / name, channels="rgb").shape == (80, 120, 3)


def test_content_decides_and_not_the_ending(tmp_path: Path, picture: Picture) -> None:
    picture(6).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert read_photo(tmp_path / "a.jpg").format == "PNG"


def test_first_picture_of_several_in_a_jpeg(tmp_path: Path, picture: Picture) -> None:
    path, alone = tmp_path / "a.jpg", tmp_path / "alone.jpg"
    picture(7).save(path, format="MPO", save_all=True, append_images=[picture(8, (60, 40))])
    picture(7).save(alone)
    photo, green = read_whole(path)
    assert (photo.format, photo.width, photo.height) == ("MPO", 120, 80)
    np.testing.assert_array_equal(green, read_pixels(alone))


def test_box_cuts_out_a_part(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "a.jpg"
    picture(9).save(path)
    whole = read_pixels(path, channels="rgb")
    part = read_pixels(path, channels="rgb", box=(8, 16, 72, 80))
    np.testing.assert_array_equal(part, whole[16:80, 8:72])
    for box in [(0, 0, 121, 80), (-1, 0, 8, 8), (8, 8, 8, 16)]:
        with pytest.raises(UsageError, match="box"):
            read_pixels(path, box=box)


def test_a_changed_file_is_refused(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "a.jpg"
    picture(10).save(path)
    sha256 = read_photo(path).sha256
    read_pixels(path, sha256=sha256)
    picture(11).save(path)
    with pytest.raises(PhotoError, match=r"a\.jpg has changed since it was indexed"):
        read_pixels(path, sha256=sha256)


def save_odd(path: Path, kind: str, image: Image.Image) -> None:
    """Write one of the pictures that are not read."""
    wide = np.asarray(image).astype(np.uint16) * 257
    match kind:
        case "CMYK JPEG" | "CMYK TIFF":
            image.convert("CMYK").save(path, format=kind.split()[1])
        case "palette PNG" | "palette TIFF":
            image.convert("P").save(path, format=kind.split()[1])
        case "1-bit PNG" | "1-bit TIFF":
            image.convert("1").save(path, format=kind.split()[1])
        case "4-bit PNG":
            path.write_bytes(png_of(8, 4, depth=4, rows=bytes(5) * 4))
        case "16-bit RGB PNG" | "16-bit RGB TIFF":
            cv2.imwrite(str(path.with_suffix("." + kind[-4:].strip().lower())), wide)
            path.with_suffix("." + kind[-4:].strip().lower()).rename(path)
        case "16-bit grey PNG" | "16-bit grey TIFF":
            Image.fromarray(wide[..., 0]).save(path, format=kind.split()[2])
        case "float TIFF":
            Image.fromarray(wide[..., 0].astype(np.float32)).save(path, format="TIFF")
        case "Lab TIFF":
            Image.new("LAB", (8, 8)).save(path, format="TIFF")
        case "YCbCr TIFF":
            image.convert("YCbCr").save(path, format="TIFF")
        case "premultiplied TIFF":
            image.convert("RGBA").save(path, format="TIFF")
            extra = struct.pack("<HHLH", 338, 3, 1, 2)
            path.write_bytes(path.read_bytes().replace(extra, extra[:-2] + b"\1\0"))
        case "animated PNG":
            image.save(path, format="PNG", save_all=True, append_images=[image.rotate(90)])
        case "multi-page TIFF":
            image.save(path, format="TIFF", save_all=True, append_images=[image.rotate(90)])
        case _:
            image.save(path, format=kind)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("CMYK JPEG", "CMYK"), ("CMYK TIFF", "CMYK"),
        ("palette PNG", "palette"), ("palette TIFF", "palette"),
        ("1-bit PNG", "1 bit"), ("1-bit TIFF", "1 bit"), ("4-bit PNG", "4 bits"),
        ("16-bit RGB PNG", "16 bits"), ("16-bit RGB TIFF", "16 bits"),
        ("16-bit grey PNG", "16 bits"), ("16-bit grey TIFF", "16 bits"),
        ("float TIFF", "floating-point"), ("Lab TIFF", "Lab"), ("YCbCr TIFF", "YCbCr"),
        ("premultiplied TIFF", "multiplied by a transparency"),
        ("animated PNG", "animated PNG"), ("multi-page TIFF", "several pictures"),
        ("GIF", "a GIF"), ("WEBP", "a WebP"), ("BMP", "a BMP"),
    ],
)  # fmt: skip
def test_each_odd_picture_is_refused_with_its_own_reason(
    tmp_path: Path, picture: Picture, kind: str, reason: str
) -> None:
    path = tmp_path / "odd.jpg"
    save_odd(path, kind, picture(12))
    for read in (read_photo, read_pixels):
        with pytest.raises(PhotoError, match=rf"odd\.jpg .*{reason}.*\. [A-Z].*[.:]"):
            read(path)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypheic", "HEIC.*erase the traces.*camera's JPEG"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"\0\0\0\x18ftypavif", "AVIF.*erase the traces"),
        (b"\0\0\0\x18ftypcrx ", "raw file"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw file"),
        (b"FUJIFILMCCD-RAW 0201", "raw file"),
        (b"\xff\x0a", "JPEG XL"),
        (b"hello, I am no photo", "is not a photo"),
        (b"\xff\xd8\xff", "damaged or unusual JPEG"),
        (b"\x89PNG\r\n\x1a\n", "damaged or unusual PNG"),
        (b"II*\0", "damaged or unusual TIFF|1 bit"),
    ],
)
def test_what_is_no_photo_is_named(tmp_path: Path, head: bytes, reason: str) -> None:
    (tmp_path / "x.jpg").write_bytes(head)
    with pytest.raises(PhotoError, match=rf"x\.jpg .*({reason})"):
        read_pixels(tmp_path / "x.jpg")


def test_what_is_no_plain_file_does_not_hang(tmp_path: Path) -> None:
    pipe, plug = tmp_path / "pipe.jpg", tmp_path / "plug.jpg"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plug))
        cases = [(tmp_path, "folder"), (pipe, "pipe"), (plug, "pipe"), (Path("/dev/zero"), "pipe")]
        for path, reason in cases:
            with pytest.raises(PhotoError, match=reason):
                read_photo(path)
    for path in (tmp_path / "none.jpg", Path("a\0b.jpg"), tmp_path / ("x" * 300)):
        with pytest.raises(PhotoError):
            read_photo(path)


def test_truncated_files_are_refused(tmp_path: Path, picture: Picture) -> None:
    for name in ("a.jpg", "a.png", "a.tif"):
        path = tmp_path / name
        picture(13).save(path)
        path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 3])
        with pytest.raises(PhotoError, match="damaged or unusual"):
            read_pixels(path)


def resized_header(path: Path, width: int, height: int) -> None:
    """Let a small file claim another size."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".jpg":
        place = data.index(b"\xff\xc0")
        data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    elif path.suffix == ".png":
        data[16:24] = struct.pack(">LL", width, height)
        data[29:33] = struct.pack(">L", zlib.crc32(bytes(data[12:29])))
    else:
        for tag, value in ((256, width), (257, height)):
            place = data.index(struct.pack("<H", tag), struct.unpack_from("<L", data, 4)[0])
            data[place + 2 : place + 12] = struct.pack("<HLL", 4, 1, value)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_bombs_are_told_by_the_header(tmp_path: Path, picture: Picture, name: str) -> None:
    path = tmp_path / name
    picture(14).save(path)
    resized_header(path, 21_001, 10_000)
    with pytest.raises(PhotoError, match=r"21001 x 10000 pixels.*limit of 210 megapixels.*bomb"):
        read_photo(path)
    resized_header(path, 60_000, 60_000)
    with pytest.raises(PhotoError, match="bomb"):
        read_pixels(path)
    resized_header(path, 16_320, 12_240)  # a phone's
    assert read_photo(path).width == 16_320
    resized_header(path, 21_000, 10_000)
    assert read_photo(path).width * read_photo(path).height == PIXEL_LIMIT


def test_above_pillows_limit_and_below_ours(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_of(10_000, 9_000, rows=bytes(10_001) * 9_000))
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_pixels(path, box=(0, 0, 8, 8)).shape == (8, 8)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a-lzw.tif"])
def test_pillows_own_limit_does_not_matter(
    tmp_path: Path, picture: Picture, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"compression": "tiff_lzw"} if "lzw" in name else {}
    picture(15).save(tmp_path / name, **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_pixels(tmp_path / name).shape == (80, 120)


def test_photos_are_not_touched(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "a.jpg"
    picture(16).save(path)
    path.chmod(0o400)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    read_whole(path)
    assert before == (path.read_bytes(), path.stat().st_mtime_ns)


def test_threads_do_not_disturb_each_other(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "a.tif"
    picture(17, (16, 16)).save(path)
    filters, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            photos: list[Photo] = list(pool.map(read_photo, [path] * 400))
    finally:
        sys.setswitchinterval(interval)
    assert photos == [read_photo(path)] * 400
    assert filters == list(warnings.filters)


def test_names_can_be_shown() -> None:
    assert legible(os.fsdecode(b"a\xffb\n\x1b[31m.jpg")) == "a\\xffb\\n\\x1b[31m.jpg"
    assert legible(Path("Köln 1.jpg")) == "Köln 1.jpg"


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randint(1, 12)):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del changed[rng.randrange(len(changed)) :]
    elif kind == 2:
        a, b, length = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 200)
        changed[a : a + length] = data[b : b + length]
    else:
        # The header is where the most can go wrong.
        for _ in range(rng.randint(1, 6)):
            changed[rng.randrange(min(400, len(changed)))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(changed)


@pytest.mark.parametrize("name", ["a.jpg", "a.mpo", "a.png", "a.tif", "a-lzw.tif"])
def test_a_mutated_file_gives_pixels_or_a_photo_error(
    tmp_path: Path, picture: Picture, exif: Callable[..., bytes], name: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rng = random.Random(name)
    path = tmp_path / name
    options: dict[str, Any] = {"exif": exif(taken="2024:05:06 07:08:09", serial="1")}
    if "lzw" in name:
        options = {"compression": "tiff_lzw", "tiffinfo": {274: 6, 271: "Canon"}}
    if name.endswith("mpo"):
        options |= {"save_all": True, "append_images": [picture(18, (32, 24))]}
    picture(18, (48, 40)).save(path, **options)
    data = path.read_bytes()
    outcomes = set()
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        for _ in range(80):
            path.write_bytes(mutated(data, rng))
            try:
                photo, green = read_whole(path)
                assert green.shape == (photo.height, photo.width)
                outcomes.add("pixels")
            except PhotoError as error:
                outcomes.add("refused" if name in str(error) else "refused without a name")
    assert outcomes == {"pixels", "refused"}
    assert [str(remark.message) for remark in remarks] == []
    if "lzw" not in name:  # libtiff itself writes to stderr
        assert capfd.readouterr() == ("", "")
