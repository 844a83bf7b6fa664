"""Scenes: what stands before all cameras, in linear light and finer than any photo of it.

A scene is a dead leaves picture (Matheron 1975; Lee, Mumford and Huang 2001): things of a
power-law size that cover each other give the edges, the flat parts and the spectrum of natural
images at every scale. Each thing has a texture of its own; skies, house fronts, lettering,
lamps and uneven light are added, since cameras treat each of them differently. Scenes differ as
photos do in how near things are, in focus, haze, contrast, light and motion: a photo of many
megapixels shows most things large and soft.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from phototrace.simulation.painting import (
    Colour,
    Outline,
    blend,
    box,
    cast_shadow,
    crop,
    paint_surface,
    pick,
)
from phototrace.simulation.randomness import stream
from phototrace.simulation.textures import (
    Floats,
    outline,
    smooth_field,
    texture_bank,
)

FINENESS = 1.5  # scene pixels a photo pixel: what the lens and the sensor then blur and sample
MARGIN = 1.1  # the scene is this much larger than the view, which leaves room to aim elsewhere


@dataclass(frozen=True)
class Kind:
    """What a kind of scene is made of. Colours are linear-light reflectances (R, G, B)."""

    name: str
    palette: tuple[Colour, ...]
    shapes: tuple[str, ...]  # drawn from evenly; see textures.outline
    smallest: float  # radius of the smallest thing, scene px
    largest: float  # radius of the largest, as a share of the scene's height
    coverage: float  # things' total area, in scenes
    texture: float  # contrast of the surfaces' textures
    sky: float = 0.0  # share of the height
    fronts: int = 0  # house fronts with windows
    papers: int = 0  # sheets with lettering
    lamps: int = 0
    illuminant: Colour = (1.0, 1.0, 1.0)
    stops: float = 0.0  # how many stops darker than full daylight
    blur: float = 0.0  # blur of what is far out of focus, scene px
    bias: float = 0.0  # how many stops lighter than the meter says it is photographed
    near: float = 1.0  # enlargement: drawn for every scene


GREENS: tuple[Colour, ...] = (
    (0.07, 0.11, 0.04), (0.13, 0.17, 0.07), (0.05, 0.07, 0.035), (0.22, 0.24, 0.12),
    (0.16, 0.12, 0.07), (0.36, 0.32, 0.22),
)  # fmt: skip
STONES: tuple[Colour, ...] = (
    (0.30, 0.27, 0.23), (0.18, 0.17, 0.16), (0.44, 0.40, 0.34), (0.26, 0.16, 0.11),
    (0.08, 0.08, 0.09), (0.14, 0.16, 0.11),
)  # fmt: skip
GOODS: tuple[Colour, ...] = (
    (0.40, 0.12, 0.09), (0.12, 0.17, 0.30), (0.50, 0.40, 0.18), (0.58, 0.56, 0.52),
    (0.06, 0.06, 0.07), (0.15, 0.24, 0.18), (0.32, 0.21, 0.13), (0.44, 0.33, 0.26),
    (0.25, 0.25, 0.26), (0.68, 0.64, 0.56),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    Kind("hillside", (*GREENS, *STONES[:2]), ("blob", "blob", "blade"), 9, 0.20, 2.0, 0.28,
         sky=0.28, illuminant=(1.05, 1.0, 0.93)),
    Kind("street", STONES, ("block", "block", "blob"), 10, 0.30, 1.6, 0.18,
         sky=0.18, fronts=8, papers=2, lamps=4, stops=0.7),
    Kind("thicket", GREENS, ("blade", "blade", "blob"), 14, 0.25, 3.6, 0.26,
         illuminant=(0.96, 1.0, 0.98), stops=1.5, blur=3.0),
    Kind("table", GOODS, ("block", "blob", "block"), 16, 0.40, 2.4, 0.16,
         papers=5, lamps=5, illuminant=(1.35, 1.0, 0.62), stops=2.5, blur=2.5),
    Kind("shore", (*STONES, (0.36, 0.40, 0.44)), ("blob",), 8, 0.22, 2.2, 0.22,
         sky=0.26, lamps=2, illuminant=(0.97, 1.0, 1.06), stops=0.3),
    Kind("market", GOODS, ("blob", "block", "blob", "blade"), 10, 0.26, 2.6, 0.20,
         papers=4, lamps=8, illuminant=(1.15, 1.0, 0.82), stops=1.8),
    Kind("sky", STONES, ("blob", "blade"), 24, 0.15, 0.25, 0.12,
         sky=0.9, illuminant=(0.98, 1.0, 1.05), bias=0.5),
    Kind("wall", STONES, ("block", "blob"), 40, 0.9, 0.8, 0.10, lamps=1, stops=1.5),
    Kind("document", GOODS, ("block",), 60, 0.5, 0.8, 0.05,
         papers=16, illuminant=(1.12, 1.0, 0.86), stops=2.0, bias=0.5),
    Kind("night", STONES, ("block", "blob"), 20, 0.4, 1.5, 0.12,
         fronts=6, papers=1, lamps=24, illuminant=(1.4, 1.0, 0.6), stops=4.5, bias=-1.0),
    Kind("close-up", (*GREENS, *GOODS), ("blade", "blob"), 50, 0.6, 1.6, 0.16, blur=9.0, stops=1.0),
    Kind("object", GOODS, ("blob", "block", "blob"), 40, 0.5, 0.35, 0.10, lamps=3, stops=2.5),
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A scene: `light` float32 (height, width, 3), linear, > 0, on a scale of its own."""

    light: Floats
    illuminant: Colour
    stops: float
    bias: float = 0.0


