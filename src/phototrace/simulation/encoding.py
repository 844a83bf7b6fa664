"""From pixels to the file: JPEG with the camera's own tables, and EXIF."""

from __future__ import annotations

import io
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from phototrace.simulation.camera import Camera
from phototrace.simulation.quantisation import Table


def encode(
    pixels: NDArray[np.uint8],
    camera: Camera,
    iso: int,
    taken: datetime,
    mode: tuple[Table, Table] | None = None,
) -> bytes:
    """The photo's file: `pixels` uint8 (h, w, 3) RGB as baseline JPEG with EXIF.

    `mode` is one of the camera's quality modes (None: its first).

    The description says that the photo is simulated, whatever becomes of the file's name.
    """
    when = taken.strftime("%Y:%m:%d %H:%M:%S")
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Simulated by phototrace"
    exif[ExifTags.Base.Make] = camera.make
    exif[ExifTags.Base.Model] = camera.model
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.Software] = camera.software
    exif[ExifTags.Base.DateTime] = when
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ISOSpeedRatings] = iso
    details[ExifTags.Base.DateTimeOriginal] = when
    details[ExifTags.Base.DateTimeDigitized] = when
    luma, chroma = mode or camera.jpeg.modes[0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer,
        format="JPEG",
        qtables=[list(luma), list(chroma)],
        subsampling=camera.jpeg.subsampling,
        exif=exif,
    )
    return buffer.getvalue()
