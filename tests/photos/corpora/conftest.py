from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phototrace.photos import reading
from phototrace.photos.audit import audit
from phototrace.photos.indexing import IndexResult, index
from phototrace.photos.manifest import Manifest
from phototrace.photos.splits import make_split

Picture = Callable[..., Image.Image]
HTML = b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>"


@pytest.fixture(scope="session")
def shoot(picture: Picture) -> Callable[..., None]:
    """Write a photo of its own for each seed, or a copy of it of other quality and size."""

    def take(path: Path, seed: int, quality: int = 92, scale: float = 1.0) -> None:
        image = picture(seed, (120, 80))
        size = round(120 * scale), round(80 * scale)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.resize(size, Image.Resampling.LANCZOS).save(path, "JPEG", quality=quality)

    return take


@pytest.fixture(scope="session")
def shoot_flat() -> Callable[..., None]:
    """Write a picture of a wall."""

    def take(path: Path, seed: int) -> None:
        grain = np.random.default_rng(seed).integers(-3, 4, (80, 120, 3))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((180 + grain).astype(np.uint8)).save(path, "JPEG", quality=92)

    return take


@pytest.fixture(scope="session")
def spoil() -> Callable[[Path, Path], None]:
    """Do to two photos what mirrors do: save an error page in place of one, cut the other off."""

    def do(page: Path, cut: Path) -> None:
        page.write_bytes(HTML)
        cut.write_bytes(cut.read_bytes()[:-300])

    return do


@pytest.fixture(scope="session")
def indexed() -> Callable[[Path, str], IndexResult]:
    """Index a folder in this process."""

    def read(folder: Path, corpus: str) -> IndexResult:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "parallel_map", _serial)
            return index(folder, corpus)

    return read


def _serial(function: Callable[[Any], Any], items: Sequence[Any], label: str) -> Iterator[Any]:
    return (function(item) for item in items)


@pytest.fixture(scope="session")
def parts_of() -> Callable[[Manifest, str], dict[str, set[str]]]:
    """Split, audit, and give the parts in which the versions of each original are."""

    def split(manifest: Manifest, by: str) -> dict[str, set[str]]:
        made = make_split(manifest, by, 3, validation=0.2, test=0.3)
        assert set(made.part.values()) == {"train", "validation", "test"}
        assert audit(manifest, made) == []
        parts: dict[str, set[str]] = {}
        for photo in manifest.photos:
            if photo.id in made.part:
                parts.setdefault(photo.extra["original"], set()).add(made.part[photo.id])
        return parts

    return split
