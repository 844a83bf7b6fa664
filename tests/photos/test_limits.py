"""What large photos may cost, and what is large without being a photo's pixels."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from phototrace.errors import PhotoError
from phototrace.photos.photo import read_photo, read_pixels

Picture = Callable[..., Image.Image]


def test_tiles_above_the_limit_are_refused_and_the_limit_is_named(
    tmp_path: Path, picture: Picture
) -> None:
    path = tmp_path / "a.tif"
    picture(1).save(path)
    data = path.read_bytes()
    (place,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    tiles = [struct.pack("<HHLL", tag, 4, 1, 20_000) for tag in (322, 323)]
    entries = data[place + 2 : place + 2 + 12 * count] + b"".join(tiles)
    listed = struct.pack("<H", count + 2) + entries + bytes(4)
    path.write_bytes(data[:4] + struct.pack("<L", len(data)) + data[8:] + listed)
    with pytest.raises(PhotoError, match="tiles above the limit of 210 megapixels"):
        read_photo(path)


def noisy(size: int) -> bytes:
    return np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8).tobytes()


@pytest.mark.parametrize("extra", ["profile", "text", "compressed text", "international text"])
def test_a_png_with_a_large_profile_or_text_is_read(
    tmp_path: Path, picture: Picture, green_of: Callable[[Path], NDArray[np.uint8]], extra: str,
    exif: Callable[..., bytes],
) -> None:  # fmt: skip
    plain, large = tmp_path / "plain.png", tmp_path / "large.png"
    picture(1).save(plain, exif=exif())
    texts = PngImagePlugin.PngInfo()
    long = "<x:xmpmeta/> " * 800_000  # 10 MB
    if extra == "text":
        texts.add_text("note", long)
    elif extra == "compressed text":
        texts.add_text("note", long, zip=True)
    elif extra == "international text":
        texts.add_itxt("XML:com.adobe.xmp", long, zip=True)
    profile = noisy(10_000_000) if extra == "profile" else None
    picture(1).save(large, exif=exif(), pnginfo=texts, icc_profile=profile)
    np.testing.assert_array_equal(read_pixels(large), green_of(plain))
    assert read_photo(large).model == "Canon EOS 6D"
    assert PngImagePlugin.MAX_TEXT_CHUNK <= 1 << 20  # which is the whole process's


def test_a_png_whose_pixels_are_damaged_is_refused(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "a.png"
    picture(1).save(path)
    data = bytearray(path.read_bytes())
    place = data.index(b"IDAT")
    data[place + 400] ^= 1
    path.write_bytes(data)
    with pytest.raises(PhotoError, match="damaged"):
        read_pixels(path)
    end = zlib.crc32(b"tEXt")
    cut = struct.pack(">L4sL", 900, b"tEXt", end)
    path.write_bytes(bytes(data[: place - 4]) + cut)  # cut off within what is not needed
    with pytest.raises(PhotoError, match="damaged"):
        read_pixels(path)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells what was used")
def test_a_photo_of_200_megapixels_fits_into_the_stated_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    tile = np.random.default_rng(1).integers(60, 190, (1224, 1632, 3), dtype=np.uint8)
    Image.fromarray(np.tile(tile, (10, 10, 1))).save(path, quality=90)
    program = (
        "import re, sys; from pathlib import Path;"
        "from phototrace.photos.photo import read_pixels, read_whole;"
        "read = {'whole': lambda p: read_whole(p)[1], 'pixels': read_pixels}[sys.argv[2]];"
        "print(read(Path(sys.argv[1])).shape,"
        "re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    for way, gigabytes in (("whole", 1.0), ("pixels", 1.6)):
        command = [sys.executable, "-c", program, str(path), way]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        shape, _, peak = printed.strip().rpartition(" ")
        assert shape == "(12240, 16320)"
        assert int(peak) / 1e6 < gigabytes
