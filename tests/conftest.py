import os

# Tiny networks learn faster on one thread, and two test processes do not fight for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from phototrace.files import sha256_of
from phototrace.photos.manifest import Manifest, PhotoRecord

CORPUS = Path(os.environ.get("PHOTOTRACE_CORPUS", Path(__file__).parents[2] / "shared/corpus"))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real photos, where it lies beside the project."""
    if not (CORPUS / "manifest.csv").is_file():
        pytest.skip(f"no real photos at {CORPUS}; set PHOTOTRACE_CORPUS to their folder")
    return CORPUS


@pytest.fixture(scope="session")
def dresden_index() -> Path:
    """The real index of the Dresden Image Database, where it lies beside the project."""
    beside = Path(__file__).parents[2] / "shared/dresden-index/dresden.csv"
    path = Path(os.environ.get("PHOTOTRACE_DRESDEN_INDEX", beside))
    if not path.is_file():
        pytest.skip(f"no index at {path}; set PHOTOTRACE_DRESDEN_INDEX to the CSV")
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Twenty small textured photos of two cameras, with two devices each."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(11)
    records = []
    for number in range(20):
        camera, device = number % 2, number // 2 % 2
        noise = ndimage.gaussian_filter(rng.normal(size=(200, 216, 3)), (1 + camera, 1, 0))
        pixels = np.clip(128 + 150 * noise, 0, 255).astype(np.uint8)
        path = root / f"{number:02d}.jpg"
        Image.fromarray(pixels).save(path, quality=92 - 6 * camera)
        sha256 = sha256_of(path)
        records.append(
            PhotoRecord(
                id=sha256[:16],
                path=path.name,
                sha256=sha256,
                make="Make",
                model="AB"[camera],
                device=str(device),
                scene=f"scene {number // 4}",
                burst="",
                width=216,
                height=200,
                qtables="",
                corpus="test",
                extra={},
            )
        )
    return Manifest(photos=tuple(records), root=root)
