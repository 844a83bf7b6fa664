import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Picture = Callable[..., Image.Image]


@pytest.fixture(scope="session")
def picture() -> Picture:
    """A picture of soft random shapes, its own for each seed; perceptual hashes lie far apart."""

    def make(seed: int, size: tuple[int, int] = (120, 80), mode: str = "RGB") -> Image.Image:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        grain = rng.integers(-8, 9, smooth.shape)
        return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).convert(mode)

    return make


@pytest.fixture(scope="session")
def exif() -> Callable[..., bytes]:
    """EXIF bytes of a camera."""

    def make(
        camera: str = "Canon EOS 6D", taken: str = "", serial: str = "", orientation: int = 1
    ) -> bytes:
        tags = Image.Exif()
        tags[271], tags[272], tags[274] = camera.split()[0], camera, orientation
        inner = tags.get_ifd(0x8769)
        if taken:
            inner[0x9003] = taken
        if serial:
            inner[0xA431] = serial
        return tags.tobytes()

    return make


@pytest.fixture(scope="session")
def green_of() -> Callable[[Path], NDArray[np.uint8]]:
    """The green channel by plain Pillow, to hold `read_pixels` against."""

    def read(path: Path) -> NDArray[np.uint8]:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))[..., 1].copy()

    return read


Entry = tuple[int, int, bytes]  # tag, type, the values' bytes
_TYPE_BYTES = {3: 2, 4: 4, 8: 2, 9: 4, 16: 8}


@pytest.fixture(scope="session")
def directory() -> Callable[..., bytes]:
    """A TIFF directory with its values behind it, for where offsets count it to stand at `at`."""

    def make(entries: Sequence[Entry], at: int, order: str = "<") -> bytes:
        listed, values = b"", b""
        end = at + 2 + 12 * len(entries) + 4
        for tag, kind, value in sorted(entries):
            listed += struct.pack(order + "HHL", tag, kind, len(value) // _TYPE_BYTES.get(kind, 1))
            if len(value) > 4:
                listed += struct.pack(order + "L", end + len(values))
                values += value + bytes(len(value) % 2)
            else:
                listed += value.ljust(4, b"\0")
        return struct.pack(order + "H", len(entries)) + listed + bytes(4) + values

    return make


@pytest.fixture(scope="session")
def exif_of(directory: Callable[..., bytes]) -> Callable[..., bytes]:
    """An EXIF block of the entries of IFD0 and of the EXIF directory; little endian.

    `note`, given where it will stand, makes a maker's note; `gap` bytes stand before it.
    """

    def make(
        main: Sequence[Entry] = (),
        inner: Sequence[Entry] = (),
        note: Callable[[int], bytes] | None = None,
        gap: int = 0,
    ) -> bytes:
        head = b"II*\0\x08\0\0\0"
        at = 8 + len(directory([*main, (0x8769, 4, bytes(4))], 8))
        head += directory([*main, (0x8769, 4, struct.pack("<L", at))], 8)
        if note is None:
            return head + directory(inner, at)
        behind = directory([*inner, (0x927C, 7, bytes(4))], at)
        place = at + len(behind) + gap  # the note stands behind the other values
        value = note(place)
        entry = behind.index(struct.pack("<HH", 0x927C, 7)) + 4
        behind = behind[:entry] + struct.pack("<LL", len(value), place) + behind[entry + 8 :]
        return head + behind + bytes(gap) + value

    return make
