"""From one colour a pixel to three: the step that leaves the strongest periodic trace.

All methods take the mosaic, float32 (h, w), and each pixel's colour, uint8 (h, w) with 0 red,
1 green, 2 blue; they return float32 (h, w, 3) on the same scale, the measured values unchanged.
At the border the mosaic is mirrored about its outermost pixels, which keeps a Bayer pattern.

One method is OpenCV's; its others keep 8 bits or repeat ours. The package colour-demosaicing is
well kept, but works in float64 with SciPy, at 2.6 s (Malvar) and 5.6 s (Menon) for 2 megapixels
where those here take under half a second, and brings 100 MB of colour science.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from phototrace.simulation.textures import Floats

Channels = NDArray[np.uint8]
RED, GREEN, BLUE = 0, 1, 2


def _kernel(rows: list[list[float]], scale: float) -> Floats:
    return np.array(rows, np.float32) / np.float32(scale)


_CROSS = _kernel([[0, 1, 0], [1, 4, 1], [0, 1, 0]], 4)
_TENT = _kernel([[1, 2, 1], [2, 4, 2], [1, 2, 1]], 4)


def filtered(image: Floats, kernel: Floats) -> Floats:
    """Correlate with a small kernel, the border mirrored (reflect 101)."""
    return np.asarray(cv2.filter2D(image, -1, kernel), dtype=np.float32)


def bilinear(mosaic: Floats, channels: Channels) -> Floats:
    """Mean of the nearest pixels of the colour, Bayer patterns."""
    kernels = (_TENT, _CROSS, _TENT)
    planes = [filtered(mosaic * (channels == c), kernels[c]) for c in (RED, GREEN, BLUE)]
    return np.stack(planes, axis=2)


def malvar(mosaic: Floats, channels: Channels) -> Floats:
    """Malvar, He and Cutler 2004: bilinear, corrected by the known colour's Laplacian."""
    green = _kernel(
        [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]],
        8,
    )
    beside = _kernel(  # red or blue at a green pixel whose left and right are of that colour
        [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0],
         [0, 0, 0.5, 0, 0]],
        8,
    )  # fmt: skip
    across = _kernel(  # red at blue, blue at red
        [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0],
         [0, 0, -1.5, 0, 0]],
        8,
    )  # fmt: skip
    at_green = channels == GREEN
    in_red_row = np.broadcast_to((channels == RED).any(axis=1)[:, None], channels.shape)
    level, upright = filtered(mosaic, beside), filtered(mosaic, beside.T.copy())
    opposite = filtered(mosaic, across)
    red = np.where(at_green, np.where(in_red_row, level, upright), opposite)
    blue = np.where(at_green, np.where(in_red_row, upright, level), opposite)
    planes = (red, filtered(mosaic, green), blue)
    return np.stack(
        [np.where(channels == c, mosaic, plane) for c, plane in enumerate(planes)], axis=2
    )


def hue(mosaic: Floats, channels: Channels) -> Floats:
    """Green bilinear, red and blue by smooth colour differences (after Cok 1987)."""
    green = filtered(mosaic * (channels == GREEN), _CROSS)
    return _by_difference(mosaic, channels, green)


def hamilton_adams(mosaic: Floats, channels: Channels) -> Floats:
    """Hamilton and Adams 1997: green along the smaller gradient, Laplacian-corrected."""
    level, upright = _directional_green(mosaic)
    slope = _kernel([[-1, 0, 1]], 1)
    bend = _kernel([[-1, 0, 2, 0, -1]], 1)
    across = np.abs(filtered(mosaic, slope)) + np.abs(filtered(mosaic, bend))
    down = np.abs(filtered(mosaic, slope.T.copy())) + np.abs(filtered(mosaic, bend.T.copy()))
    green = np.where(across < down, level, np.where(down < across, upright, (level + upright) / 2))
    return _by_difference(mosaic, channels, np.where(channels == GREEN, mosaic, green))


