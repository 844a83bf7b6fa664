from dataclasses import replace

import cv2
import numpy as np
import pytest

from phototrace.photos.simulation.ablation import STEPS, without
from phototrace.photos.simulation.camera import Camera
from phototrace.photos.simulation.cameras import CAMERAS
from phototrace.photos.simulation.randomness import stream
from phototrace.photos.simulation.scenes import Scene, make_scene
from phototrace.photos.simulation.sensor import Device, make_device
from phototrace.photos.simulation.shooting import sensor_size, shoot

SIZE = (224, 256)


def body_of(camera: Camera, number: int = 1) -> Device:
    return make_device(camera, number, sensor_size(camera, SIZE), 0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(4, SIZE, 0)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_a_photo_is_well_exposed_and_detailed(camera: Camera, scene: Scene) -> None:
    shot = shoot(scene, camera, body_of(camera), SIZE, stream(1))
    assert shot.pixels.shape == (*SIZE, 3)
    assert shot.pixels.dtype == np.uint8
    assert shot.mode in camera.jpeg.modes
    assert 40 < shot.pixels.mean() < 200
    assert (shot.pixels >= 254).mean() < 0.1
    assert (shot.pixels <= 1).mean() < 0.1
    assert shot.pixels.std() > 8.0


def test_photos_of_one_scene_look_alike_but_are_not_equal(scene: Scene) -> None:
    small = []
    for camera in CAMERAS:
        pixels = shoot(scene, camera, body_of(camera), SIZE, stream(camera.name)).pixels
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


@pytest.mark.parametrize(
    "step", [s for s in STEPS if s not in ("quality modes", "own tables", "jpeg")]
)
def test_each_step_leaves_its_mark_on_some_cameras_pixels(step: str, scene: Scene) -> None:
    def pixels(camera: Camera) -> np.ndarray:
        return shoot(scene, camera, body_of(camera), SIZE, stream(1)).pixels

    marked = [c for c in CAMERAS if without(c, [step]) != c]
    assert marked
    for camera in (marked[0], marked[-1]):
        assert (pixels(camera) != pixels(without(camera, [step]))).any()


def test_without_noise_an_even_wall_is_even() -> None:
    camera = without(CAMERAS[0], ["prnu", "hot pixels"])
    even = Scene(np.full((420, 460, 3), 0.3, np.float32), (1.0, 1.0, 1.0), stops=2.0)

    def grain(camera: Camera) -> float:
        green = shoot(even, camera, body_of(camera), SIZE, stream(1)).pixels[..., 1].astype(float)
        return float((green - cv2.GaussianBlur(green, (0, 0), 4.0)).std())

    assert grain(without(camera, ["noise"])) < 0.6
    assert grain(camera) > 2.0


def test_users_choose_among_quality_modes(scene: Scene) -> None:
    camera = next(c for c in CAMERAS if len(c.jpeg.modes) > 2)
    body = body_of(camera)
    modes = {shoot(scene, camera, body, SIZE, stream("mode", n)).mode for n in range(24)}
    assert modes == set(camera.jpeg.modes)
