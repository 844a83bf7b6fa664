"""Random fields with the spectra of natural surfaces, and the outlines of things."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fractal(
    size: tuple[int, int],
    exponent: float,
    random: np.random.Generator,
    *,
    coarsest: float = 0.0,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Floats:
    """A periodic field whose amplitude falls with frequency as f^-exponent.

    Natural images have exponents near 1 (Field 1987; Ruderman 1994). `stretch` > 1 draws the
    field out along the direction `angle` (radians), as grass, wood or hair. Waves longer than
    `coarsest` pixels are left out (0: none), so that a surface has texture and no shading.

    Returns:
        float32 (height, width), mean 0, variance 1, clipped to [-3, 3].
    """
    height, width = size
    down = np.fft.fftfreq(height).astype(np.float32)[:, None]
    across = np.fft.rfftfreq(width).astype(np.float32)[None, :]
    along = np.cos(angle) * across + np.sin(angle) * down
    aside = np.cos(angle) * down - np.sin(angle) * across
    frequency = np.hypot(along * np.float32(stretch), aside / np.float32(stretch))
    frequency[0, 0] = 1.0
    gain = frequency ** np.float32(-exponent)
    if coarsest:
        gain *= 1.0 - np.exp(-((frequency * np.float32(coarsest)) ** 2))
    gain[0, 0] = 0.0
    white = random.standard_normal(size, dtype=np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * gain, size).astype(np.float32)
    field /= field.std()
    return np.clip(field, -3.0, 3.0)


def smooth_field(size: tuple[int, int], cells: int, random: np.random.Generator) -> Floats:
    """A slowly varying field, about `cells` hills across: float32 (height, width), variance 1."""
    hills = fractal((4 * cells, 4 * cells), 1.5, random)
    return np.asarray(
        cv2.resize(hills, size[::-1], interpolation=cv2.INTER_CUBIC), dtype=np.float32
    )


def texture_bank(side: int, random: np.random.Generator, near: float = 1.0) -> list[Floats]:
    """Nine periodic textures of side x side px: even, drawn out, leaves and pebbles, stripes.

    They are float32 with mean 0 and variance 1, in [-3, 3], seen `near` times enlarged: what they
    are made of is larger then, and what is finer than that is weaker.
    """
    steeper = 0.15 * np.log2(near)
    even = [
        fractal((side, side), exponent + steeper, random, coarsest=90 * near)
        for exponent in (0.7, 1.1)
    ]
    drawn = [
        fractal(
            (side, side), 0.9 + steeper, random, coarsest=60 * near, stretch=stretch, angle=angle
        )
        for stretch, angle in ((3.0, 0.2), (2.0, 1.3), (4.0, 2.2))
    ]
    litter = [
        small_things(side, shape, radius * near, random)
        for shape, radius in (("blob", 5.0), ("blade", 11.0), ("blade", 6.0))
    ]
    stripes = np.tanh(3.0 * drawn[0]) + 0.3 * even[0]
    return [*even, *drawn, *litter, stripes / stripes.std()]


def small_things(side: int, shape: str, radius: float, random: np.random.Generator) -> Floats:
    """A periodic dead leaves texture of grey things of about `radius` px: gravel, litter, grass."""
    grey = fractal((side, side), 0.8, random, coarsest=40)
    count = int(2.5 * side * side / (np.pi * radius**2 * (1.0 if shape == "blob" else 0.4)))
    sizes = radius * np.sort(random.lognormal(0.0, 0.45, count))[::-1]
    models = np.stack([outline(shape, random) for _ in range(64)])
    things = models[random.integers(0, 64, count)] * sizes[:, None, None]
    things += random.uniform(0, side, (count, 1, 2))
    levels = random.normal(size=count)
    low, high = things.min(1), things.max(1)
    for x, y in np.ndindex(3, 3):  # again beyond each edge that a thing crosses: periodic
        shift = (np.array([x, y]) - 1) * side
        seen = ((high + shift > 0) & (low + shift < side)).all(1)
        corners = np.rint((things[seen] + shift) * 16).astype(np.int32)  # four fractional bits
        for points, level in zip(corners, levels[seen], strict=True):
            cv2.fillPoly(grey, [points], (float(level),), cv2.LINE_8, 4)
    grey += 0.3 * fractal((side, side), 0.6, random)
    grey -= grey.mean()
    return np.asarray(np.clip(grey / grey.std(), -3.0, 3.0), dtype=np.float32)


def outline(shape: str, random: np.random.Generator) -> NDArray[np.float64]:
    """The outline of a thing of half-length about 1, turned at random: (points, 2) offsets x, y.

    `shape` is "blob" (a stone, a bush), "blade" (a leaf, a twig) or "block" (a brick, a book).
    Blocks lie nearly level, as most things that people made do.
    """
    angle = random.uniform(0.0, np.pi)
    if shape == "block":
        half = random.uniform(0.25, 1.0)
        points = np.array([[-1.0, -half], [1.0, -half], [1.0, half], [-1.0, half]])
        angle = random.normal(0.0, 0.06) + (np.pi / 2 if random.random() < 0.5 else 0.0)
    else:
        turn = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
        if shape == "blade":
            width = random.uniform(0.08, 0.4)
            points = np.stack([np.cos(turn), width * np.sin(turn) * np.abs(np.sin(turn))], 1)
        else:
            waves = [
                random.normal(0.0, 0.22 / k) * np.cos(k * turn + random.uniform(0.0, 2 * np.pi))
                for k in (2, 3, 5)
            ]
            radius = 1.0 + np.sum(waves, axis=0)
            points = np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1)
            points[:, 1] *= random.uniform(0.5, 1.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]), dtype=np.float64)
