"""From pixels to the file: JPEG with the camera's own tables, and EXIF."""

from __future__ import annotations

import io
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from phototrace.photos.simulation.cameras import Camera


def encode(pixels: NDArray[np.uint8], camera: Camera, iso: int, taken: datetime) -> bytes:
    """The photo's file: `pixels` uint8 (h, w, 3) RGB as baseline JPEG with EXIF.

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
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer,
        format="JPEG",
        qtables=[list(camera.jpeg.luma), list(camera.jpeg.chroma)],
        subsampling=camera.jpeg.subsampling,
        exif=exif,
    )
    return buffer.getvalue()