def make_scene(number: int, size: tuple[int, int], seed: int) -> Scene:
    """Scene `number` for photos of `size` (height, width); the same for all cameras.

    Its pixels are FINENESS times finer than the photo's, and it is MARGIN times larger than the
    view. About a second for a photo of 0.8 megapixels.
    """
    random = stream(seed, "scene", number, *size)
    kind = _varied(KINDS[number % len(KINDS)], random)
    height, width = scene_size(size)
    bank = texture_bank(512, random, kind.near)
    light = np.zeros((height, width, 3), np.float32)
    horizon = _paint_backdrop(light, kind, bank, random)
    for paint in (_paint_hills, _paint_things, _paint_fronts, _paint_papers):
        paint(light, kind, bank, horizon, random)
    grain = crop(bank[0], (0, 0), (height, width))
    depth = random.uniform(0.1, 0.45)
    shade = np.exp(0.2 * kind.texture * grain + depth * smooth_field((height, width), 3, random))
    light *= shade[..., None]
    if random.random() < 0.2:
        _move(light, random)
    light = _out_of_focus(light, kind.blur, random)
    _veil(light, float(random.uniform(0.55, 1.6)))
    _paint_lamps(light, kind.lamps, random)
    light *= np.array(kind.illuminant, np.float32)
    return Scene(light, kind.illuminant, kind.stops, kind.bias)


def scene_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the scene for photos of `size`."""
    height, width = (round(side * FINENESS * MARGIN) for side in size)
    return height, width


def _varied(kind: Kind, random: np.random.Generator) -> Kind:
    """One scene of a kind: how near, how textured, how lit."""
    near = float(np.exp(random.uniform(0.0, np.log(3.0))))
    red, green, blue = np.array(kind.illuminant) * np.exp(random.normal(0.0, 0.06, 3))
    shallow = random.uniform(2.0, 9.0) if random.random() < 0.15 else 0.0
    return replace(
        kind,
        near=near,
        smallest=kind.smallest * near,
        largest=min(kind.largest * near, 0.9),
        texture=kind.texture * float(np.exp(random.uniform(np.log(0.6), np.log(4.0)))),
        illuminant=(red, green, blue),
        stops=0.7 * kind.stops + float(random.normal(0.2, 0.8)),
        blur=kind.blur * float(random.uniform(0.3, 1.5)) + shallow,
        bias=kind.bias + float(random.normal(0.0, 1.0)),
    )


def _paint_backdrop(
    light: Floats, kind: Kind, bank: list[Floats], random: np.random.Generator
) -> float:
    """Fill `light` with a sky over a ground; returns the horizon's row (0 without sky)."""
    height, width, _ = light.shape
    ground = box(-1, -1, width + 2, height + 2)
    paint_surface(light, ground, pick(kind.palette, random), kind.texture, bank, random)
    if not kind.sky:
        return 0.0
    horizon = height * kind.sky * random.uniform(0.7, 1.1)
    clouds = smooth_field((height, width), 6, random) + 0.5 * smooth_field(
        (height, width), 24, random
    )
    cover = (1.0 / (1.0 + np.exp(-3.0 * (clouds - random.uniform(-0.5, 0.8)))))[..., None]
    rise = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    blue = np.array((0.30, 0.46, 0.80), np.float32) * (1 + 0.8 * rise)
    white = np.array((0.95, 0.96, 1.0), np.float32) * (1 + 0.10 * clouds[..., None])
    sky = blue + cover * (white - blue)
    rows = int(horizon) + 1
    light[:rows] = 0.8 * sky[:rows]
    return float(horizon)


