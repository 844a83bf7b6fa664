"""Cameras without one of their steps, to see what each is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from phototrace.simulation.camera import (
    Camera,
    Correction,
    Denoising,
    Jpeg,
    Lens,
    Scaling,
    Sharpening,
    Tone,
)
from phototrace.simulation.quantisation import ijg

_FLAWLESS_WELL = 1e9  # electrons: no shot noise to speak of
_COMMON_JPEG = Jpeg(((ijg(95), ijg(95, chroma=True)),), "4:2:2")
_FINEST_JPEG = Jpeg((((1,) * 64, (1,) * 64),), "4:4:4")


def _quiet(camera: Camera) -> Camera:
    sensor = replace(camera.sensor, full_well=_FLAWLESS_WELL, read_noise=0.0, banding=0.0)
    return replace(camera, sensor=sensor)


def _bilinear(camera: Camera) -> Camera:
    return replace(
        camera, demosaicing="bilinear", sensor=replace(camera.sensor, filters=("RG", "GB"))
    )


STEPS: dict[str, Callable[[Camera], Camera]] = {
    "optics": lambda c: replace(
        c, lens=Lens(0.5), correction=Correction(hot_pixels=c.correction.hot_pixels)
    ),
    "noise": _quiet,
    "prnu": lambda c: replace(c, sensor=replace(c.sensor, prnu=0.0)),
    "hot pixels": lambda c: replace(c, sensor=replace(c.sensor, hot=0.0)),
    "lens correction": lambda c: replace(
        c, correction=Correction(hot_pixels=c.correction.hot_pixels)
    ),
    "demosaicing": _bilinear,  # of one pattern and by one method, not left out
    "denoising": lambda c: replace(c, denoising=Denoising("none")),
    "tone": lambda c: replace(c, tone=Tone(1.0, 0.0, 1.0)),
    "sharpening": lambda c: replace(c, sharpening=Sharpening(1.0, 0.0)),
    "scaling": lambda c: replace(c, scaling=Scaling()),
    "quality modes": lambda c: replace(c, jpeg=replace(c.jpeg, modes=c.jpeg.modes[:1])),
    "own tables": lambda c: replace(c, jpeg=_COMMON_JPEG),
    "jpeg": lambda c: replace(c, jpeg=_FINEST_JPEG),
}
"""Name of a step -> the camera with a neutral value in its place."""


def without(camera: Camera, steps: Iterable[str]) -> Camera:
    """`camera` with the named `STEPS` left out."""
    for name in sorted(steps):
        camera = STEPS[name](camera)
    return camera
