"""From raw numbers to the picture: white balance, colour, tone, denoising, sharpening, size.

The order is the usual one of image signal processors (Ramanath et al. 2005; Karaimer and Brown
2016). Values are float32; before the tone curve linear with 1.0 = white, after it grey levels
0..255.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from phototrace.simulation.camera import (
    Denoising,
    Scaling,
    Sensor,
    Sharpening,
    Tone,
)
from phototrace.simulation.textures import Floats

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JFIF has it
_TONE_STEPS = 4096
_FINEST = 0.6  # px: standard deviation under which sharpening raises nothing


def white_balance_gains(
    sensor: Sensor, illuminant: tuple[float, float, float], random: np.random.Generator
) -> Floats:
    """What each raw colour is multiplied by, float32 (3,), the smallest 1.

    Automatic white balance goes most of the way to the illuminant and errs by 2 %.
    """
    believed = np.array(illuminant) ** 0.85 * np.exp(random.normal(0.0, 0.02, 3))
    raw_white = np.array(sensor.sensitivity) @ believed
    gains = 1.0 / raw_white
    return np.asarray(gains / gains.min(), dtype=np.float32)


def balance(raw: Floats, channels: NDArray[np.uint8], gains: Floats) -> Floats:
    """White balance on the mosaic, clipped at white: else blown lights turn magenta."""
    return np.asarray(np.minimum(raw * gains[channels], 1.0), dtype=np.float32)


def colour_matrix(sensor: Sensor, saturation: float) -> Floats:
    """Balanced raw colours -> linear sRGB, float32 (3, 3); white stays white."""
    sensitivity = np.array(sensor.sensitivity)
    to_srgb = np.linalg.inv(sensitivity / sensitivity.sum(axis=1, keepdims=True))
    grey = np.tile(_LUMA.astype(np.float64), (3, 1))
    return ((saturation * np.eye(3) + (1 - saturation) * grey) @ to_srgb).astype(np.float32)


def tone_table(tone: Tone) -> Floats:
    """The tone curve from linear 0..1 in _TONE_STEPS steps to grey levels, float32, rising."""
    linear = np.linspace(0.0, 1.0, _TONE_STEPS)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    lifted = coded ** (1.0 / tone.lift)
    curve = lifted + tone.contrast * 2.0 * lifted * (1.0 - lifted) * (lifted - 0.5)
    return (255.0 * curve).astype(np.float32)


def develop(linear: Floats, matrix: Floats, tone: Tone) -> tuple[Floats, Floats]:
    """Colour matrix and tone curve: luma (h, w), and chroma (h, w, 2) as B - luma, R - luma."""
    colours = cv2.transform(linear, matrix)
    steps = np.clip(colours * (_TONE_STEPS - 1) + 0.5, 0, _TONE_STEPS - 1).astype(np.uint16)
    picture = tone_table(tone)[steps]
    luma = np.asarray(cv2.transform(picture, _LUMA[None, :]), dtype=np.float32)
    return luma, np.stack([picture[..., 2] - luma, picture[..., 0] - luma], axis=2)


def noise_at_mid_grey(sensor: Sensor, iso: int) -> float:
    """Standard deviation of the noise of a mid-grey pixel after the tone curve, grey levels.

    This is what an image signal processor's noise profile tells it; 18 % of saturation, where
    sRGB's curve has a slope of about 1.1.
    """
    well = sensor.full_well * sensor.base_iso / iso
    return 255.0 * 1.1 * float(np.sqrt(0.18 * well + sensor.read_noise**2)) / well


def denoise_luma(luma: Floats, denoising: Denoising, noise: float) -> Floats:
    """Take noise of standard deviation `noise` out of the luma, by the camera's method."""
    strength = np.float32(denoising.luma * noise)
    if denoising.kind == "none" or strength == 0:
        return luma
    if denoising.kind == "bilateral":  # Tomasi and Manduchi 1998
        return np.asarray(cv2.bilateralFilter(luma, 5, float(2 * strength), 1.2), np.float32)
    if denoising.kind == "median":  # a step to the median, no longer than the noise
        middle = np.asarray(cv2.medianBlur(luma, 3), np.float32)
        return np.asarray(luma + np.clip(middle - luma, -strength, strength), np.float32)
    if denoising.kind == "guided":
        return _guided(luma, strength)
    if denoising.kind == "wavelet":
        return _wavelet(luma, strength)
    coarse = np.asarray(cv2.GaussianBlur(luma, (5, 5), 1.0), np.float32)
    return coarse + _shrunk(luma - coarse, strength)  # coring: Donoho's soft threshold


