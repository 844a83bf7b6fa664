"""Putting paint on light: outlines filled with textured, lit surfaces, shadows, strokes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from phototrace.simulation.textures import Floats

Colour = tuple[float, float, float]
Outline = NDArray[np.float64]


def paint_surface(
    light: Floats,
    points: Outline,
    colour: Colour,
    contrast: float,
    bank: list[Floats],
    random: np.random.Generator,
) -> None:
    """Cover the outline with a colour, a texture of the bank and a slope of light."""
    texture = bank[int(random.integers(len(bank)))]
    start = random.integers(0, texture.shape[0], 2)
    depth = np.float32(contrast * random.uniform(0.15, 1.0))
    slope = random.uniform(-0.25, 0.25, 2)
    bulge = random.uniform(-0.1, 0.35)

    def surface(height: int, width: int) -> Floats:
        down, across = (np.arange(n) * (2.0 / n) - 1.0 for n in (height, width))
        rows = slope[0] * down - bulge * down**2
        columns = slope[1] * across - bulge * across**2
        shade = depth * crop(texture, start, (height, width))
        shade += (1.0 + rows).astype(np.float32)[:, None] + columns.astype(np.float32)
        lit: Floats = np.maximum(shade, np.float32(0.05))[..., None] * np.asarray(
            colour, np.float32
        )
        return lit

    blend(light, points, surface)


def cast_shadow(light: Floats, points: Outline, radius: float) -> None:
    """Darken what lies below and beside a thing; small things cast none worth the time."""
    if radius < 14:
        return
    reach = min(radius, 80.0)
    shade = (0.02, 0.02, 0.025)
    blend(light, points + np.array([0.06, 0.10]) * reach, shade, 0.55, soft=int(0.16 * reach))


def blend(
    light: Floats,
    points: Outline,
    paint: Colour | Callable[[int, int], Floats],
    opacity: float = 1.0,
    *,
    thickness: int = 0,
    soft: int = 0,
) -> None:
    """Put paint inside the outline, or along it `thickness` px wide.

    Edges are smoothed, and `soft` px wider than that.
    """
    height, width, _ = light.shape
    low = np.floor(points.min(0)).astype(int) - thickness - soft - 1
    high = np.ceil(points.max(0)).astype(int) + thickness + soft + 2
    left, top = np.clip(low, 0, (width, height))
    right, bottom = np.clip(high, 0, (width, height))
    if left >= right or top >= bottom:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fixed = np.rint((points - (left, top)) * 16).astype(np.int32)  # four fractional bits
    if thickness:
        cv2.polylines(mask, [fixed], False, 255, thickness, cv2.LINE_AA, 4)
    else:
        cv2.fillPoly(mask, [fixed], (255,), cv2.LINE_AA, 4)
    if soft:
        mask = np.asarray(cv2.blur(mask, (2 * soft + 1, 2 * soft + 1)), dtype=np.uint8)
    share = (mask * np.float32(opacity / 255))[..., None]
    colour = paint(*mask.shape) if callable(paint) else np.array(paint, np.float32)
    piece = light[top:bottom, left:right]
    piece += share * (colour - piece)


def crop(
    texture: Floats, start: NDArray[np.int64] | tuple[int, int], size: tuple[int, int]
) -> Floats:
    """A piece of a periodic texture, from row and column `start`."""
    rows = (start[0] + np.arange(size[0])) % texture.shape[0]
    columns = (start[1] + np.arange(size[1])) % texture.shape[1]
    return texture[np.ix_(rows, columns)]


def box(left: float, top: float, wide: float, tall: float) -> Outline:
    """The corners of an upright rectangle."""
    return np.array(
        [[left, top], [left + wide, top], [left + wide, top + tall], [left, top + tall]]
    )


def pick(palette: tuple[Colour, ...], random: np.random.Generator) -> Colour:
    """A colour of the palette, a little lighter or darker and of another hue."""
    colour = np.array(palette[int(random.integers(len(palette)))])
    colour = colour * np.exp(random.normal(0.0, 0.24)) * np.exp(random.normal(0.0, 0.08, 3))
    red, green, blue = np.clip(colour, 0.012, 0.9)
    return (float(red), float(green), float(blue))
