import io
from datetime import datetime

import numpy as np
import pytest
from PIL import ExifTags, Image

from phototrace.simulation.camera import Camera
from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.encoding import encode
from phototrace.simulation.randomness import stream

LUMA_FACTORS = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2)}


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_the_file_has_the_cameras_tables_subsampling_and_exif(camera: Camera) -> None:
    pixels = stream("encode").integers(0, 256, (48, 64, 3), dtype=np.uint8)
    mode = camera.jpeg.modes[-1]
    data = encode(pixels, camera, 400, datetime(2020, 5, 6, 7, 8, 9), mode)
    image = Image.open(io.BytesIO(data))
    assert image.size == (64, 48)
    tables = image.quantization  # type: ignore[attr-defined]
    assert tuple(tables[0]) == mode[0]
    assert tuple(tables[1]) == mode[1]
    assert image.layer[0][1:3] == LUMA_FACTORS[camera.jpeg.subsampling]  # type: ignore[attr-defined]
    exif = image.getexif()
    assert exif[ExifTags.Base.Make] == camera.make
    assert exif[ExifTags.Base.Model] == camera.model
    assert exif[ExifTags.Base.Software] == camera.software
    assert exif[ExifTags.Base.ImageDescription] == "Simulated by phototrace"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "2020:05:06 07:08:09"
    assert details[ExifTags.Base.ISOSpeedRatings] == 400


def test_tables_are_stored_row_by_row() -> None:
    """A table that is not symmetric tells rows from columns, and both from zigzag."""
    luma = CAMERAS[0].jpeg.modes[0][0]
    assert luma[8] != luma[1] or luma[16] != luma[2] or luma[24] != luma[3]
    data = encode(
        np.zeros((16, 16, 3), np.uint8), CAMERAS[0], 80, datetime(2020, 1, 1), (luma, luma)
    )
    start = data.index(b"\xff\xdb") + 5
    zigzag = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]
    assert list(data[start : start + 10]) == [luma[i] for i in zigzag]
