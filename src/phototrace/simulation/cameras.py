"""The table of simulated camera models, one row each; `camera` says what a row's words mean.

The makes are made up, so that no simulated photo is mistaken for a real camera's. As among real
cameras, models of one make share parts: a sensor, an image processor, a JPEG encoder. So a JPEG
table alone does not name the model, and some models of one make are hard to tell apart. The kinds
are those of real collections: old compacts with CCDs, single-lens reflexes, phones and tablets
that smooth strongly, mirrorless cameras that correct their lenses, and some that store reduced or
enlarged pictures.
"""

from __future__ import annotations

from dataclasses import replace

from phototrace.simulation.camera import (
    Camera,
    Correction,
    Denoising,
    Jpeg,
    Lens,
    Matrix,
    Scaling,
    Sensor,
    Sharpening,
    Tone,
)
from phototrace.simulation.quantisation import Table, diagonal, ijg, radial

RGGB = ("RG", "GB")
GRBG = ("GR", "BG")
GBRG = ("GB", "RG")
BGGR = ("BG", "GR")
SIX_BY_SIX = ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")  # as in X-Trans sensors


def _ijg(*qualities: int) -> tuple[tuple[Table, Table], ...]:
    return tuple((ijg(quality), ijg(quality, chroma=True)) for quality in qualities)


# Rows are what a filter sees of linear red, green and blue light; real filters overlap so.
_CCD: Matrix = ((0.62, 0.17, 0.03), (0.14, 0.74, 0.12), (0.02, 0.20, 0.60))
_CMOS: Matrix = ((0.50, 0.20, 0.02), (0.16, 0.70, 0.14), (0.02, 0.24, 0.50))
_PHONE: Matrix = ((0.42, 0.24, 0.05), (0.17, 0.66, 0.17), (0.04, 0.27, 0.46))

# Sensors: filters, sensitivity, full well, read noise, PRNU, base ISO, bits, top ISO, hot, banding.
_CCD_SMALL = Sensor(RGGB, _CCD, 9000, 9, 0.011, 80, 12, 800, 80)
_CCD_TINY = Sensor(GBRG, _CCD, 6500, 8, 0.012, 100, 12, 1600, 120, 1.0)
_CCD_REFLEX = Sensor(BGGR, _CCD, 26000, 11, 0.007, 100, 12, 1600, 40)
_CMOS_REFLEX = Sensor(RGGB, _CMOS, 32000, 5, 0.006, 100, 14, 6400, 20)
_CMOS_REFLEX_OLD = Sensor(GBRG, _CMOS, 27000, 9, 0.007, 100, 14, 3200, 50, 3.0)
_CMOS_FULL = Sensor(RGGB, _CMOS, 62000, 4, 0.005, 100, 14, 12800, 15)
_CMOS_XTRANS = Sensor(SIX_BY_SIX, _CMOS, 26000, 3, 0.006, 200, 14, 6400, 15)
_CMOS_FOUR_THIRDS = Sensor(RGGB, _CMOS, 22000, 3, 0.007, 200, 12, 6400, 25)
_CMOS_BRIDGE = Sensor(GRBG, _CMOS, 8000, 3, 0.009, 100, 12, 3200, 50)
_PHONE_OLD = Sensor(BGGR, _PHONE, 5500, 4, 0.012, 64, 10, 1600, 100, 0.8)
_PHONE_MID = Sensor(GBRG, _PHONE, 5000, 2, 0.010, 50, 10, 3200, 60)
_PHONE_NEW = Sensor(RGGB, _PHONE, 9000, 1.6, 0.008, 50, 12, 6400, 30)
_PHONE_CHEAP = Sensor(GRBG, _PHONE, 4000, 3.5, 0.014, 100, 10, 1600, 150, 1.2)

# What a mirrorless camera and a new phone take back of their lenses' faults.
_LENS_PROFILE = Correction(vignetting=0.8, colour=True, distortion=True)
_SHADING_ONLY = Correction(vignetting=0.85)
_COLOUR_ONLY = Correction(colour=True)
_RAW_FAULTS = Correction(hot_pixels=False)

