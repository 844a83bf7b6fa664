"""A camera model's parts: frozen rows of numbers, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from phototrace.simulation.quantisation import Table

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Lens:
    """What the lens does to the light, the worst of it in the picture's corners."""

    blur: float  # standard deviation of the image point in the middle, sensor px
    corner: float = 0.0  # blur that the corner has besides, px
    vignetting: float = 0.0  # light lost in the corner, stops
    distortion: float = 0.0  # shift of the corner, of its distance (barrel > 0)
    red: float = 0.0  # shift of red against green in the corner, px (lateral chromatic aberration)
    blue: float = 0.0


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
    top_iso: int = 3200
    hot: float = 30.0  # hot pixels a million
    banding: float = 0.0  # electrons by which whole rows are off, drawn for each photo


@dataclass(frozen=True)
class Correction:
    """What of the lens's and the sensor's faults the camera itself takes back."""

    vignetting: float = 0.0  # share of it, 0..1
    colour: bool = False  # lateral chromatic aberration
    distortion: bool = False
    hot_pixels: bool = True  # those on the list made in the factory


@dataclass(frozen=True)
class Denoising:
    """`luma` is a strength in standard deviations of the noise at mid grey."""

    kind: Literal["none", "coring", "bilateral", "median", "wavelet", "guided"]
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
class Scaling:
    """The stored photo's side over the developed picture's: < 1 reduced, > 1 enlarged."""

    factor: float = 1.0
    method: Literal["area", "bilinear", "cubic", "lanczos"] = "area"


@dataclass(frozen=True)
class Jpeg:
    """Quality modes, each a luma and a chroma table, and chroma subsampling.

    A photo takes one of the modes, each as likely: the user's choice (fine, normal), or the
    camera's own where it fits the table to the picture.
    """

    modes: tuple[tuple[Table, Table], ...]
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
    correction: Correction = Correction()
    scaling: Scaling = Scaling()
    devices: int = 3

    @property
    def name(self) -> str:
        """Make and model, as the manifest's `camera`."""
        return f"{self.make} {self.model}"
