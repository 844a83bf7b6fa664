from dataclasses import replace

import cv2
import numpy as np
import pytest

from phototrace.simulation.ablation import STEPS, without
from phototrace.simulation.camera import Camera, Correction, Lens
from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.randomness import stream
from phototrace.simulation.scenes import Scene, make_scene
from phototrace.simulation.sensor import Device, make_device
from phototrace.simulation.shooting import sensor_size, shoot

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


def wall(stops: float = 0.0) -> Scene:
    return Scene(np.full((420, 460, 3), 0.3, np.float32), (1.0, 1.0, 1.0), stops)


def test_corners_are_darker_unless_the_camera_lifts_them() -> None:
    camera = without(CAMERAS[0], ["noise", "prnu", "hot pixels"])
    camera = replace(camera, lens=Lens(0.8, vignetting=1.5))

    def corner(correction: Correction) -> float:
        shaded = replace(camera, correction=correction)
        pixels = shoot(wall(), shaded, body_of(shaded), SIZE, stream(1)).pixels[..., 1]
        return float(pixels[:16, :16].mean() / pixels[100:124, 116:140].mean())

    assert corner(Correction()) < 0.7
    assert corner(Correction(vignetting=1.0)) == pytest.approx(1.0, abs=0.03)


def test_hot_pixels_show_unless_the_camera_mends_them() -> None:
    quiet = without(CAMERAS[0], ["noise", "prnu"])
    quiet = replace(quiet, sensor=replace(quiet.sensor, hot=1000.0))

    def specks(mends: bool) -> int:
        camera = replace(quiet, correction=Correction(hot_pixels=mends))
        grey = shoot(wall(2.0), camera, body_of(camera), SIZE, stream(1)).pixels.mean(axis=2)
        return int((grey > cv2.blur(grey, (15, 15)) + 10).sum())

    assert specks(False) > 20
    assert specks(True) < 0.4 * specks(False)


def test_hands_shake_in_dim_light() -> None:
    camera = without(CAMERAS[0], ["noise", "optics"])
    light = 0.1 + stream("busy").random((370, 422, 3), dtype=np.float32)

    def detail(stops: float) -> float:
        soft = np.asarray(cv2.GaussianBlur(light, (0, 0), 1.0), np.float32)
        scene = Scene(soft, (1.0, 1.0, 1.0), stops)
        body = body_of(camera)
        shots = [shoot(scene, camera, body, SIZE, stream("shake", n)).pixels for n in range(6)]
        return float(np.mean([np.diff(pixels[..., 1].astype(float)).std() for pixels in shots]))

    assert detail(5.0) < 0.85 * detail(0.0)
