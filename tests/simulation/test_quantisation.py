import io

import pytest
from PIL import Image

from phototrace.simulation.camera import Camera
from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.quantisation import diagonal, ijg, radial


@pytest.mark.parametrize("quality", [30, 50, 75, 93, 95, 100])
def test_ijg_tables_are_libjpegs(quality: int) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", quality=quality)
    tables = Image.open(buffer).quantization  # type: ignore[attr-defined]
    assert tuple(tables[0]) == ijg(quality)
    assert tuple(tables[1]) == ijg(quality, chroma=True)


@pytest.mark.parametrize("form", [radial, diagonal])
def test_steps_grow_from_the_finest_to_the_coarsest(form) -> None:  # type: ignore[no-untyped-def]
    table = form(2, 13, 1.4)
    assert (table[0], table[63]) == (2, 13)
    assert all(table[i] <= table[i + 1] for i in range(63) if i % 8 < 7)
    assert all(table[i] <= table[i + 8] for i in range(56))


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_every_cameras_tables_are_valid(camera: Camera) -> None:
    for table in (table for mode in camera.jpeg.modes for table in mode):
        assert len(table) == 64
        assert all(isinstance(value, int) and 1 <= value <= 255 for value in table)
