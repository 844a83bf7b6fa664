"""One photo: a scene, a camera model and one of its bodies -> pixels and the JPEG file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phototrace.photos.simulation import processing, sensor
from phototrace.photos.simulation.cameras import Camera
from phototrace.photos.simulation.demosaicing import METHODS
from phototrace.photos.simulation.optics import project
from phototrace.photos.simulation.scenes import Scene
from phototrace.photos.simulation.sensor import Device


@dataclass(frozen=True)
class Shot:
    """`pixels` uint8 (height, width, 3) RGB as they go to the encoder, and the ISO setting."""

    pixels: NDArray[np.uint8]
    iso: int


def shoot(
    scene: Scene,
    camera: Camera,
    device: Device,
    size: tuple[int, int],
    random: np.random.Generator,
) -> Shot:
    """Take one photo of `size` (height, width); it depends on `random` and the arguments only."""
    view = project(scene.light, camera.lens, size, random)
    view *= np.float32(sensor.meter(view, random))
    iso = sensor.choose_iso(camera.sensor, scene.stops + float(random.normal(0.0, 0.2)))
    raw = sensor.record(view, camera.sensor, device, iso, random)
    gains = processing.white_balance_gains(camera.sensor, scene.illuminant, random)
    return Shot(render(raw, camera, gains, iso), iso)


def render(
    raw: NDArray[np.float32], camera: Camera, gains: NDArray[np.float32], iso: int
) -> NDArray[np.uint8]:
    """The camera's development of raw numbers (h, w): uint8 (h, w, 3) RGB."""
    channels = sensor.colour_channels(camera.sensor.filters, raw.shape)
    balanced = processing.balance(raw, channels, gains)
    linear = METHODS[camera.demosaicing](balanced, channels)
    matrix = processing.colour_matrix(camera.sensor, camera.tone.saturation)
    luma, chroma = processing.develop(linear, matrix, camera.tone)
    noise = processing.noise_at_mid_grey(camera.sensor, iso)
    luma = processing.denoise_luma(luma, camera.denoising, noise)
    chroma = processing.denoise_chroma(chroma, camera.denoising, noise)
    luma = processing.sharpen(luma, camera.sharpening)
    return processing.to_pixels(luma, chroma)
