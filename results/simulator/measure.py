"""How near simulated photos come to real ones: statistics of their green channel, and pictures.

    python results/simulator/measure.py REAL SIMULATED -o results/simulator

REAL and SIMULATED are manifests. Of each photo the nine central blocks of 256 px are measured and
their median taken. Written are `statistics.md` (each statistic's median and the range of the
middle 80 % of photos, and how far the two distributions overlap), `spectra.png`,
`distributions.png` and `contact-sheet.png`, which shows simulated photos only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from phototrace.patches.cutting import central_blocks
from phototrace.photos.indexing import read_photos
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import read_pixels
from phototrace.progress import on_stderr, parallel_map

Floats = NDArray[np.float64]

SIZE = 256
BINS = 64  # of spatial frequency, from 0 to 0.5 cycles a pixel
CHUNK = 16
_LAPLACE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64) / 6.0  # white noise: 1 -> 1
_WINDOW = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
_RADIUS = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
_RING = np.minimum((_RADIUS * 2 * BINS).astype(int), BINS).ravel()
_QUINCUNX = (np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 2).astype(bool)


@dataclass(frozen=True)
class Block:
    """A block of green with what several statistics need: all float64."""

    green: Floats  # (256, 256), 0..255
    residual: Floats  # (252, 252): second differences both ways (Ker and Boehme 2008's core)
    spread: Floats  # (n,): the residual's standard deviation in 12 x 12 px, of unclipped places
    power: Floats  # (BINS,): mean power by frequency


def measured(green: Floats) -> Block:
    """What the statistics read of one block."""
    residual = np.asarray(cv2.filter2D(green, -1, _LAPLACE), np.float64)[2:-2, 2:-2]
    tiles = (21, 12, 21, 12)
    inside = green[2:-2, 2:-2].reshape(tiles)
    spread = residual.reshape(tiles).std(axis=(1, 3)).ravel()
    usable = ((inside.min((1, 3)) > 2) & (inside.max((1, 3)) < 253)).ravel()
    spread = spread[usable] if usable.sum() >= 20 else spread
    power = np.abs(np.fft.rfft2((green - green.mean()) * _WINDOW)) ** 2 / _WINDOW.var() / SIZE**2
    rings = np.bincount(_RING, power.ravel(), BINS + 1) / np.maximum(
        np.bincount(_RING, minlength=BINS + 1), 1
    )
    return Block(green, residual, spread, rings[:BINS])


def coefficients(green: Floats) -> Floats:
    """The AC coefficients of the block's own 8 x 8 grid: (1024, 63). Blocks lie on the photo's."""
    blocks = green.reshape(32, 8, 32, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    basis = cv2.dct(np.eye(8), flags=cv2.DCT_ROWS).T
    return (basis @ (blocks - 128) @ basis.T).reshape(-1, 64)[:, 1:]


def band(power: Floats, low: float, high: float) -> float:
    """Mean power between two frequencies in cycles a pixel."""
    return float(power[round(low * 2 * BINS) : round(high * 2 * BINS)].mean())


def slope(block: Block) -> float:
    """Of log power over log frequency, 0.02 to 0.25 cycles a pixel; natural scenes: about -2."""
    bins = np.arange(3, 32)
    logs = np.log(block.power[bins] + 1e-6)
    return float(np.polyfit(np.log((bins + 0.5) / (2 * BINS)), logs, 1)[0])


def neighbours(block: Block) -> float:
    """Correlation of horizontal neighbours of the vertical second difference."""
    vertical = block.green[2:] - 2 * block.green[1:-1] + block.green[:-2]
    left, right = vertical[:, :-1].ravel(), vertical[:, 1:].ravel()
    return float((left * right).mean() / ((vertical**2).mean() + 1e-6))


def lattice(block: Block) -> float:
    """How unequal the residual is on the two halves of a chessboard (the colour filters' trace)."""
    cross = block.green - cv2.blur(block.green, (3, 3))
    one, other = (cross[half].std() + 1e-3 for half in (_QUINCUNX, ~_QUINCUNX))
    return float(abs(np.log10(one / other)))


def grid(block: Block) -> float:
    """Steps across the JPEG grid over steps beside it, log10."""
    steps = np.abs(np.diff(block.green, axis=1)).mean(axis=0)
    return float(np.log10((steps[7::8].mean() + 1e-2) / (steps[3::8].mean() + 1e-2)))


def flat(block: Block) -> float:
    """Share of 8 x 8 blocks with a standard deviation under one grey level."""
    return float((block.green.reshape(32, 8, 32, 8).std(axis=(1, 3)) < 1.0).mean())


STATISTICS: dict[str, Callable[[Block], float]] = {
    "brightness": lambda b: float(b.green.mean()),
    "contrast (log10 sd)": lambda b: float(np.log10(b.green.std() + 0.1)),
    "residual (log10 sd)": lambda b: float(np.log10(b.residual.std() + 0.01)),
    "noise floor (log10 of the 10 % quietest)": lambda b: float(
        np.log10(np.percentile(b.spread, 10) + 0.01)
    ),
    "unevenness (log10 of 90 % over 10 %)": lambda b: float(
        np.log10((np.percentile(b.spread, 90) + 0.1) / (np.percentile(b.spread, 10) + 0.1))
    ),
    "spectrum's slope": slope,
    "power, 0.2-0.3 (log10)": lambda b: float(np.log10(band(b.power, 0.2, 0.3) + 1e-3)),
    "power, 0.4-0.5 (log10)": lambda b: float(np.log10(band(b.power, 0.4, 0.5) + 1e-3)),
    "fall from 0.2 to 0.45 (log10)": lambda b: float(
        np.log10((band(b.power, 0.17, 0.23) + 1e-3) / (band(b.power, 0.42, 0.48) + 1e-3))
    ),
    "neighbours' correlation": neighbours,
    "change by 5 x 5 median": lambda b: float(
        np.log10(
            np.abs(b.green - cv2.medianBlur(b.green.astype(np.uint8), 5)).mean() + 0.01
        )
    ),
    "DCT coefficients below 1": lambda b: float((np.abs(coefficients(b.green)) < 1.0).mean()),
    "JPEG grid (log10)": grid,
    "colour filters' trace": lattice,
    "flat blocks": flat,
    "saturated pixels": lambda b: float((b.green >= 254).mean()),
    "dark pixels": lambda b: float((b.green <= 8).mean()),
}  # fmt: skip


def measure_photos(numbers: Sequence[int], manifest: Manifest) -> tuple[Floats, Floats]:
    """Statistics (photos, len(STATISTICS)) and spectra (photos, BINS) of some photos."""
    cv2.setNumThreads(1)
    values, spectra = [], []
    for number in numbers:
        record = manifest.photos[number]
        green = read_pixels(manifest.path_of(record)).astype(np.float64)
        blocks = [
            measured(green[row : row + SIZE, column : column + SIZE])
            for row, column in central_blocks(green.shape[0], green.shape[1], SIZE)
        ]
        values.append(np.median([[f(b) for f in STATISTICS.values()] for b in blocks], axis=0))
        spectra.append(np.median([np.log10(b.power + 1e-3) for b in blocks], axis=0))
    return np.array(values), np.array(spectra)


def measure(manifest: Manifest, label: str) -> tuple[Floats, Floats]:
    """The same of a whole manifest, on all cores."""
    count = len(manifest.photos)
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    parts = list(parallel_map(partial(measure_photos, manifest=manifest), chunks, label))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def overlap(one: Floats, other: Floats) -> float:
    """The part that two distributions have in common, 0..1, in 24 steps of their joint range."""
    both = np.concatenate([one, other])
    low, high = np.percentile(both, [0.5, 99.5])
    edges = np.linspace(low, high + 1e-9, 25)
    shares = [np.histogram(np.clip(v, low, high), edges)[0] / len(v) for v in (one, other)]
    return float(np.minimum(*shares).sum())


def table(real: Floats, simulated: Floats) -> str:
    """The statistics as a Markdown table."""

    def range_of(values: Floats) -> str:
        low, middle, high = np.percentile(values, [10, 50, 90])
        return f"{middle:.2f} ({low:.2f} to {high:.2f})"

    lines = [
        f"| statistic | {len(real)} real photos | {len(simulated)} simulated photos | overlap |",
        "|---|---|---|---|",
    ]
    for index, name in enumerate(STATISTICS):
        one, other = real[:, index], simulated[:, index]
        lines.append(
            f"| {name} | {range_of(one)} | {range_of(other)} | {overlap(one, other):.0%} |"
        )
    return "\n".join(lines) + "\n"


def draw_spectra(real: Floats, simulated: Floats, path: Path) -> None:
    """Median power by frequency, and the middle 80 % of photos."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    frequency = (np.arange(BINS) + 0.5) / (2 * BINS)
    for name, spectra, colour in (("real", real, "C0"), ("simulated", simulated, "C1")):
        low, middle, high = np.percentile(spectra, [10, 50, 90], axis=0)
        axes.fill_between(frequency, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(frequency, middle, color=colour, label=f"{name}, {len(spectra)} photos")
    axes.set(xscale="log", xlabel="cycles a pixel", ylabel="power, log10 of squared grey levels")
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_distributions(real: Floats, simulated: Floats, path: Path) -> None:
    """A histogram a statistic."""
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(-(-len(STATISTICS) // 3), 3, figsize=(10, 12), layout="constrained")
    for axes, index, name in zip(grid.flat, range(len(STATISTICS)), STATISTICS, strict=False):
        both = np.concatenate([real[:, index], simulated[:, index]])
        low, high = np.percentile(both, [0.5, 99.5])
        edges = np.linspace(low, high + 1e-9, 31)
        for label, values in (("real", real), ("simulated", simulated)):
            clipped = np.clip(values[:, index], edges[0], edges[-1])
            axes.hist(clipped, edges, density=True, alpha=0.5, label=label)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_yticks([])
    for axes in list(grid.flat)[len(STATISTICS) :]:
        axes.axis("off")
    grid.flat[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def draw_contact_sheet(manifest: Manifest, path: Path, columns: int = 8, rows: int = 3) -> None:
    """Simulated photos, a camera and a scene further each time."""
    step = max(1, len(manifest.photos) // (columns * rows) | 1)
    side = 120
    sheet = np.full((rows * side, columns * side, 3), 255, np.uint8)
    for place in range(columns * rows):
        record = manifest.photos[(place * step) % len(manifest.photos)]
        pixels = read_pixels(manifest.path_of(record), channels="rgb")
        square = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - square) // 2, (pixels.shape[1] - square) // 2
        small = cv2.resize(
            pixels[top : top + square, left : left + square],
            (side - 4, side - 4),
            interpolation=cv2.INTER_AREA,
        )
        row, column = divmod(place, columns)
        sheet[row * side : (row + 1) * side - 4, column * side : (column + 1) * side - 4] = small
    cv2.imwrite(str(path), sheet[..., ::-1])


@on_stderr()
def main() -> None:
    """Measure two manifests, write the table and the pictures, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real", type=Path, metavar="REAL")
    parser.add_argument("simulated", type=Path, metavar="SIMULATED")
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()
    manifests = [read_photos(path) for path in (asked.real, asked.simulated)]
    (real, real_spectra), (simulated, simulated_spectra) = (
        measure(manifest, label)
        for manifest, label in zip(manifests, ("Real", "Simulated"), strict=True)
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    text = table(real, simulated)
    (asked.out / "statistics.md").write_text(text, encoding="utf-8")
    draw_spectra(real_spectra, simulated_spectra, asked.out / "spectra.png")
    draw_distributions(real, simulated, asked.out / "distributions.png")
    draw_contact_sheet(manifests[1], asked.out / "contact-sheet.png")
    print(text)


if __name__ == "__main__":
    main()