def menon(mosaic: Floats, channels: Channels) -> Floats:
    """Menon, Andriani and Calvagno 2007: both directions tried, the smoother hue kept.

    Their a posteriori decision, without the refining step.
    """
    level, upright = _directional_green(mosaic)
    coloured = (channels != GREEN).astype(np.float32)
    two_apart = _kernel([[0, 0, 1, 0, -1]], 1)
    window = np.ones((5, 5), np.float32)
    rough_level = np.abs(filtered((mosaic - level) * coloured, two_apart)) * coloured
    rough_upright = np.abs(filtered((mosaic - upright) * coloured, two_apart.T.copy())) * coloured
    choose_level = filtered(rough_level, window) < filtered(rough_upright, window)
    green = np.where(coloured == 0, mosaic, np.where(choose_level, level, upright))
    return _by_difference(mosaic, channels, green)


def edge_aware(mosaic: Floats, channels: Channels) -> Floats:
    """OpenCV's edge-aware method, in its 16-bit numbers; Bayer patterns."""
    codes = {
        (RED, GREEN): cv2.COLOR_BayerRGGB2RGB_EA,
        (GREEN, RED): cv2.COLOR_BayerGRBG2RGB_EA,
        (GREEN, BLUE): cv2.COLOR_BayerGBRG2RGB_EA,
        (BLUE, GREEN): cv2.COLOR_BayerBGGR2RGB_EA,
    }
    low, steps = np.float32(-0.25), np.float32(32768)  # room below black and above white
    numbers = np.clip(np.rint((mosaic - low) * steps), 0, 65535).astype(np.uint16)
    padded = np.pad(numbers, 2, mode="reflect")
    code = codes[(int(channels[0, 0]), int(channels[0, 1]))]
    colours = cv2.demosaicing(padded, code)[2:-2, 2:-2].astype(np.float32)
    return np.asarray(colours / steps + low, dtype=np.float32)


def weighted(mosaic: Floats, channels: Channels) -> Floats:
    """Means weighted by distance, for any pattern (normalised convolution, Knutsson 1993).

    Green first, along edges rather than across them; then the differences of red and blue to it,
    which vary more slowly.
    """
    mask = (channels == GREEN).astype(np.float32)
    measured = mosaic * mask
    rough = _normalised(measured, mask, 1.0, 1.0)
    across = cv2.GaussianBlur(filtered(rough, _kernel([[-1, 0, 1]], 1)) ** 2, (5, 5), 1.0)
    down = cv2.GaussianBlur(filtered(rough, _kernel([[-1], [0], [1]], 1)) ** 2, (5, 5), 1.0)
    level_share = (down + 1e-6) / (across + down + 2e-6)
    level = _normalised(measured, mask, 0.9, 0.3)
    upright = _normalised(measured, mask, 0.3, 0.9)
    green = np.where(channels == GREEN, mosaic, upright + level_share * (level - upright))
    planes = [green, green, green]
    for colour in (RED, BLUE):
        mask = (channels == colour).astype(np.float32)
        difference = _normalised((mosaic - green) * mask, mask, 1.2, 1.2)
        planes[colour] = np.where(channels == colour, mosaic, green + difference)
    return np.stack(planes, axis=2).astype(np.float32)


METHODS: dict[str, Callable[[Floats, Channels], Floats]] = {
    "bilinear": bilinear,
    "malvar": malvar,
    "hue": hue,
    "hamilton-adams": hamilton_adams,
    "menon": menon,
    "edge-aware": edge_aware,
    "weighted": weighted,
}


def _directional_green(mosaic: Floats) -> tuple[Floats, Floats]:
    """Green at red and blue pixels from left and right, and from above and below."""
    line = _kernel([[-1, 2, 2, 2, -1]], 4)
    return filtered(mosaic, line), filtered(mosaic, line.T.copy())


def _by_difference(mosaic: Floats, channels: Channels, green: Floats) -> Floats:
    """Red and blue from a full green plane: their differences to it, bilinear (Bayer)."""
    difference = mosaic - green
    red = green + filtered(difference * (channels == RED), _TENT)
    blue = green + filtered(difference * (channels == BLUE), _TENT)
    return np.stack([red, green, blue], axis=2)


def _normalised(values: Floats, mask: Floats, across: float, down: float) -> Floats:
    """Mean of `values` where `mask`, weighted by a Gaussian of these spreads, px."""
    total = cv2.GaussianBlur(values, (7, 7), across, sigmaY=down)
    weight = cv2.GaussianBlur(mask, (7, 7), across, sigmaY=down)
    return np.asarray(total / np.maximum(weight, 1e-9), dtype=np.float32)
