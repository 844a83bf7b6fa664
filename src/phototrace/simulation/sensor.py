"""From light to raw numbers: exposure, colour filters, PRNU, noise, hot pixels, the converter."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from phototrace.simulation.camera import Camera, Sensor
from phototrace.simulation.randomness import stream
from phototrace.simulation.textures import Floats

MID_GREY = 0.17  # where the exposure puts the scene's mean (geometric), of saturation
BLACK = 0.03  # where the converter puts no light, of its range; noise may fall below it
LISTED = 0.9  # share of the hot pixels that the factory found; the others came later


@dataclass(frozen=True)
class Device:
    """What sets one body apart from others of its model.

    `gains` is float32 (height, width) with mean 1: the PRNU pattern (Lukas, Fridrich and Goljan
    2006), a little of it by columns. `hot` is int64 (n, 2), row and column of each hot pixel;
    `dark` is float32 (n,), what each adds at base ISO, of saturation; `listed` is bool (n,).
    """

    gains: Floats
    read_noise: float  # electrons
    black_error: float  # what the body's black level is off by, of saturation
    hot: NDArray[np.int64]
    dark: Floats
    listed: NDArray[np.bool_]


def make_device(camera: Camera, number: int, size: tuple[int, int], seed: int) -> Device:
    """Body `number` of a model with a sensor of `size`: a pure function of its arguments."""
    random = stream(seed, "device", camera.name, number, *size)
    spread = camera.sensor.prnu
    gains = 1.0 + spread * random.standard_normal(size, dtype=np.float32)
    gains += 0.08 * spread * random.standard_normal((1, size[1]), dtype=np.float32)
    count = int(random.poisson(camera.sensor.hot * size[0] * size[1] / 1e6))
    return Device(
        gains=gains,
        read_noise=camera.sensor.read_noise * float(random.uniform(0.9, 1.15)),
        black_error=float(random.normal(0.0, 0.0006)),
        hot=random.integers((0, 0), size, (count, 2)),
        dark=random.lognormal(np.log(0.05), 1.0, count).astype(np.float32),
        listed=random.random(count) < LISTED,
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
    most = int(np.log2(sensor.top_iso / sensor.base_iso))
    return int(sensor.base_iso * 2 ** int(np.clip(round(stops), 0, most)))


def meter(light: Floats, random: np.random.Generator, bias: float = 0.0) -> float:
    """Exposure that puts the mean at mid grey but keeps all but 2 % below saturation.

    `bias` is in stops: the photo is a part of what the meter saw, or meant to be light or dark.
    A body's meter and the moment make it vary by a sixth of a stop (standard deviation) more.
    """
    grey = light[::4, ::4].mean(axis=2)
    wanted = MID_GREY / float(np.exp(np.log(grey + 1e-4).mean()))
    allowed = 0.9 / float(np.percentile(grey, 98))
    return float(min(wanted, allowed) * 2.0 ** (bias + random.normal(0.0, 1 / 6)))


def record(
    exposed: Floats, sensor: Sensor, device: Device, iso: int, random: np.random.Generator
) -> Floats:
    """Raw numbers of exposed light (h, w, 3), 1.0 = saturation: float32 (h, w) in [-BLACK, 1].

    Photons arrive as a Poisson process (here its normal approximation), the amplifier adds read
    noise, whole rows drift, hot pixels leak charge, and the converter rounds to its steps
    (Janesick 2007; Foi et al. 2008). Black is already subtracted, as the first step of every
    development is.
    """
    matrix = np.array(sensor.sensitivity, np.float32)
    channels = colour_channels(sensor.filters, exposed.shape[:2])
    seen = np.asarray(cv2.transform(exposed, matrix / matrix.sum(axis=1).max()), np.float32)
    light = mosaic(seen, channels) * device.gains
    well = sensor.full_well * sensor.base_iso / iso
    electrons = well * np.maximum(light, 0.0)
    spread = np.sqrt(electrons + np.float32(device.read_noise**2))
    electrons += spread * random.standard_normal(electrons.shape, dtype=np.float32)
    if sensor.banding:
        rows = random.standard_normal((electrons.shape[0], 1), dtype=np.float32)
        electrons += np.float32(sensor.banding) * rows
    signal = electrons / well + np.float32(device.black_error)
    if len(device.hot):
        signal[device.hot[:, 0], device.hot[:, 1]] += device.dark * np.float32(
            iso / sensor.base_iso
        )
    steps = np.float32((2**sensor.bits - 1) * (1 - BLACK))
    read = np.rint(signal * steps) / steps
    return np.asarray(np.clip(read, -BLACK, 1.0), dtype=np.float32)


def mend(raw: Floats, device: Device, channels: NDArray[np.uint8]) -> Floats:
    """Raw numbers with the listed hot pixels replaced by the mean of their colour near by."""
    mended = raw.copy()
    height, width = raw.shape
    for row, column in device.hot[device.listed]:
        rows = slice(max(row - 2, 0), min(row + 3, height))
        columns = slice(max(column - 2, 0), min(column + 3, width))
        alike = channels[rows, columns] == channels[row, column]
        alike[row - rows.start, column - columns.start] = False
        mended[row, column] = raw[rows, columns][alike].mean()
    return mended
