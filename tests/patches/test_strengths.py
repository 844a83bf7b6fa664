"""How strong each edit is (paper Table 1, task A), by definitions that owe nothing to the code.

Every operation is called as the task does and by its own defaults.
"""

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from phototrace.patches.manipulations import (
    MANIPULATIONS,
    Operation,
    QualityEdits,
    bilinear_resample,
    gaussian_blur,
    jpeg_compress,
    median_filter,
    white_noise,
)

Pixels = NDArray[np.uint8]
PLAIN: dict[str, Operation] = {
    "median filter": median_filter, "Gaussian blur": gaussian_blur, "white noise": white_noise,
    "bilinear resampling": bilinear_resample, "JPEG compression": jpeg_compress,
}  # fmt: skip


def both(name: str) -> list[Operation]:
    return [MANIPULATIONS[name], PLAIN[name]]


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def saved_by_pillow(pixels: Pixels, quality: int) -> Pixels:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)], ids=["grey", "colour"])
def test_jpeg_is_of_quality_70(shape: tuple[int, ...]) -> None:
    pixels = rng().integers(0, 256, shape, dtype=np.uint8)
    for operation in both("JPEG compression"):
        found = operation(pixels, rng()).astype(int)
        away = {q: np.abs(found - saved_by_pillow(pixels, q)).mean() for q in range(50, 96)}
        assert away[70] < 0.1  # the two differ in how they round colours
        assert min(away, key=lambda q: away[q]) == 70
        assert min(away[69], away[71]) > 0.5


@pytest.mark.parametrize("quality", [50, 77, 95])
def test_a_quality_edit_saves_at_the_quality_that_is_its_label(quality: int) -> None:
    pixels = rng().integers(0, 256, (64, 64), dtype=np.uint8)
    found = QualityEdits().operation((), float(quality))(pixels, rng())
    np.testing.assert_array_equal(found, saved_by_pillow(pixels, quality))


def test_qualities_are_drawn_from_all_between_the_bounds() -> None:
    stream = rng()
    drawn = [QualityEdits(50, 53).labels((), stream) for _ in range(200)]
    assert {len(versions) for versions in drawn} == {2}
    assert {quality for versions in drawn for quality in versions} == {50, 51, 52, 53}


def test_median_is_of_25_pixels() -> None:
    """White wins where 13 of the 25 are white."""
    pixels = rng().choice(np.array([0, 255], np.uint8), (64, 64))
    windows = np.lib.stride_tricks.sliding_window_view(pixels == 255, (5, 5))
    expected = np.where(windows.sum(axis=(2, 3)) >= 13, 255, 0)
    for operation in both("median filter"):
        np.testing.assert_array_equal(operation(pixels, rng())[2:-2, 2:-2], expected)


def test_blur_spreads_a_point_over_25_pixels_with_sigma_1_1() -> None:
    point = np.zeros((21, 21), np.uint8)
    point[10, 10] = 255
    taps = np.array([np.exp(-(k**2) / (2 * 1.1**2)) for k in (-2, -1, 0, 1, 2)])
    expected = np.zeros((21, 21))
    expected[8:13, 8:13] = 255 * np.outer(taps, taps) / taps.sum() ** 2
    for operation in both("Gaussian blur"):
        found = operation(point, rng())
        assert np.abs(found - expected).max() < 1
        assert found[8, 8] > 0
        assert found.sum() == found[8:13, 8:13].sum()


def test_noise_is_white_and_normal_with_sigma_2() -> None:
    grey = np.full((256, 256), 128, np.uint8)
    for operation in both("white noise"):
        noise = operation(grey, rng()).astype(float) - 128
        assert noise.mean() == pytest.approx(0, abs=0.03)
        assert noise.std() == pytest.approx(np.sqrt(4 + 1 / 12), abs=0.03)  # 1 / 12 by rounding
        assert (np.abs(noise) > 4).mean() == pytest.approx(0.0244, abs=0.003)  # 4.5 / 2 sigmas
        beside = [noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1]]
        assert [product.mean() for product in beside] == pytest.approx([0, 0], abs=0.08)


def test_resampling_enlarges_by_one_and_a_half_between_neighbours() -> None:
    pixels = rng().integers(0, 256, (48, 64), dtype=np.uint8)
    for operation in both("bilinear resampling"):
        found = operation(pixels, rng())
        assert found.shape == (72, 96)
        # Pixel 3 k + 1 of the larger lies on pixel 2 k + 0.5 of the smaller, between four.
        four = [
            pixels[i : i + 47 : 2, j : j + 63 : 2].astype(float) for i in (0, 1) for j in (0, 1)
        ]
        assert np.abs(found[1::3, 1::3] - np.mean(four, axis=0)).max() < 1