def _guided(luma: Floats, strength: np.float32) -> Floats:
    """The guided filter with the picture as its own guide (He, Sun and Tang 2013), 5 x 5."""
    window = (5, 5)
    mean = cv2.blur(luma, window)
    variance = np.maximum(cv2.blur(luma * luma, window) - mean * mean, 0)
    gain = variance / (variance + strength * strength)
    offset = mean - gain * mean
    return np.asarray(cv2.blur(gain, window) * luma + cv2.blur(offset, window), np.float32)


def _wavelet(luma: Floats, strength: np.float32) -> Floats:
    """Soft thresholds on three levels of an undecimated wavelet (Starck, Murtagh and Fadili 2010).

    The B3 spline's details of white noise have standard deviations of 0.89, 0.20 and 0.09.
    """
    line = np.array([1, 4, 6, 4, 1], np.float32) / 16
    result, smooth = np.zeros_like(luma), luma
    for level, share in enumerate((0.89, 0.20, 0.09)):
        kernel = np.zeros(4 * 2**level + 1, np.float32)
        kernel[:: 2**level] = line
        coarser = np.asarray(cv2.sepFilter2D(smooth, -1, kernel, kernel), np.float32)
        result += _shrunk(smooth - coarser, strength * np.float32(share))
        smooth = coarser
    return result + smooth


def denoise_chroma(chroma: Floats, denoising: Denoising, noise: float) -> Floats:
    """Blur the colour differences, more where there is more noise (up to twice)."""
    if not denoising.chroma:
        return chroma
    spread = denoising.chroma * min(0.7 + noise / 10.0, 2.0)
    return np.asarray(cv2.GaussianBlur(chroma, (0, 0), spread), np.float32)


def sharpen(luma: Floats, sharpening: Sharpening) -> Floats:
    """Unsharp masking with a threshold and, on some cameras, a bound on the halos.

    What is raised is a band: the finest detail, which is mostly noise, is left as it is.
    """
    if not sharpening.amount:
        return luma
    fine, soft = (
        np.asarray(cv2.GaussianBlur(luma, (0, 0), spread), np.float32)
        for spread in (_FINEST, sharpening.radius)
    )
    detail = _shrunk(fine - soft, np.float32(sharpening.threshold))
    sharp = luma + np.float32(sharpening.amount) * detail
    if sharpening.limit is None:
        return sharp
    around = np.ones((3, 3), np.uint8)
    limit = np.float32(sharpening.limit)
    low, high = cv2.erode(luma, around) - limit, cv2.dilate(luma, around) + limit
    return np.asarray(np.clip(sharp, low, high), dtype=np.float32)


_INTERPOLATIONS = {
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def scale(plane: Floats, size: tuple[int, int], scaling: Scaling) -> Floats:
    """A plane (h, w[, 2]) brought to the stored photo's size (height, width)."""
    if plane.shape[:2] == size:
        return plane
    method = _INTERPOLATIONS[scaling.method]
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=method), np.float32)


def to_pixels(luma: Floats, chroma: Floats) -> NDArray[np.uint8]:
    """Luma and colour differences -> RGB, uint8 (h, w, 3), rounded."""
    red, blue = luma + chroma[..., 1], luma + chroma[..., 0]
    green = (luma - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1]
    picture = np.rint(np.stack([red, green, blue], axis=2))
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def _shrunk(detail: Floats, threshold: np.float32) -> Floats:
    return detail - np.clip(detail, -threshold, threshold)
