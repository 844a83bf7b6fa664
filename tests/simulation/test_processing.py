from dataclasses import replace

import cv2
import numpy as np
import pytest

from phototrace.simulation import processing
from phototrace.simulation.camera import (
    Camera,
    Denoising,
    Scaling,
    Sharpening,
)
from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.randomness import stream
from phototrace.simulation.sensor import colour_channels

SIZE = (64, 96)
every_camera = pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)


def noise(spread: float) -> np.ndarray:
    return 128 + spread * stream("noise").standard_normal(SIZE, dtype=np.float32)


@every_camera
def test_white_becomes_nearly_white(camera: Camera) -> None:
    gains = processing.white_balance_gains(camera.sensor, (1.0, 1.0, 1.0), stream("white"))
    assert gains.min() == 1.0
    raw_white = np.array(camera.sensor.sensitivity).sum(axis=1) * gains
    colour = processing.colour_matrix(camera.sensor, camera.tone.saturation) @ raw_white
    assert colour.max() / colour.min() < 1.25


def test_balance_clips_at_white() -> None:
    channels = colour_channels(("RG", "GB"), (4, 4))
    balanced = processing.balance(
        np.full((4, 4), 0.8, np.float32), channels, np.array([1.5, 1.0, 1.2], np.float32)
    )
    assert balanced[0, 0] == 1.0
    assert balanced[0, 1] == np.float32(0.8)


@every_camera
def test_tone_curves_rise_from_black_to_white(camera: Camera) -> None:
    table = processing.tone_table(camera.tone)
    assert table[0] == 0
    assert table[-1] == 255
    assert (np.diff(table) > 0).all()


def test_a_grey_has_no_chroma_and_comes_back_as_grey() -> None:
    camera = CAMERAS[0]
    grey = np.full((8, 8, 3), 0.2, np.float32)
    matrix = processing.colour_matrix(camera.sensor, 1.4)
    luma, chroma = processing.develop(grey, matrix, camera.tone)
    np.testing.assert_allclose(chroma, 0, atol=0.2)  # less than a step of the tone table
    pixels = processing.to_pixels(luma, chroma)
    assert pixels.dtype == np.uint8
    assert np.ptp(pixels) == 0


def test_pixels_keep_their_colours() -> None:
    colours = np.array([[[200, 30, 90], [10, 250, 60]]], np.float32)
    luma = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    chroma = np.stack([colours[..., 2] - luma, colours[..., 0] - luma], axis=2)
    np.testing.assert_array_equal(processing.to_pixels(luma, chroma), colours)


@pytest.mark.parametrize("kind", ["coring", "bilateral", "median", "guided", "wavelet"])
def test_denoising_takes_noise_and_leaves_edges(kind: str) -> None:
    denoising = Denoising(kind, luma=1.5)  # type: ignore[arg-type]
    assert processing.denoise_luma(noise(4.0), denoising, 4.0).std() < 0.75 * 4.0
    edge = np.full(SIZE, 60, np.float32)
    edge[:, 48:] = 180
    after = processing.denoise_luma(edge, denoising, 4.0)
    assert (after[:, 50] - after[:, 45]).min() > 105


def test_no_denoising_changes_nothing() -> None:
    luma = noise(4.0)
    assert processing.denoise_luma(luma, Denoising("none"), 4.0) is luma
    chroma = np.stack([luma, luma], axis=2)
    assert processing.denoise_chroma(chroma, Denoising("none"), 4.0) is chroma


def test_chroma_is_blurred_more_where_there_is_more_noise() -> None:
    chroma = np.stack([noise(5.0), noise(5.0)], axis=2)
    quiet, loud = (
        processing.denoise_chroma(chroma, Denoising("none", chroma=1.0), level)
        for level in (1.0, 12.0)
    )
    assert loud.std() < quiet.std() < chroma.std()


def test_the_noise_profile_rises_with_iso() -> None:
    sensor = CAMERAS[0].sensor
    base, high = (processing.noise_at_mid_grey(sensor, iso) for iso in (80, 320))
    assert base == pytest.approx(255 * 1.1 * np.sqrt(0.18 * 9000 + 81) / 9000)
    assert high > 1.9 * base


def test_sharpening_adds_its_amount_to_detail_beyond_the_threshold() -> None:
    luma = noise(6.0)
    plain = Sharpening(radius=1.5, amount=2.0)
    assert processing.sharpen(luma, plain).std() > 1.2 * luma.std()
    deaf = replace(plain, threshold=100.0)
    np.testing.assert_array_equal(processing.sharpen(luma, deaf), luma)


def test_a_limit_bounds_the_halo() -> None:
    edge = np.full(SIZE, 60, np.float32)
    edge[:, 48:] = 180
    free = processing.sharpen(edge, Sharpening(radius=1.5, amount=1.0))
    bound = processing.sharpen(edge, Sharpening(radius=1.5, amount=1.0, limit=5.0))
    assert free.max() > 200
    assert bound.max() == 185
    assert bound.min() == 55


def test_sharpening_raises_middling_detail_and_leaves_the_finest() -> None:
    across = np.broadcast_to(np.arange(SIZE[1]), SIZE)

    def raised(wavelength: float) -> float:
        wave = (128 + 10 * np.cos(2 * np.pi * across / wavelength)).astype(np.float32)
        sharp = processing.sharpen(wave, Sharpening(radius=1.5, amount=1.0))
        return float(sharp[:, 16:-16].std() / wave[:, 16:-16].std())

    assert raised(4.0) > 1.45
    assert raised(2.0) - 1 < 0.7 * (raised(4.0) - 1)


def test_no_sharpening_changes_nothing() -> None:
    luma = noise(4.0)
    assert processing.sharpen(luma, Sharpening(1.0, 0.0)) is luma


@pytest.mark.parametrize("kind", ["guided", "wavelet"])
def test_denoising_smooths_noise_of_every_scale(kind: str) -> None:
    """A three-level wavelet and a 5 x 5 filter reach below the finest scale."""
    after = processing.denoise_luma(noise(4.0), Denoising(kind, luma=3.0), 4.0)  # type: ignore[arg-type]
    quarters = after.reshape(SIZE[0] // 4, 4, SIZE[1] // 4, 4).mean((1, 3))
    assert quarters.std() < 0.6


@pytest.mark.parametrize("method", ["area", "bilinear", "cubic", "lanczos"])
def test_scaling_keeps_means_and_gives_the_stored_size(method: str) -> None:
    plane = np.asarray(cv2.GaussianBlur(noise(20.0), (0, 0), 3.0), np.float32)
    scaling = Scaling(0.5, method)  # type: ignore[arg-type]
    small = processing.scale(plane, (32, 48), scaling)
    assert small.shape == (32, 48)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, plane.reshape(32, 2, 48, 2).mean((1, 3)), atol=1.5)
    assert processing.scale(plane, SIZE, scaling) is plane


def test_area_scaling_takes_the_mean_of_all_pixels() -> None:
    plane = noise(20.0)
    small = processing.scale(plane, (32, 48), Scaling(0.5, "area"))
    np.testing.assert_allclose(small, plane.reshape(32, 2, 48, 2).mean((1, 3)), atol=1e-3)
