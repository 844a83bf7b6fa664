import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from phototrace.patches.manipulations import (
    EDITINGS,
    MANIPULATIONS,
    Operation,
    Pixels,
    edit_block,
    edit_region,
    jpeg_compress,
    unaltered,
)

SIZE = 64


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def photo() -> Pixels:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(256, 320)), 3)
    pixels = 128 + 300 * smooth + rng.normal(0, 3, smooth.shape)
    rounded: Pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return rounded


def test_the_six_of_table_1() -> None:
    assert list(MANIPULATIONS) == [
        "unaltered",
        "median filter",
        "Gaussian blur",
        "white noise",
        "bilinear resampling",
        "JPEG compression",
    ]


@pytest.mark.parametrize("name", MANIPULATIONS)
@pytest.mark.parametrize("way", EDITINGS)
@pytest.mark.parametrize("depth", [(), (3,)])
def test_edited_patches_keep_shape_and_type(
    photo: NDArray[np.uint8], name: str, way: str, depth: tuple[int, ...]
) -> None:
    pixels = np.stack([photo] * 3, axis=-1) if depth else photo
    patch = EDITINGS[way](pixels, (96, 128), SIZE, MANIPULATIONS[name], _rng())
    assert patch.shape == (SIZE, SIZE, *depth)
    assert patch.dtype == np.uint8


def test_median_and_blur_against_scipy(photo: NDArray[np.uint8]) -> None:
    inner = np.s_[8:-8, 8:-8]
    median = MANIPULATIONS["median filter"](photo, _rng())
    assert np.array_equal(median[inner], ndimage.median_filter(photo, size=5)[inner])
    taps = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 1.1**2))
    taps /= taps.sum()
    exact = ndimage.convolve(photo.astype(float), np.outer(taps, taps))
    blurred = MANIPULATIONS["Gaussian blur"](photo, _rng())
    assert np.abs(blurred - exact)[inner].max() < 1.0
    assert abs((blurred - exact)[inner].mean()) < 0.05


def test_noise_is_rounded_not_truncated(photo: NDArray[np.uint8]) -> None:
    middle = np.clip(photo, 40, 200)
    difference = MANIPULATIONS["white noise"](middle, _rng()).astype(float) - middle
    assert abs(difference.mean()) < 0.05
    assert difference.std() == pytest.approx(np.sqrt(4 + 1 / 12), rel=0.03)


def test_noise_is_clipped_at_both_ends() -> None:
    for value in (0, 255):
        noisy = MANIPULATIONS["white noise"](np.full((64, 64), value, np.uint8), _rng())
        assert abs(int(noisy.mean()) - value) < 3


def test_resampling_interpolates_a_ramp(photo: NDArray[np.uint8]) -> None:
    ramp = np.tile(np.arange(0, 240, 3, dtype=np.uint8), (80, 1))
    larger = MANIPULATIONS["bilinear resampling"](ramp, _rng())
    assert larger.shape == (120, 120)
    expected = (np.arange(120) + 0.5) / 1.5 - 0.5
    assert np.abs(larger[60, 5:-5] - 3 * expected[5:-5]).max() <= 0.51


def test_jpeg_leaves_multiples_of_its_table() -> None:
    rng = np.random.default_rng(1)
    block = rng.integers(60, 200, (64, 64), dtype=np.uint8)
    twice = jpeg_compress(jpeg_compress(block, rng), rng)
    assert np.abs(twice.astype(int) - jpeg_compress(block, rng)).mean() < 0.3
    assert np.abs(jpeg_compress(block, rng).astype(int) - block).mean() > 3


def test_block_edit_sees_nothing_of_its_surroundings(photo: NDArray[np.uint8]) -> None:
    other = photo.copy()
    other[:96] = 0
    for name, operation in MANIPULATIONS.items():
        one = edit_block(photo, (96, 128), SIZE, operation, _rng())
        two = edit_block(other, (96, 128), SIZE, operation, _rng())
        assert np.array_equal(one, two), name


def test_region_edit_has_no_border_of_its_own(photo: NDArray[np.uint8]) -> None:
    whole = MANIPULATIONS["median filter"](photo, _rng())
    region = edit_region(photo, (97, 131), SIZE, MANIPULATIONS["median filter"], _rng())
    assert np.array_equal(region, whole[97 : 97 + SIZE, 131 : 131 + SIZE])
    block = edit_block(photo, (97, 131), SIZE, MANIPULATIONS["median filter"], _rng())
    assert not np.array_equal(block, region)


def test_region_edit_meets_every_jpeg_phase(photo: NDArray[np.uint8]) -> None:
    origins = set()

    def note(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        at = np.argwhere(pixels == 255)[0]
        origins.add((int(at[0]) % 8, int(at[1]) % 8))
        return pixels

    marked = np.zeros_like(photo)
    marked[96, 128] = 255
    for seed in range(600):
        edit_region(marked, (96, 128), SIZE, note, np.random.default_rng(seed))
    assert len(origins) == 64


def test_a_region_reaches_8_to_23_pixels_beyond_each_side() -> None:
    """Of a photo whose grey levels are its column numbers, and of one turned by 90 degrees."""
    columns = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    before: set[int] = set()
    after: set[int] = set()

    def note(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        before.add(100 - int(pixels[0, 0]))
        after.add(int(pixels[-1, -1]) - 100 - SIZE + 1)
        return pixels

    for photo in (columns, columns.T.copy()):
        before.clear()
        after.clear()
        for seed in range(300):
            edit_region(photo, (100, 100), SIZE, note, np.random.default_rng(seed))
        assert before == after == set(range(8, 24))


@pytest.mark.parametrize("position", [(0, 0), (256 - SIZE, 320 - SIZE)])
@pytest.mark.parametrize("operation", MANIPULATIONS.values())
def test_region_edit_works_at_the_photos_edge(
    photo: NDArray[np.uint8], position: tuple[int, int], operation: Operation
) -> None:
    assert edit_region(photo, position, SIZE, operation, _rng()).shape == (SIZE, SIZE)


def test_unaltered_region_is_the_photo_itself(photo: NDArray[np.uint8]) -> None:
    patch = edit_region(photo, (97, 131), SIZE, unaltered, _rng())
    assert np.array_equal(patch, photo[97 : 97 + SIZE, 131 : 131 + SIZE])
