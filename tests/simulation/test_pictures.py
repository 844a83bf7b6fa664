from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phototrace.errors import PhotoError
from phototrace.simulation.pictures import Picture, find_pictures, picture_scene
from phototrace.simulation.scenes import scene_size

SIZE = (80, 96)


def saved(folder: Path, pixels: np.ndarray) -> Picture:
    Image.fromarray(pixels).save(folder / "picture.png")
    return find_pictures(folder, SIZE)[0][0]


def test_a_picture_becomes_linear_light_in_the_photos_shape(tmp_path: Path) -> None:
    grey = np.full((400, 500, 3), 188, np.uint8)  # half of white in linear light
    scene = picture_scene(saved(tmp_path, grey), 0, SIZE, 0)
    assert scene.light.shape == (*scene_size(SIZE), 3)
    assert scene.light.dtype == np.float32
    np.testing.assert_allclose(scene.light, 0.506, atol=0.005)


def test_white_is_brighter_than_white_and_black_is_not_nothing(tmp_path: Path) -> None:
    halves = np.zeros((400, 500, 3), np.uint8)
    halves[:, 250:] = 255
    light = picture_scene(saved(tmp_path, halves), 0, SIZE, 0).light
    assert light.max() == pytest.approx(4.0, rel=0.01)
    assert 0 < light.min() < 0.01


def test_a_pictures_own_noise_and_grid_are_gone(tmp_path: Path) -> None:
    """Steps on the 8 x 8 grid and noise of a heavy JPEG; a scene pixel is at least four of them."""
    rng = np.random.default_rng(0)
    noise = np.clip(rng.normal(128, 12, (800, 1000, 3)), 0, 255).astype(np.uint8)
    light = picture_scene(saved(tmp_path, noise), 0, SIZE, 0).light
    assert light.std() / light.mean() < 0.35 * (2.2 * 12 / 128)


def test_the_middle_is_taken_whatever_the_shape(tmp_path: Path) -> None:
    wide = np.zeros((300, 1200, 3), np.uint8)
    wide[:, 440:760] = 128  # the middle 320 px; the rest is black
    light = picture_scene(saved(tmp_path, wide), 0, SIZE, 0).light
    assert (light[:, 20:-20] > 0.2).all()


def test_a_scene_is_the_same_again_and_some_are_mirrored(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 500)[None, :, None], (400, 500, 3))
    picture = saved(tmp_path, ramp.astype(np.uint8))
    scenes = [picture_scene(picture, number, SIZE, 0) for number in range(12)]
    np.testing.assert_array_equal(scenes[3].light, picture_scene(picture, 3, SIZE, 0).light)
    rising = [bool(scene.light[0, 0, 0] < scene.light[0, -1, 0]) for scene in scenes]
    assert 0 < sum(rising) < 12
    assert np.ptp([scene.stops for scene in scenes]) > 1


def test_a_picture_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    picture = saved(tmp_path, np.full((400, 500, 3), 100, np.uint8))
    Image.fromarray(np.full((400, 500, 3), 101, np.uint8)).save(picture.path)
    with pytest.raises(PhotoError):
        picture_scene(picture, 0, SIZE, 0)
