from collections import Counter
from dataclasses import asdict

from phototrace.files import hash_of
from phototrace.photos.simulation.cameras import CAMERAS
from phototrace.photos.simulation.demosaicing import METHODS


def test_cameras_have_names_of_their_own_and_known_methods() -> None:
    assert len(CAMERAS) >= 6
    assert len({camera.name for camera in CAMERAS}) == len(CAMERAS)
    assert all(camera.devices >= 3 for camera in CAMERAS)
    assert {camera.demosaicing for camera in CAMERAS} <= set(METHODS)


def test_no_two_cameras_develop_alike() -> None:
    def development(camera: object) -> str:
        row = asdict(camera)  # type: ignore[call-overload]
        return hash_of([row[key] for key in ("demosaicing", "denoising", "tone", "sharpening")])

    assert len({development(camera) for camera in CAMERAS}) == len(CAMERAS)


def test_some_models_share_their_jpeg_tables() -> None:
    """A table that named its model would make camera identification a matter of one header."""
    shared = Counter((camera.jpeg.luma, camera.jpeg.chroma) for camera in CAMERAS)
    assert max(shared.values()) > 1
