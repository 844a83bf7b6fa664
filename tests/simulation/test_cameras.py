from collections import Counter
from dataclasses import asdict

import numpy as np

from phototrace.files import hash_of
from phototrace.simulation.camera import Camera
from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.demosaicing import METHODS
from phototrace.simulation.shooting import sensor_size


def test_there_are_20_models_and_5_more_with_names_of_their_own_and_known_methods() -> None:
    assert len(CAMERAS) >= 25
    assert len({camera.name for camera in CAMERAS}) == len(CAMERAS)
    assert all(camera.devices >= 3 for camera in CAMERAS)
    assert {camera.demosaicing for camera in CAMERAS} <= set(METHODS)
    six = [camera for camera in CAMERAS if len(camera.sensor.filters) == 6]
    assert {camera.demosaicing for camera in six} == {"weighted"}


def test_no_two_cameras_develop_alike() -> None:
    def development(camera: Camera) -> str:
        row = asdict(camera)
        keys = ("sensor", "demosaicing", "denoising", "tone", "sharpening", "scaling")
        return hash_of([row[key] for key in keys])

    assert len({development(camera) for camera in CAMERAS}) == len(CAMERAS)


def test_a_jpeg_table_does_not_name_the_model() -> None:
    """Else camera identification would be a matter of one header."""
    shared = Counter(mode for camera in CAMERAS for mode in set(camera.jpeg.modes))
    assert sum(count > 1 for count in shared.values()) >= 5
    own = [c.name for c in CAMERAS if all(shared[mode] == 1 for mode in c.jpeg.modes)]
    assert len(own) <= len(CAMERAS) / 4


def test_models_of_one_make_share_parts() -> None:
    families: dict[str, list[Camera]] = {}
    for camera in CAMERAS:
        families.setdefault(camera.make, []).append(camera)
    for family in families.values():
        assert len(family) >= 2
        rows = [asdict(camera) for camera in family]
        for row in rows:
            others = [other for other in rows if other["model"] != row["model"]]
            parts = ("lens", "sensor", "demosaicing", "jpeg", "correction", "tone")
            assert any(sum(row[p] == other[p] for p in parts) >= 1 for other in others)


def test_every_optional_step_is_taken_by_some_models_and_not_by_others() -> None:
    for used in (
        [camera.correction.hot_pixels for camera in CAMERAS],
        [camera.correction.colour for camera in CAMERAS],
        [camera.correction.distortion for camera in CAMERAS],
        [camera.correction.vignetting > 0 for camera in CAMERAS],
        [camera.denoising.kind != "none" for camera in CAMERAS],
        [camera.sharpening.limit is not None for camera in CAMERAS],
        [camera.scaling.factor < 1 for camera in CAMERAS],
        [camera.scaling.factor > 1 for camera in CAMERAS],
        [len(camera.jpeg.modes) > 1 for camera in CAMERAS],
    ):
        assert 0 < np.mean(used) < 1


def test_scaled_photos_come_from_a_sensor_of_another_size() -> None:
    by_name = {camera.name: camera for camera in CAMERAS}
    assert sensor_size(by_name["Alder A10"], (767, 1023)) == (767, 1023)
    assert sensor_size(by_name["Elm Zoom 30 M"], (800, 1000)) == (1000, 1250)
    assert sensor_size(by_name["Larch Mini"], (750, 1000)) == (600, 800)