def _paint_hills(
    light: Floats, kind: Kind, bank: list[Floats], horizon: float, random: np.random.Generator
) -> None:
    """Three ridges one before the other, the farther the paler (haze)."""
    if not kind.sky:
        return
    height, width, _ = light.shape
    across = np.linspace(0.0, 1.0, 60)
    for step, haze in enumerate((0.5, 0.25, 0.0)):
        waves = sum(
            random.normal(0.0, 0.05 / k) * np.sin(2 * np.pi * k * across + random.uniform(0, 6.3))
            for k in (1, 2, 5, 11)
        )
        ridge = horizon + height * (0.05 * step - 0.05 + waves)
        points = np.stack([across * width, ridge], 1)
        points = np.concatenate([points, [[width, height], [0, height]]])
        colour = np.array(pick(kind.palette, random))
        colour += haze * (np.array((0.45, 0.52, 0.62)) - colour)
        texture = kind.texture * (1 - haze)
        paint_surface(light, points, (colour[0], colour[1], colour[2]), texture, bank, random)


def _paint_things(
    light: Floats, kind: Kind, bank: list[Floats], horizon: float, random: np.random.Generator
) -> None:
    """Dead leaves with radii of density r^-2, from the horizon downwards and nearer.

    The density r^-3 of a scale-free picture would fill it with specks: below the smallest
    things it is the surfaces' textures that go on.
    """
    height, width, _ = light.shape
    smallest, largest = kind.smallest, max(kind.largest * height, 2 * kind.smallest)
    count = int(kind.coverage * height * width / (0.5 * np.pi * smallest * largest))
    radii = 1.0 / (1.0 / smallest - random.random(count) * (1.0 / smallest - 1.0 / largest))
    # The large ones lie mostly behind, as a wood behind its leaves; not strictly so.
    order = np.argsort(-radii * np.exp(random.normal(0.0, 0.7, count)))
    for radius in radii[order]:
        depth = random.random() ** 0.8
        y = horizon + (height - horizon) * depth
        x = random.uniform(-0.05, 1.05) * width
        reach = max(radius * (0.4 + depth if horizon else 1.0), 3.0)
        shape = kind.shapes[int(random.integers(len(kind.shapes)))]
        points = outline(shape, random) * reach + (x, y)
        cast_shadow(light, points, reach)
        paint_surface(light, points, pick(kind.palette, random), kind.texture, bank, random)


def _paint_fronts(
    light: Floats, kind: Kind, bank: list[Floats], horizon: float, random: np.random.Generator
) -> None:
    """House fronts: a wall, courses of windows, each with a frame and a reflected gradient."""
    height, width, _ = light.shape
    for _ in range(kind.fronts):
        wide = random.uniform(0.12, 0.3) * width
        tall = random.uniform(0.35, 0.75) * height
        left = random.uniform(-0.1, 0.95) * width
        top = max(horizon * 0.6, random.uniform(0.0, 0.5) * height)
        wall = pick(kind.palette, random)
        cast_shadow(light, box(left, top, wide, tall), 60.0)
        paint_surface(light, box(left, top, wide, tall), wall, 0.10, bank, random)
        step_x, step_y = kind.near * random.uniform((24, 30), (70, 80))
        red, green, blue = pick(GOODS, random)
        glass = (0.3 * red + 0.02, 0.3 * green + 0.02, 0.3 * blue + 0.02)
        for x in np.arange(left + 0.3 * step_x, left + wide - 0.7 * step_x, step_x):
            for y in np.arange(top + 0.3 * step_y, top + tall - 0.7 * step_y, step_y):
                pane = box(x, y, 0.55 * step_x, 0.6 * step_y)
                frame = (pane - pane.mean(0)) * 1.18 + pane.mean(0)
                paint_surface(light, frame, (0.55, 0.53, 0.5), 0.05, bank, random)
                paint_surface(light, pane, glass, 0.15, bank, random)


def _paint_papers(
    light: Floats, kind: Kind, bank: list[Floats], horizon: float, random: np.random.Generator
) -> None:
    """Sheets and signs with lines of letters, which are short strokes in a cell."""
    height, width, _ = light.shape
    for _ in range(kind.papers):
        letter = kind.near * random.uniform(6, 22)
        columns, rows = int(random.integers(8, 22)), int(random.integers(4, 14))
        angle = random.normal(0.0, 0.25)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        place = np.array([random.uniform(0.1, 0.7) * width, random.uniform(0.2, 0.75) * height])
        sheet = box(-letter, -letter, (columns + 2) * letter * 0.8, (rows + 1.5) * letter * 1.5)
        cast_shadow(light, sheet @ turn + place, 40.0)
        paper, ink = (0.72, 0.70, 0.65), (0.05, 0.05, 0.07)
        if random.random() < 0.3:
            paper, ink = pick(GOODS, random), (0.8, 0.8, 0.76)
        paint_surface(light, sheet @ turn + place, paper, 0.05, bank, random)
        strokes = _letters(columns, rows, letter, random)
        thickness = max(1, round(letter / 7))
        for points in strokes:
            blend(light, points @ turn + place, ink, thickness=thickness)


