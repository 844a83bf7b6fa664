from dataclasses import replace

import cv2
import numpy as np
import pytest

from phototrace.photos.simulation.cameras import CAMERAS, Camera
from phototrace.photos.simulation.randomness import stream
from phototrace.photos.simulation.scenes import Scene, make_scene
from phototrace.photos.simulation.sensor import make_device
from phototrace.photos.simulation.shooting import shoot

SIZE = (224, 256)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(4, SIZE, 0)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_a_photo_is_well_exposed_and_detailed(camera: Camera, scene: Scene) -> None:
    shot = shoot(scene, camera, make_device(camera, 1, SIZE, 0), SIZE, stream(1))
    assert shot.pixels.shape == (*SIZE, 3)
    assert shot.pixels.dtype == np.uint8
    assert 70 < shot.pixels.mean() < 180
    assert (shot.pixels >= 254).mean() < 0.1
    assert (shot.pixels <= 1).mean() < 0.1
    green = shot.pixels[16:208, 32:224, 1].astype(float)
    blocks = green.reshape(3, 64, 3, 64).std(axis=(1, 3))
    assert blocks.min() > 3.0


def test_photos_of_one_scene_look_alike_but_are_not_equal(scene: Scene) -> None:
    small = []
    for camera in CAMERAS:
        device = make_device(camera, 1, SIZE, 0)
        pixels = shoot(scene, camera, device, SIZE, stream(camera.name)).pixels
        small.append(cv2.resize(pixels, (16, 14), interpolation=cv2.INTER_AREA).ravel())
    alike = np.corrcoef(np.array(small, float))
    assert alike.min() > 0.75
    off_diagonal = alike[~np.eye(len(CAMERAS), dtype=bool)]
    assert off_diagonal.max() < 1.0


def test_photos_of_one_device_share_its_noise_pattern() -> None:
    """PRNU goes through development: what is left of it correlates (Lukas et al. 2006)."""
    camera = CAMERAS[0]
    camera = replace(camera, sensor=replace(camera.sensor, prnu=0.02))
    even = Scene(np.full((420, 460, 3), 0.3, np.float32), (1.0, 1.0, 1.0), stops=0.0)

    def residual(device: int, photo: int) -> np.ndarray:
        body = make_device(camera, device, SIZE, 0)
        green = shoot(even, camera, body, SIZE, stream(device, photo)).pixels[..., 1].astype(float)
        return (green - cv2.GaussianBlur(green, (0, 0), 2.0)).ravel()

    first, second, other = residual(1, 1), residual(1, 2), residual(2, 1)
    assert np.corrcoef(first, second)[0, 1] > 0.2
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
