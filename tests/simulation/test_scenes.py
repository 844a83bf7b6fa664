import cv2
import numpy as np
import pytest

from phototrace.simulation.randomness import stream
from phototrace.simulation.scenes import (
    FINENESS,
    KINDS,
    _move,
    _out_of_focus,
    _veil,
    make_scene,
)

SIZE = (224, 256)


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_scene_is_light_with_something_to_see(number: int) -> None:
    light = make_scene(number, SIZE, seed=3).light
    assert light.dtype == np.float32
    assert light.shape[0] >= SIZE[0] * FINENESS
    assert light.shape[1] >= SIZE[1] * FINENESS
    assert np.isfinite(light).all()
    assert light.min() > 0
    assert light.std() / light.mean() > 0.05


def test_scenes_are_as_unlike_as_photos_are() -> None:
    """Near and far, plain and busy, dark and light: each varies over the scenes by a factor."""
    scenes = [make_scene(number, (64, 64), seed=0) for number in range(len(KINDS))]
    detail = []
    for scene in scenes:
        grey = np.log(scene.light.mean(axis=2) + 1e-4)
        detail.append((grey - cv2.GaussianBlur(grey, (0, 0), 2.0)).std())
    assert np.percentile(detail, 90) > 2 * np.percentile(detail, 10)
    assert np.ptp([scene.stops for scene in scenes]) > 3
    assert np.ptp([scene.bias for scene in scenes]) > 2


def test_blur_leaves_a_part_in_focus() -> None:
    busy = stream("busy").random((200, 260, 3), dtype=np.float32)
    blurred = _out_of_focus(busy, 6.0, stream("focus"))
    detail = blurred[:192, :256].reshape(6, 32, 8, 32, 3).std(axis=(1, 3, 4))
    assert detail.max() > 0.9 * busy.std()
    assert detail.min() < 0.3 * busy.std()
    assert _out_of_focus(busy, 0.0, stream("focus")) is busy


def test_motion_smears_a_part_along_a_line() -> None:
    busy = stream("busy").random((200, 260, 3), dtype=np.float32)
    moved = busy.copy()
    _move(moved, stream("move"))
    still = (moved == busy).all(axis=2)
    assert 0.3 < still.mean() < 0.98
    part = np.flatnonzero(~still.all(axis=1)), np.flatnonzero(~still.all(axis=0))
    middle = moved[part[0][len(part[0]) // 2 - 10 :][:20]][
        :, part[1][len(part[1]) // 5 : -len(part[1]) // 5]
    ]
    assert np.diff(middle, axis=1).std() < 0.6 * np.diff(middle, axis=0).std()


def test_a_veil_lowers_contrast_about_the_mean() -> None:
    light = np.exp(1.5 + stream("veil").normal(size=(80, 80, 3))).astype(np.float32)
    veiled = light.copy()
    _veil(veiled, 0.5)
    assert np.log(veiled).std() == pytest.approx(0.5 * np.log(light).std(), rel=0.01)
    assert np.log(veiled).mean() == pytest.approx(np.log(light).mean(), abs=0.1)


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
