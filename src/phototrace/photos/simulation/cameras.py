"""The simulated camera models: one frozen row each, and what a row's words mean.

The makes are made up, so that no simulated photo is mistaken for a real camera's. As among real
cameras, models of one make share parts: the Alders one JPEG encoder, the Birches one sensor, the
Cedars one image processor's sharpening. A JPEG table alone therefore does not name the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from phototrace.photos.simulation.quantisation import Table, diagonal, ijg, radial

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

RGGB = ("RG", "GB")
GRBG = ("GR", "BG")
GBRG = ("GB", "RG")
BGGR = ("BG", "GR")
SIX_BY_SIX = ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")  # as in X-Trans sensors


@dataclass(frozen=True)
class Lens:
    """Sharpness only, for now. `blur` is the standard deviation of the image point, photo px."""

    blur: float


@dataclass(frozen=True)
class Sensor:
    """Colour filters, light to electrons, electrons to numbers."""

    filters: tuple[str, ...]  # one letter a pixel, repeated over the sensor
    sensitivity: Matrix  # rows R, G, B of the filters; columns linear R, G, B of the scene
    full_well: float  # electrons at saturation and base ISO
    read_noise: float  # electrons
    prnu: float  # relative spread of the pixels' gains (photo response non-uniformity)
    base_iso: int
    bits: int  # of the analogue-digital converter


@dataclass(frozen=True)
class Denoising:
    """`luma` and `chroma` are strengths in standard deviations of the noise at mid grey."""

    kind: Literal["none", "coring", "bilateral", "median"]
    luma: float = 0.0
    chroma: float = 0.0  # standard deviation of the chroma blur, px


@dataclass(frozen=True)
class Tone:
    """sRGB's curve, made lighter by `lift` (exponent 1/lift) and steeper by `contrast`."""

    lift: float
    contrast: float
    saturation: float


@dataclass(frozen=True)
class Sharpening:
    """Unsharp masking: `radius` px, `amount`, details under `threshold` grey levels left alone.

    `limit` bounds the overshoot beyond the neighbourhood's own range, in grey levels (None: no
    bound).
    """

    radius: float
    amount: float
    threshold: float = 0.0
    limit: float | None = None


@dataclass(frozen=True)
class Jpeg:
    """Quantisation tables (64 numbers each, row by row) and chroma subsampling."""

    luma: Table
    chroma: Table
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"]


@dataclass(frozen=True)
class Camera:
    """One camera model."""

    make: str
    model: str
    software: str
    lens: Lens
    sensor: Sensor
    demosaicing: str  # a key of demosaicing.METHODS
    denoising: Denoising
    tone: Tone
    sharpening: Sharpening
    jpeg: Jpeg
    devices: int = 3

    @property
    def name(self) -> str:
        """Make and model, as the manifest's `camera`."""
        return f"{self.make} {self.model}"


# Rows are what a filter sees of linear red, green and blue light; real filters overlap so.
_CCD: Matrix = ((0.62, 0.17, 0.03), (0.14, 0.74, 0.12), (0.02, 0.20, 0.60))
_CMOS: Matrix = ((0.50, 0.20, 0.02), (0.16, 0.70, 0.14), (0.02, 0.24, 0.50))
_PHONE: Matrix = ((0.42, 0.24, 0.05), (0.17, 0.66, 0.17), (0.04, 0.27, 0.46))

_ALDER_JPEG = (diagonal(2, 13, 1.6), diagonal(2, 24, 0.8))
_BIRCH_JPEG = (radial(1, 7, 1.5), radial(1, 10, 0.9))

