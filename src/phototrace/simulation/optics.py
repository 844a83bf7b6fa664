"""From the scene to the light on the sensor, and what a camera later takes back of it.

Geometry is in px from the middle of the sensor; `reach` is the squared distance from it over that
of the corner. Real lenses: Kang and Weiss 2000 (vignetting), Brown 1966 (distortion), Johnson and
Farid 2006 (lateral chromatic aberration, as a magnification that depends on the colour).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from phototrace.simulation.camera import Correction, Lens
from phototrace.simulation.scenes import MARGIN
from phototrace.simulation.textures import Floats


def project(
    light: Floats, lens: Lens, size: tuple[int, int], random: np.random.Generator
) -> Floats:
    """The scene as this photo's lens draws it: float32 (height, width, 3), linear.

    Every photo is aimed a little elsewhere (2 % of the view), from a little nearer or farther
    (3 %) and not quite level (0.4 degrees), so no two photos share a pixel. One photo in seven is
    not quite in focus. The blur comes before the sampling, as in a lens: what it leaves above the
    pixels' frequency becomes aliasing. What the corners are blurred besides comes after.

    `light` spans MARGIN times the view, at whatever fineness. Each colour is interpolated once
    (bicubic), from the finer scene.
    """
    height, width = size
    fineness = light.shape[0] / (MARGIN * height)
    blur = lens.blur * random.uniform(0.95, 1.1)
    if random.random() < 1 / 7:
        blur = float(np.hypot(blur, random.uniform(0.5, 1.8)))
    drawn = cv2.GaussianBlur(light, (0, 0), blur * fineness)
    angle = np.deg2rad(random.uniform(-0.4, 0.4))
    scale = fineness * random.uniform(0.97, 1.03)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([light.shape[1] - 1, light.shape[0] - 1]) / 2
    centre += random.uniform(-0.02, 0.02, 2) * fineness * min(size)
    corner = np.hypot(*size) / 2
    growth = np.float32(lens.distortion) * field(size)
    view = np.empty((height, width, 3), np.float32)
    for colour, shift in enumerate((lens.red, 0.0, lens.blue)):
        down, across = _from_middle(size)
        stretch = growth + np.float32(1.0 + shift / corner)
        x, y = across * stretch, down * stretch
        view[..., colour] = cv2.remap(
            np.ascontiguousarray(drawn[..., colour]),
            np.float32(turn[0, 0]) * x + np.float32(turn[0, 1]) * y + np.float32(centre[0]),
            np.float32(turn[1, 0]) * x + np.float32(turn[1, 1]) * y + np.float32(centre[1]),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    return np.maximum(_soft_corners(view, lens), np.float32(0.0))


def shaken(view: Floats, length: float, angle: float) -> Floats:
    """The view smeared over `length` px along `angle` (radians), as by an unsteady hand."""
    if length < 0.5:
        return view
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    for step in np.linspace(-length / 2, length / 2, 8 * side):
        x, y = step * np.cos(angle) + side // 2, step * np.sin(angle) + side // 2
        left, top = int(np.floor(x)), int(np.floor(y))
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= row < side and 0 <= column < side:
                kernel[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    kernel /= kernel.sum()
    return np.asarray(cv2.filter2D(view, -1, kernel), np.float32)


@lru_cache(maxsize=4)
def field(size: tuple[int, int]) -> Floats:
    """Squared distance from the middle over the corner's: float32 (height, width), 0..1."""
    down, across = _from_middle(size)
    return np.asarray((down**2 + across**2) / np.float32(np.hypot(*size) ** 2 / 4), np.float32)


def shading(lens: Lens, size: tuple[int, int]) -> Floats:
    """The share of light that vignetting leaves of each place: float32 (height, width), <= 1."""
    return np.asarray(np.exp2(np.float32(-lens.vignetting) * field(size)), np.float32)


def unshade(raw: Floats, lens: Lens, correction: Correction) -> Floats:
    """Raw numbers (h, w) with vignetting taken back; the corners' noise grows with it."""
    if not correction.vignetting * lens.vignetting:
        return raw
    size = (raw.shape[0], raw.shape[1])
    stops = np.float32(correction.vignetting * lens.vignetting) * field(size)
    return np.asarray(raw * np.exp2(stops), np.float32)


def unwarp(colours: Floats, lens: Lens, correction: Correction) -> Floats:
    """Developed colours (h, w, 3) with distortion and lateral chromatic aberration taken back.

    This interpolates the picture a second time and leaves traces of resampling that grow outwards.
    """
    size = (colours.shape[0], colours.shape[1])
    distortion = np.float32(lens.distortion if correction.distortion else 0.0)
    shifts = (lens.red, 0.0, lens.blue) if correction.colour else (0.0, 0.0, 0.0)
    if not distortion and not any(shifts):
        return colours
    down, across = _from_middle(size)
    reach = field(size)
    # The inverse of r (1 + k r^2), to second order; barrels leave no empty corners.
    shrink = 1 - distortion * reach + 3 * (distortion * reach) ** 2
    corner = np.hypot(*size) / 2
    planes = []
    for colour, shift in enumerate(shifts):
        plane = np.ascontiguousarray(colours[..., colour])
        if distortion or shift:
            # Colour c of a scene point lies where green would lie at 1 / (1 + shift).
            stretch = shrink * np.float32(1.0 / (1.0 + shift / corner))
            x = across * stretch + np.float32((size[1] - 1) / 2)
            y = down * stretch + np.float32((size[0] - 1) / 2)
            warped = cv2.remap(plane, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
            plane = np.asarray(warped, np.float32)
        planes.append(plane)
    return np.stack(planes, axis=2)


@lru_cache(maxsize=4)
def _from_middle(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Rows and columns from the middle, px: float32 (height, 1) and (1, width)."""
    down, across = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in size)
    return down[:, None], across[None, :]


def _soft_corners(view: Floats, lens: Lens) -> Floats:
    if not lens.corner:
        return view
    soft = cv2.GaussianBlur(view, (0, 0), lens.corner)
    share = field((view.shape[0], view.shape[1]))[..., None]
    return np.asarray(view + share * (soft - view), dtype=np.float32)