_ALDER_FINE = (diagonal(2, 13, 1.6), diagonal(2, 24, 0.8))
_ALDER_NORMAL = (diagonal(3, 24, 1.5), diagonal(4, 45, 0.8))
_BIRCH_FINE = (radial(1, 7, 1.5), radial(1, 10, 0.9))
_BIRCH_NORMAL = (radial(2, 22, 1.4), radial(3, 36, 0.9))
_ELM_FINE = (diagonal(1, 9, 1.2), diagonal(2, 17, 0.9))
_JUNIPER_FINE = (radial(1, 9, 1.1), radial(2, 18, 0.8))
_CEDAR, _FIR, _LARCH = _ijg(95), _ijg(96), _ijg(93)

_A10 = Camera(
    "Alder", "A10", "A10 firmware 1.01",
    Lens(0.82, corner=0.6, vignetting=0.5, distortion=0.012, red=0.5, blue=-0.7),
    _CCD_SMALL, "bilinear",
    Denoising("none", chroma=0.8), Tone(1.05, 0.25, 1.10), Sharpening(1.4, 1.26, 1.0),
    Jpeg((_ALDER_FINE,), "4:2:2"), _RAW_FAULTS,
)  # fmt: skip
_PRO5 = Camera(
    "Birch", "Pro 5", "Birch Pro 5 Ver.2.00",
    Lens(0.78, corner=0.35, vignetting=0.9, distortion=0.010, red=0.6, blue=0.5),
    _CMOS_REFLEX, "hamilton-adams",
    Denoising("coring", 0.8, 1.2), Tone(1.00, 0.20, 1.00), Sharpening(1.1, 0.77, 0.5),
    Jpeg((_BIRCH_FINE,), "4:4:4"),
)  # fmt: skip
_S3 = Camera(
    "Cedar", "S3", "S3-2016.11",
    Lens(0.90, corner=0.5, vignetting=1.3, distortion=0.008, red=0.4, blue=0.6),
    _PHONE_OLD, "edge-aware",
    Denoising("bilateral", 1.7, 1.8), Tone(1.15, 0.35, 1.20), Sharpening(1.7, 1.12, 1.0, 18.0),
    Jpeg(_CEDAR, "4:2:0"), _SHADING_ONLY,
)  # fmt: skip
_X1 = Camera(
    "Dogwood", "X1", "Dogwood X1 Ver1.30",
    Lens(0.74, corner=0.3, vignetting=0.8, distortion=0.015, red=0.4, blue=0.3),
    _CMOS_XTRANS, "weighted",
    Denoising("median", 0.5, 1.5), Tone(1.02, 0.30, 1.15), Sharpening(1.2, 0.98, 0.5),
    Jpeg(((radial(2, 9, 1.2), radial(2, 14, 1.0)),), "4:2:0"), _LENS_PROFILE,
)  # fmt: skip
_E700 = Camera(
    "Elm", "700", "EL700 v1.0",
    Lens(0.92, corner=0.7, vignetting=0.6, distortion=0.018, red=-0.6, blue=0.8),
    _CCD_TINY, "hue",
    Denoising("wavelet", 1.2, 1.0), Tone(1.10, 0.20, 1.05), Sharpening(1.2, 0.98, limit=12.0),
    Jpeg((_ELM_FINE,), "4:2:2"), _RAW_FAULTS,
)  # fmt: skip
_F1 = Camera(
    "Fir", "One", "FirOS 9.3",
    Lens(0.84, corner=0.4, vignetting=1.5, distortion=0.006, red=0.3, blue=0.4),
    _PHONE_MID, "menon",
    Denoising("wavelet", 2.1, 2.0), Tone(1.10, 0.30, 1.12), Sharpening(1.3, 0.70, 0.5, 10.0),
    Jpeg(_FIR, "4:2:0"), _SHADING_ONLY,
)  # fmt: skip
_H40 = Camera(
    "Hazel", "H40", "Hazel H40 1.10",
    Lens(0.97, corner=0.3, vignetting=0.8, distortion=0.014, red=0.7, blue=0.6),
    _CCD_REFLEX, "malvar",
    Denoising("none", chroma=0.9), Tone(1.04, 0.28, 1.10), Sharpening(1.3, 0.63, 1.0),
    Jpeg(_ijg(97, 89, 83), "4:2:2"),
)  # fmt: skip
_J2 = Camera(
    "Juniper", "J2", "J2 1.3",
    Lens(0.76, corner=0.5, vignetting=1.1, distortion=0.025, red=0.9, blue=0.8),
    _CMOS_FOUR_THIRDS, "menon",
    Denoising("guided", 1.2, 1.4), Tone(1.03, 0.28, 1.10), Sharpening(1.2, 0.84, 0.5, 14.0),
    Jpeg((_JUNIPER_FINE,), "4:2:2"), _LENS_PROFILE,
)  # fmt: skip
_L10 = Camera(
    "Larch", "Tab 10", "LarchPad 7.1",
    Lens(1.07, corner=0.6, vignetting=1.2, distortion=0.008, red=0.4, blue=0.5),
    _PHONE_CHEAP, "bilinear",
    Denoising("bilateral", 2.6, 2.4), Tone(1.12, 0.25, 1.05), Sharpening(1.6, 0.98, 1.0, 12.0),
    Jpeg(_LARCH, "4:2:0"), _SHADING_ONLY,
)  # fmt: skip
_M3 = Camera(
    "Maple", "M3", "MAPLE M3 V1.0",
    Lens(0.87, corner=0.6, vignetting=0.5, distortion=0.015, red=0.5, blue=-0.4),
    _CCD_SMALL, "hamilton-adams",
    Denoising("coring", 0.7, 0.9), Tone(1.06, 0.30, 1.15), Sharpening(1.3, 1.12, 0.5),
    Jpeg(_ijg(82, 84, 86, 89, 92, 94), "4:2:2"), _RAW_FAULTS,
)  # fmt: skip