CAMERAS: tuple[Camera, ...] = (
    Camera(
        "Alder", "A10", "A10 firmware 1.01",
        Lens(blur=0.76),
        Sensor(RGGB, _CCD, full_well=9000, read_noise=9, prnu=0.011, base_iso=80, bits=12),
        "bilinear",
        Denoising("none", chroma=0.8),
        Tone(lift=1.05, contrast=0.25, saturation=1.10),
        Sharpening(radius=1.0, amount=0.9, threshold=1.0),
        Jpeg(*_ALDER_JPEG, "4:2:2"),
    ),
    Camera(
        "Alder", "A20", "A20 firmware 1.10",
        Lens(blur=0.69),
        Sensor(GRBG, _CCD, full_well=8000, read_noise=7, prnu=0.010, base_iso=80, bits=12),
        "malvar",
        Denoising("coring", luma=0.7, chroma=1.0),
        Tone(lift=1.08, contrast=0.30, saturation=1.15),
        Sharpening(radius=0.9, amount=0.7, threshold=1.5),
        Jpeg(*_ALDER_JPEG, "4:2:2"),
    ),
    Camera(
        "Birch", "Pro 5", "Birch Pro 5 Ver.2.00",
        Lens(blur=0.64),
        Sensor(RGGB, _CMOS, full_well=32000, read_noise=5, prnu=0.006, base_iso=100, bits=14),
        "hamilton-adams",
        Denoising("coring", luma=0.6, chroma=1.2),
        Tone(lift=1.00, contrast=0.20, saturation=1.00),
        Sharpening(radius=0.7, amount=0.55, threshold=0.5),
        Jpeg(*_BIRCH_JPEG, "4:4:4"),
    ),
    Camera(
        "Birch", "Pro 6", "Birch Pro 6 Ver.1.02",
        Lens(blur=0.64),
        Sensor(RGGB, _CMOS, full_well=32000, read_noise=4, prnu=0.006, base_iso=100, bits=14),
        "menon",
        Denoising("coring", luma=1.1, chroma=1.2),
        Tone(lift=1.03, contrast=0.25, saturation=1.05),
        Sharpening(radius=0.9, amount=0.40, limit=10.0),
        Jpeg(*_BIRCH_JPEG, "4:2:2"),
    ),
    Camera(
        "Cedar", "S3", "S3-2016.11",
        Lens(blur=0.80),
        Sensor(BGGR, _PHONE, full_well=5500, read_noise=3, prnu=0.012, base_iso=50, bits=10),
        "edge-aware",
        Denoising("bilateral", luma=1.3, chroma=1.8),
        Tone(lift=1.15, contrast=0.35, saturation=1.20),
        Sharpening(radius=1.3, amount=1.0, threshold=1.0, limit=18.0),
        Jpeg(ijg(95), ijg(95, chroma=True), "4:2:0"),
    ),
    Camera(
        "Cedar", "S4", "S4-2018.03",
        Lens(blur=0.74),
        Sensor(GBRG, _PHONE, full_well=5000, read_noise=2, prnu=0.010, base_iso=50, bits=10),
        "malvar",
        Denoising("bilateral", luma=1.8, chroma=2.2),
        Tone(lift=1.20, contrast=0.40, saturation=1.20),
        Sharpening(radius=1.3, amount=1.0, threshold=1.0, limit=18.0),
        Jpeg(ijg(93), ijg(93, chroma=True), "4:2:0"),
    ),
    Camera(
        "Dogwood", "X1", "Dogwood X1 Ver1.30",
        Lens(blur=0.62),
        Sensor(SIX_BY_SIX, _CMOS, full_well=26000, read_noise=3, prnu=0.006, base_iso=200, bits=14),
        "weighted",
        Denoising("median", luma=0.5, chroma=1.5),
        Tone(lift=1.02, contrast=0.30, saturation=1.15),
        Sharpening(radius=0.8, amount=0.7, threshold=0.5),
        Jpeg(radial(2, 9, 1.2), radial(2, 14, 1.0), "4:2:0"),
    ),
    Camera(
        "Elm", "700", "EL700 v1.0",
        Lens(blur=0.80),
        Sensor(GBRG, _CCD, full_well=12000, read_noise=8, prnu=0.009, base_iso=100, bits=12),
        "hue",
        Denoising("median", luma=0.8, chroma=1.0),
        Tone(lift=1.10, contrast=0.20, saturation=1.05),
        Sharpening(radius=0.8, amount=0.7, limit=12.0),
        Jpeg(diagonal(1, 9, 1.2), diagonal(2, 17, 0.9), "4:2:2"),
    ),
)  # fmt: skip
