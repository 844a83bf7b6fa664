from collections.abc import Callable
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
