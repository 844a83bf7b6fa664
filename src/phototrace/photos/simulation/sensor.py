"""From light to raw numbers: exposure, colour filters, PRNU, noise, and the converter."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from phototrace.photos.simulation.cameras import Camera, Sensor
from phototrace.photos.simulation.randomness import stream
from phototrace.photos.simulation.textures import Floats

MID_GREY = 0.17  # where the exposure puts the scene's mean (geometric), of saturation
BLACK = 0.03  # where the converter puts no light, of its range; noise may fall below it


@dataclass(frozen=True)
class Device:
    """What sets one body apart from others of its model.

    `gains` is float32 (height, width) with mean 1: the PRNU pattern (Lukas, Fridrich and Goljan
    2006), a little of it by columns.
    """

    gains: Floats
    read_noise: float  # electrons
    black_error: float  # what the body's black level is off by, of saturation


def make_device(camera: Camera, number: int, size: tuple[int, int], seed: int) -> Device:
    """Body `number` of a model: a pure function of its arguments."""
    random = stream(seed, "device", camera.name, number, *size)
    spread = camera.sensor.prnu
    gains = 1.0 + spread * random.standard_normal(size, dtype=np.float32)
    gains += 0.08 * spread * random.standard_normal((1, size[1]), dtype=np.float32)
    return Device(
        gains=gains,
        read_noise=camera.sensor.read_noise * float(random.uniform(0.9, 1.15)),
        black_error=float(random.normal(0.0, 0.0006)),
    )


def colour_channels(filters: tuple[str, ...], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Which colour each pixel sees: uint8 (height, width), 0 red, 1 green, 2 blue."""
    tile = np.array([["RGB".index(letter) for letter in row] for row in filters], np.uint8)
    repeats = [-(-side // step) for side, step in zip(size, tile.shape, strict=True)]
    return np.tile(tile, repeats)[: size[0], : size[1]]


def mosaic(colours: Floats, channels: NDArray[np.uint8]) -> Floats:
    """Keep of each pixel the colour that its filter passes: (h, w, 3) -> float32 (h, w)."""
    return np.take_along_axis(colours, channels[..., None].astype(np.intp), axis=2)[..., 0]


def choose_iso(sensor: Sensor, stops: float) -> int:
    """The ISO setting for a scene `stops` darker than daylight, in whole stops from the base."""
    return int(sensor.base_iso * 2 ** int(np.clip(round(stops), 0, 5)))


def meter(light: Floats, random: np.random.Generator) -> float:
    """Exposure that puts the mean at mid grey but keeps all but 2 % below saturation.

    A body's meter and the moment make it vary by a sixth of a stop (standard deviation).
    """
    grey = light[::4, ::4].mean(axis=2)
    wanted = MID_GREY / float(np.exp(np.log(grey + 1e-4).mean()))
    allowed = 0.9 / float(np.percentile(grey, 98))
    return float(min(wanted, allowed) * 2.0 ** random.normal(0.0, 1 / 6))


def record(
    exposed: Floats, sensor: Sensor, device: Device, iso: int, random: np.random.Generator
) -> Floats:
    """Raw numbers of exposed light (h, w, 3), 1.0 = saturation: float32 (h, w) in [-BLACK, 1].

    Photons arrive as a Poisson process (here its normal approximation), the amplifier adds read
    noise, and the converter rounds to its steps (Janesick 2007; Foi et al. 2008). Black is
    already subtracted, as the first step of every development is.
    """
    matrix = np.array(sensor.sensitivity, np.float32)
    channels = colour_channels(sensor.filters, exposed.shape[:2])
    seen = np.asarray(cv2.transform(exposed, matrix / matrix.sum(axis=1).max()), np.float32)
    light = mosaic(seen, channels) * device.gains
    well = sensor.full_well * sensor.base_iso / iso
    electrons = well * np.maximum(light, 0.0)
    spread = np.sqrt(electrons + np.float32(device.read_noise**2))
    electrons += spread * random.standard_normal(electrons.shape, dtype=np.float32)
    signal = electrons / well + np.float32(device.black_error)
    steps = np.float32((2**sensor.bits - 1) * (1 - BLACK))
    read = np.rint(signal * steps) / steps
    return np.asarray(np.clip(read, -BLACK, 1.0), dtype=np.float32)
