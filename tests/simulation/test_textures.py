import numpy as np
import pytest

from phototrace.simulation.randomness import stream
from phototrace.simulation.textures import fractal, outline, texture_bank


@pytest.mark.parametrize("exponent", [0.6, 1.2])
def test_fractal_has_the_asked_spectrum(exponent: float) -> None:
    field = fractal((256, 256), exponent, stream("spectrum"))
    power = np.abs(np.fft.rfft2(field)) ** 2
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None])
    low = power[(radius > 0.03) & (radius < 0.05)].mean()
    high = power[(radius > 0.3) & (radius < 0.5)].mean()
    assert np.log(low / high) / np.log(0.4 / 0.04) == pytest.approx(2 * exponent, abs=0.25)


def test_fractal_stretches_along_its_angle() -> None:
    field = fractal((128, 128), 1.0, stream("stretch"), stretch=3.0, angle=0.0)
    across, down = np.diff(field, axis=1).std(), np.diff(field, axis=0).std()
    assert across < 0.7 * down


def test_bank_is_textures_of_unit_contrast() -> None:
    for texture in texture_bank(64, stream("bank")):
        assert texture.shape == (64, 64)
        assert texture.dtype == np.float32
        assert abs(texture.mean()) < 0.2
        assert texture.std() == pytest.approx(1.0, abs=0.1)


def test_a_nearer_bank_is_coarser() -> None:
    def detail(near: float) -> np.ndarray:
        bank = texture_bank(128, stream("bank"), near)
        return np.array([np.diff(texture, axis=0).std() for texture in bank])

    ratio = detail(3.0) / detail(1.0)
    assert ratio[:2].max() < 0.76
    assert ratio.max() < 0.8
    assert np.median(ratio[:5]) < 0.7


@pytest.mark.parametrize("shape", ["blob", "blade", "block"])
def test_outlines_are_things_of_half_length_one(shape: str) -> None:
    for number in range(20):
        points = outline(shape, stream(shape, number))
        reach = np.hypot(*points.T).max()
        assert 0.8 < reach < 2.0