def _letters(columns: int, rows: int, letter: float, random: np.random.Generator) -> list[Outline]:
    """Polylines of one text: each letter two or three strokes between corners of its cell."""
    strokes = []
    for row in range(rows):
        for column in range(columns):
            if random.random() < 0.17:  # between words
                continue
            corner = np.array([column * 0.8, row * 1.5])
            for _ in range(int(random.integers(1, 4))):
                ends = random.integers(0, 3, (int(random.integers(2, 4)), 2)) * (0.28, 0.5)
                strokes.append((corner + ends) * letter)
    return strokes


def _paint_lamps(light: Floats, count: int, random: np.random.Generator) -> None:
    """Small lights and reflections far brighter than white, each with its glare."""
    height, width, _ = light.shape
    for _ in range(count):
        radius = random.uniform(1.5, 9.0)
        reach = int(10 * radius)
        x, y = int(random.uniform(0, width)), int(random.uniform(0, height))
        rows, columns = slice(max(y - reach, 0), y + reach), slice(max(x - reach, 0), x + reach)
        down, across = np.ogrid[rows, columns]
        piece = light[rows, columns]
        squared = (down[: piece.shape[0]] - y) ** 2 + (across[:, : piece.shape[1]] - x) ** 2
        disc = 1.0 / (1.0 + (squared / radius**2) ** 4)
        glare = 0.03 * np.exp(-squared / (2 * (3 * radius) ** 2))
        colour = np.array((1.0, random.uniform(0.8, 1.0), random.uniform(0.5, 1.0)))
        piece += (random.uniform(1.5, 9.0) * (disc + glare)[..., None] * colour).astype(np.float32)


def _out_of_focus(light: Floats, blur: float, random: np.random.Generator) -> Floats:
    """Blur what is farther or nearer than the rows, or than the spot, that are in focus."""
    if not blur:
        return light
    height, width, _ = light.shape
    down = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    across = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    row, column = (np.float32(v) for v in random.uniform(-0.5, 0.5, 2))
    spot = np.float32(random.integers(2))
    away = np.sqrt((down - row) ** 2 + spot * (across - column) ** 2)
    share = np.clip((away - np.float32(random.uniform(0.1, 0.5))) * 2.5, 0.0, 1.0)[..., None]
    half, full = (cv2.GaussianBlur(light, (0, 0), s) for s in (0.45 * blur, blur))
    nearer, farther = np.minimum(2 * share, 1.0), np.maximum(2 * share - 1.0, 0.0)
    result = light + nearer * (half - light)
    return np.asarray(result + farther * (full - result), dtype=np.float32)


def _move(light: Floats, random: np.random.Generator) -> None:
    """Smear a part of the scene along a line, as what moves while the shutter is open."""
    height, width, _ = light.shape
    tall, wide = (int(side * random.uniform(0.2, 0.6)) for side in (height, width))
    top, left = (int(random.uniform(0, side)) for side in (height - tall, width - wide))
    part = light[top : top + tall, left : left + wide]
    length = int(random.uniform(5, 30)) | 1
    kernel = np.zeros((length, length), np.float32)
    reach = length // 2
    angle = random.normal(0.0, 0.3)
    step = np.array([np.cos(angle), np.sin(angle)]) * reach
    one, other = (np.rint(reach + sign * step).astype(int).tolist() for sign in (1, -1))
    cv2.line(kernel, one, other, (1.0,))
    smeared = cv2.filter2D(part, -1, kernel / kernel.sum())
    edge = np.minimum(*np.meshgrid(_rise(wide), _rise(tall)))[..., None]
    part += edge * (smeared - part)


def _rise(length: int) -> Floats:
    """From 0 at both ends to 1 a tenth further in."""
    place = np.linspace(0.0, 1.0, length, dtype=np.float32)
    return np.clip(np.minimum(place, 1 - place) * 10.0, 0.0, 1.0)


def _veil(light: Floats, contrast: float) -> None:
    """Haze, and light from everywhere: contrast falls by this exponent about the mean."""
    mean = float(np.exp(np.log(light[::8, ::8] + 1e-4).mean()))
    np.power(light / np.float32(mean), np.float32(contrast), out=light)
    light *= np.float32(mean)
