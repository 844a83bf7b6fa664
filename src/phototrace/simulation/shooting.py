"""One photo: a scene, a camera model and one of its bodies -> pixels and the JPEG file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phototrace.simulation import optics, processing, sensor
from phototrace.simulation.camera import Camera
from phototrace.simulation.demosaicing import METHODS
from phototrace.simulation.quantisation import Table
from phototrace.simulation.scenes import Scene
from phototrace.simulation.sensor import Device
from phototrace.simulation.textures import Floats

STEADY_STOPS = 2.0  # a scene so much darker than daylight is where hands begin to shake


@dataclass(frozen=True)
class Shot:
    """`pixels` uint8 (height, width, 3) RGB as they go to the encoder, ISO and quality mode."""

    pixels: NDArray[np.uint8]
    iso: int
    mode: tuple[Table, Table]


def sensor_size(camera: Camera, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the picture that a stored photo of `size` is scaled from; even."""
    height, width = (2 * round(side / camera.scaling.factor / 2) for side in size)
    return size if camera.scaling.factor == 1.0 else (height, width)


def shoot(
    scene: Scene,
    camera: Camera,
    device: Device,
    size: tuple[int, int],
    random: np.random.Generator,
) -> Shot:
    """Take one photo of `size` (height, width); it depends on `random` and the arguments only.

    `device` has the size of the sensor, `sensor_size(camera, size)`.
    """
    view = optics.project(scene.light, camera.lens, sensor_size(camera, size), random)
    dark = max(scene.stops - STEADY_STOPS, 0.0)
    length = float(random.rayleigh(0.25 + 0.5 * dark))
    view = optics.shaken(view, length, float(random.uniform(0.0, np.pi)))
    view *= np.float32(sensor.meter(view, random, scene.bias))
    view *= optics.shading(camera.lens, (view.shape[0], view.shape[1]))[..., None]
    iso = sensor.choose_iso(camera.sensor, scene.stops + float(random.normal(0.0, 0.5)))
    raw = sensor.record(view, camera.sensor, device, iso, random)
    if camera.correction.hot_pixels:
        raw = sensor.mend(raw, device, sensor.colour_channels(camera.sensor.filters, raw.shape))
    gains = processing.white_balance_gains(camera.sensor, scene.illuminant, random)
    mode = camera.jpeg.modes[int(random.integers(len(camera.jpeg.modes)))]
    return Shot(render(raw, camera, gains, iso, size), iso, mode)


def render(
    raw: Floats, camera: Camera, gains: Floats, iso: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The camera's development of raw numbers (h, w) to `size`: uint8 (height, width, 3) RGB."""
    channels = sensor.colour_channels(camera.sensor.filters, raw.shape)
    raw = optics.unshade(raw, camera.lens, camera.correction)
    balanced = processing.balance(raw, channels, gains)
    linear = METHODS[camera.demosaicing](balanced, channels)
    linear = optics.unwarp(linear, camera.lens, camera.correction)
    matrix = processing.colour_matrix(camera.sensor, camera.tone.saturation)
    luma, chroma = processing.develop(linear, matrix, camera.tone)
    noise = processing.noise_at_mid_grey(camera.sensor, iso)
    luma = processing.denoise_luma(luma, camera.denoising, noise)
    chroma = processing.denoise_chroma(chroma, camera.denoising, noise)
    luma = processing.sharpen(luma, camera.sharpening)
    luma, chroma = (processing.scale(plane, size, camera.scaling) for plane in (luma, chroma))
    return processing.to_pixels(luma, chroma)