CAMERAS: tuple[Camera, ...] = (
    # Alder: compacts with CCDs, one JPEG encoder.
    _A10,
    replace(
        _A10, model="A20", software="A20 firmware 1.10", demosaicing="malvar",
        lens=replace(_A10.lens, blur=0.80, red=0.4), sensor=replace(_CCD_SMALL, filters=GRBG),
        denoising=Denoising("coring", 0.9, 1.0), tone=Tone(1.08, 0.30, 1.15),
        sharpening=Sharpening(1.3, 0.98, 1.5),
    ),
    replace(
        _A10, model="A30", software="A30 firmware 1.00", demosaicing="malvar", sensor=_CCD_TINY,
        denoising=Denoising("wavelet", 1.3, 1.2), tone=Tone(1.08, 0.30, 1.15),
        sharpening=Sharpening(1.3, 1.26, 1.0, 20.0),
        jpeg=Jpeg((_ALDER_FINE, _ALDER_NORMAL), "4:2:2"),
    ),
    # Birch: reflexes of one sensor.
    _PRO5,
    replace(
        _PRO5, model="Pro 6", software="Birch Pro 6 Ver.1.02", demosaicing="menon",
        denoising=Denoising("coring", 1.4, 1.2), tone=Tone(1.03, 0.25, 1.05),
        sharpening=Sharpening(1.3, 0.56, limit=10.0), jpeg=Jpeg((_BIRCH_FINE,), "4:2:2"),
    ),
    replace(
        _PRO5, model="One D", software="Birch One D Ver.1.00", sensor=_CMOS_FULL,
        demosaicing="menon", denoising=Denoising("wavelet", 1.0, 1.0), tone=Tone(1.00, 0.18, 0.98),
        sharpening=Sharpening(1.1, 0.49), jpeg=Jpeg((_BIRCH_FINE, _BIRCH_NORMAL), "4:2:2"),
        correction=_COLOUR_ONLY,
    ),
    replace(
        _PRO5, model="Kit 3", software="Birch Kit 3 Ver.1.1", sensor=_CMOS_REFLEX_OLD,
        lens=Lens(0.94, 0.6, 1.0, 0.020, 0.9, 1.0), denoising=Denoising("none", chroma=1.0),
        tone=Tone(1.05, 0.30, 1.10), sharpening=Sharpening(1.2, 0.42),
        jpeg=Jpeg((_BIRCH_FINE, _BIRCH_NORMAL), "4:2:2"),
    ),
    # Cedar: phones of one image processor.
    _S3,
    replace(
        _S3, model="S4", software="S4-2018.03", sensor=_PHONE_MID, demosaicing="malvar",
        lens=replace(_S3.lens, blur=0.86), denoising=Denoising("bilateral", 2.3, 2.2),
        tone=Tone(1.20, 0.40, 1.20), jpeg=Jpeg(_LARCH, "4:2:0"),
    ),
    replace(
        _S3, model="S6", software="S6-2020.07", sensor=_PHONE_NEW, demosaicing="menon",
        lens=replace(_S3.lens, blur=0.82), denoising=Denoising("guided", 2.3, 2.2),
        tone=Tone(1.20, 0.40, 1.20), sharpening=Sharpening(1.5, 1.54, 0.5, 22.0),
        jpeg=Jpeg(_ijg(96), "4:2:2"), correction=_LENS_PROFILE,
    ),
    replace(
        _S3, model="S3 mini", software="S3M-2016.12", sensor=_PHONE_CHEAP, demosaicing="malvar",
        lens=replace(_S3.lens, blur=1.07, corner=0.8), denoising=Denoising("bilateral", 2.0, 2.0),
    ),
    # Dogwood: mirrorless cameras with an aperiodic filter pattern.
    _X1,
    replace(
        _X1, model="X2", software="Dogwood X2 Ver2.01", denoising=Denoising("guided", 1.3, 1.6),
        tone=Tone(1.04, 0.32, 1.15), sharpening=Sharpening(1.4, 0.77, 0.5, 12.0),
    ),
    replace(
        _X1, model="X1 Lite", software="Dogwood X1L Ver1.00", demosaicing="hamilton-adams",
        sensor=replace(_CMOS_REFLEX, full_well=24000, base_iso=200),
        jpeg=Jpeg(((radial(2, 9, 1.2), radial(2, 14, 1.0)), *_ijg(92)), "4:2:2"),
    ),
    # Elm: compacts and long-zoom cameras, some at a reduced size.
    _E700,
    replace(
        _E700, model="720", software="EL720 v1.2", denoising=Denoising("guided", 1.5, 1.4),
        tone=Tone(1.10, 0.25, 1.10), sharpening=Sharpening(1.4, 1.12, limit=14.0),
    ),
    replace(
        _E700, model="Zoom 30", software="EZ30 v1.1", sensor=_CMOS_BRIDGE, demosaicing="malvar",
        lens=Lens(1.07, 0.8, 0.8, 0.022, 1.0, 1.1), denoising=Denoising("wavelet", 2.0, 1.8),
        correction=_LENS_PROFILE,
    ),
    replace(
        _E700, model="Zoom 30 M", software="EZ30M v1.0", sensor=_CMOS_BRIDGE, demosaicing="malvar",
        lens=Lens(1.07, 0.8, 0.8, 0.022, 1.0, 1.1), denoising=Denoising("wavelet", 2.0, 1.8),
        scaling=Scaling(0.8), jpeg=Jpeg(_ijg(93), "4:2:2"),
    ),
    # Fir: phones with shading correction, one JPEG table for most.
    _F1,
    replace(
        _F1, model="Two", software="FirOS 11.2", sensor=_PHONE_NEW, tone=Tone(1.14, 0.34, 1.15),
        denoising=Denoising("wavelet", 2.6, 2.2), sharpening=Sharpening(1.2, 0.98, 0.5, 12.0),
    ),
    replace(
        _F1, model="Three", software="FirOS 14.0", sensor=_PHONE_NEW, demosaicing="edge-aware",
        denoising=Denoising("guided", 2.9, 2.4), tone=Tone(1.22, 0.36, 1.18),
        sharpening=Sharpening(1.4, 1.40, 0.5, 16.0), correction=_LENS_PROFILE,
        scaling=Scaling(0.8, "cubic"), jpeg=Jpeg(_ijg(93), "4:2:0"),
    ),
    replace(
        _F1, model="Pad", software="FirOS 9.2", lens=replace(_F1.lens, blur=0.97),
        sensor=_PHONE_OLD, demosaicing="malvar", sharpening=Sharpening(1.4, 0.49, limit=10.0),
    ),
    # Hazel: reflexes, from CCD to CMOS, with quality modes.
    _H40,
    replace(
        _H40, model="H90", software="Hazel H90 1.00", sensor=_CMOS_REFLEX_OLD, demosaicing="menon",
        denoising=Denoising("coring", 1.0, 1.2),
        tone=Tone(1.04, 0.30, 1.08), correction=_COLOUR_ONLY, jpeg=Jpeg(_ijg(98, 92, 81), "4:2:2"),
    ),
    replace(
        _H40, model="H50", software="Hazel H50 1.01", sensor=_CMOS_REFLEX_OLD, demosaicing="menon",
        denoising=Denoising("coring", 1.3, 1.3),
        tone=Tone(1.06, 0.30, 1.10), correction=_COLOUR_ONLY, jpeg=Jpeg(_ijg(98, 94), "4:2:2"),
    ),
    # Juniper: mirrorless cameras that live by lens correction.
    _J2,
    replace(
        _J2, model="J3", software="J3 1.0", denoising=Denoising("guided", 1.7, 1.6),
        sharpening=Sharpening(1.2, 1.12, 0.5, 18.0), lens=replace(_J2.lens, blur=0.72),
    ),
    replace(
        _J2, model="J Full", software="JF 2.0", sensor=_CMOS_FULL, demosaicing="hamilton-adams",
        denoising=Denoising("wavelet", 1.4, 1.3), tone=Tone(1.05, 0.24, 1.06),
        correction=_COLOUR_ONLY, jpeg=Jpeg((_JUNIPER_FINE, *_ijg(95)), "4:2:2"),
    ),
    # Larch: tablets and cheap phones; the mini enlarges what its small sensor gives.
    _L10,
    replace(
        _L10, model="Tab 8", software="LarchPad 7.0", denoising=Denoising("bilateral", 2.1, 2.0),
        sharpening=Sharpening(1.4, 0.70, 1.0), jpeg=Jpeg(_ijg(95), "4:2:0"),
    ),
    replace(
        _L10, model="Mini", software="LarchMini 5.1", sensor=_PHONE_OLD, demosaicing="malvar",
        scaling=Scaling(1.25, "cubic"), jpeg=Jpeg(_ijg(95), "4:2:0"),
    ),
    # Maple: old compacts that fit the table to the picture.
    _M3,
    replace(
        _M3, model="M5", software="MAPLE M5 V1.1", sensor=_CCD_TINY, demosaicing="hue",
        lens=replace(_M3.lens, blur=0.97), denoising=Denoising("guided", 1.0, 1.0),
        jpeg=Jpeg(_ijg(88, 90, 92, 94, 96), "4:2:2"),
    ),
    replace(
        _M3, model="M5 Web", software="MAPLE M5W V1.0", sensor=_CCD_TINY, demosaicing="hue",
        lens=replace(_M3.lens, blur=0.97), denoising=Denoising("guided", 1.0, 1.0),
        scaling=Scaling(0.8, "bilinear"), jpeg=Jpeg(_ijg(85, 92), "4:2:2"),
    ),
)  # fmt: skip
