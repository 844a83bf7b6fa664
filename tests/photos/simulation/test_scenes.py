import numpy as np
import pytest

from phototrace.photos.simulation.scenes import FINENESS, KINDS, make_scene

SIZE = (224, 256)


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_scene_is_light_with_detail_in_every_central_block(number: int) -> None:
    light = make_scene(number, SIZE, seed=3).light
    assert light.dtype == np.float32
    assert light.shape[0] >= SIZE[0] * FINENESS
    assert light.shape[1] >= SIZE[1] * FINENESS
    assert np.isfinite(light).all()
    assert light.min() > 0
    side = round(64 * FINENESS)
    top, left = (length // 2 - 3 * side // 2 for length in light.shape[:2])
    for row in range(3):
        for column in range(3):
            block = light[top + row * side :, left + column * side :][:side, :side]
            assert block.std() / block.mean() > 0.03


def test_a_scene_is_the_same_again_and_another_with_another_number_or_seed() -> None:
    first, again = make_scene(2, SIZE, 0).light, make_scene(2, SIZE, 0).light
    np.testing.assert_array_equal(first, again)
    kinds = len(KINDS)
    for other in (make_scene(2 + kinds, SIZE, 0), make_scene(2, SIZE, 1)):
        assert np.corrcoef(first.ravel(), other.light.ravel())[0, 1] < 0.7


def test_amplitudes_fall_about_as_one_over_frequency_as_in_natural_images() -> None:
    light = make_scene(0, (384, 384), 0).light
    grey = np.log(light.mean(axis=2))[-512:, :512]
    window = np.hanning(512)[:, None] * np.hanning(512)
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None])
    low = power[(radius > 0.02) & (radius < 0.03)].mean()
    high = power[(radius > 0.2) & (radius < 0.3)].mean()
    assert 0.7 < np.log(low / high) / np.log(10) / 2 < 1.6
