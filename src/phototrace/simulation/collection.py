"""The corpus "simulated": photos of made-up scenes by made-up cameras, for use without any data.

Every camera model and each of its bodies photographs the same scenes, so photos can be split by
device and by scene. What sets the models apart is what sets real ones apart: lens, colour filters,
noise, demosaicing, corrections, tone, sharpening, size, JPEG (see `phototrace.simulation`).

Layout: `<make_model>/<device>/<scene>.jpg`, `manifest.parquet`, `settings.json` (what was asked
for), and, once all is there, `contents.json`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from phototrace.errors import UsageError
from phototrace.files import (
    check_contents,
    hash_of,
    is_complete,
    write_bytes,
    write_contents,
    write_json,
)
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.photo import read_photo
from phototrace.progress import parallel_map
from phototrace.simulation.ablation import STEPS, without
from phototrace.simulation.camera import Camera
from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.randomness import stream

if TYPE_CHECKING:
    from phototrace.simulation.pictures import Picture
    from phototrace.simulation.scenes import Scene

_log = logging.getLogger(__name__)

CORPUS = "simulated"
GENERATION = 2  # goes up when the same settings come to give other photos
SMALLEST_SIDE = 64
MANIFEST = "manifest.parquet"
SETTINGS = "settings.json"

_FIRST_DAY = datetime(2020, 1, 1, 9)


def simulate(
    folder: Path,
    *,
    scenes: int = 20,
    size: tuple[int, int] = (768, 1024),
    seed: int = 0,
    models: Sequence[str] | None = None,
    devices: int | None = None,
    pictures: Path | None = None,
    leave_out: Collection[str] = (),
) -> Manifest:
    """Write `scenes` photos a device into `folder` and return their manifest.

    A photo depends on seed, size, camera, device, scene and `leave_out` alone: with the same
    library versions on the same kind of processor its bytes are the same, whatever else is
    simulated and on however many cores. A finished simulation of the same settings is checked
    and reused, an interrupted one goes on where it stopped.

    Args:
        folder: A new or empty folder, or one that holds this simulation.
        scenes: How many; all devices photograph each.
        size: (height, width) in pixels, at least 64 each.
        seed: Other seeds give other scenes, bodies and photos.
        models: Names as in `model_names()` (None: all).
        devices: Bodies of each model (None: all that a model has).
        pictures: A folder of your own pictures, each a scene, in place of made-up scenes. Those
            that are too small or cannot be read are named in the log and in `settings.json`.
        leave_out: Steps of the cameras to leave out, as in `step_names()`, to see their worth.

    Raises:
        UsageError: a wrong setting, or `folder` holds something else.
        DamagedError: the finished simulation's files were changed.
    """
    cameras = tuple(without(camera, _known_steps(leave_out)) for camera in _chosen(models))
    if scenes < 1 or min(size) < SMALLEST_SIDE or (devices is not None and devices < 1):
        raise UsageError(
            f"A simulation of {scenes} scenes at {size[0]} x {size[1]} pixels cannot be made. "
            f"Ask for at least one scene and device, and {SMALLEST_SIDE} pixels a side."
        )
    if devices is not None:
        cameras = tuple(replace(c, devices=min(c.devices, devices)) for c in cameras)
    used, refused = _pictures(pictures, scenes, size)
    folder = Path(folder).absolute()  # worker processes may stand in another folder
    _claim(folder, _settings(cameras, scenes, size, seed, leave_out, used, refused))
    if is_complete(folder):
        check_contents(folder)
        return Manifest.load(folder / MANIFEST)
    # A job is one scene, which is made once for all cameras; with few scenes the cameras are
    # dealt out to more jobs, to keep all cores busy.
    deals = min(len(cameras), -(-2 * (os.cpu_count() or 1) // scenes))
    jobs = [(scene, cameras[deal::deals]) for scene in range(scenes) for deal in range(deals)]
    photograph = partial(_photograph, folder=folder, size=size, seed=seed, pictures=used)
    made = parallel_map(photograph, jobs, "Simulating")
    records = sorted((record for part in made for record in part), key=lambda made: made.path)
    Manifest(photos=tuple(records), root=folder).save(folder / MANIFEST)
    write_contents(folder, [MANIFEST, SETTINGS, *(record.path for record in records)])
    return Manifest.load(folder / MANIFEST)


def model_names() -> tuple[str, ...]:
    """Make and model of every camera that can be simulated."""
    return tuple(camera.name for camera in CAMERAS)


def step_names() -> tuple[str, ...]:
    """The cameras' steps that can be left out."""
    return tuple(STEPS)


def _known_steps(leave_out: Collection[str]) -> Collection[str]:
    unknown = sorted(set(leave_out) - set(STEPS))
    if unknown:
        raise UsageError(
            f"The cameras have no step {', '.join(unknown)} to leave out. "
            f"There are: {', '.join(STEPS)}."
        )
    return leave_out


def _pictures(
    folder: Path | None, scenes: int, size: tuple[int, int]
) -> tuple[tuple[Picture, ...], list[str]]:
    """A picture a scene (none: scenes are made up), and why others cannot be used."""
    if folder is None:
        return (), []
    from phototrace.simulation.pictures import find_pictures

    pictures, refused = find_pictures(Path(folder).absolute(), size)
    texts = [problem.text for problem in refused]
    for text in texts:
        _log.warning("%s", text)
    if len(pictures) < scenes:
        raise UsageError(
            f"{folder} holds {len(pictures)} pictures that can be scenes, and {scenes} scenes are "
            "asked for. Ask for fewer, or add pictures: one picture in two scenes would be a leak."
            + (f" {len(texts)} others cannot be used; the first: {texts[0]}" if texts else "")
        )
    return tuple(pictures[:scenes]), texts


def _chosen(models: Sequence[str] | None) -> tuple[Camera, ...]:
    if models is None:
        return CAMERAS
    unknown = sorted(set(models) - set(model_names()))
    if unknown or not models:
        raise UsageError(
            f"No simulated camera is called {', '.join(unknown) or 'nothing'}. "
            f"There are: {', '.join(model_names())}."
        )
    return tuple(camera for camera in CAMERAS if camera.name in models)


def _settings(
    cameras: tuple[Camera, ...],
    scenes: int,
    size: tuple[int, int],
    seed: int,
    leave_out: Collection[str],
    pictures: tuple[Picture, ...],
    refused: list[str],
) -> dict[str, object]:
    """What the photos follow from, and its hash. The cameras' whole rows count."""
    asked: dict[str, object] = {
        "generation": GENERATION,
        "scenes": scenes,
        "size": list(size),
        "seed": seed,
        "models": [camera.name for camera in cameras],
        "leave_out": sorted(set(leave_out)),
        "pictures": [picture.sha256 for picture in pictures],
        "cameras_hash": hash_of([asdict(camera) for camera in cameras]),
    }
    import cv2
    import numpy
    import PIL

    # Their versions decide on the bytes, and so on whether begun work can go on.
    libraries = {module.__name__: module.__version__ for module in (cv2, numpy, PIL)}
    return {
        "version": 1,
        "settings": asked,
        "hash": hash_of(asked),
        "libraries": libraries,
        "pictures_left_out": refused,
    }


def _claim(folder: Path, settings: dict[str, object]) -> None:
    """Make `folder` this simulation's, or raise `UsageError` when it is something else's."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file. Name a folder for the simulated photos.")
    path = folder / SETTINGS
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds other files. Name a new or an empty folder.")
        write_json(path, settings)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same, libraries = found["hash"] == settings["hash"], found["libraries"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} cannot be read. Name a new folder, or remove it.") from None
    if not same:
        raise UsageError(
            f"{folder} holds a simulation with other settings (see {SETTINGS}). "
            "Repeat them, or name another folder."
        )
    if libraries != settings["libraries"] and not is_complete(folder):
        raise UsageError(
            f"{folder} was begun with other versions of {', '.join(libraries)}, whose photos "
            "would differ. Remove it and start again."
        )


def _photograph(
    job: tuple[int, tuple[Camera, ...]],
    *,
    folder: Path,
    size: tuple[int, int],
    seed: int,
    pictures: tuple[Picture, ...],
) -> list[PhotoRecord]:
    """Photos of one scene with all bodies of some models; those already there stay."""
    number, cameras = job
    picture = pictures[number] if pictures else None
    records = []
    with _one_thread():
        for camera, device in [(c, d) for c in cameras for d in range(1, c.devices + 1)]:
            path = f"{camera.name.replace(' ', '_')}/{device}/{_scene_id(number)}.jpg"
            if not (folder / path).exists():
                write_bytes(folder / path, _take(number, camera, device, size, seed, picture))
            records.append(_record(folder, path, camera, device, number))
    return records


def _take(
    number: int,
    camera: Camera,
    device: int,
    size: tuple[int, int],
    seed: int,
    picture: Picture | None,
) -> bytes:
    # Here, not above: OpenCV and Pillow take their time and a look at the table needs neither.
    from phototrace.simulation.encoding import encode
    from phototrace.simulation.sensor import make_device
    from phototrace.simulation.shooting import sensor_size, shoot

    random = stream(seed, "photo", camera.name, device, number, *size)
    body = make_device(camera, device, sensor_size(camera, size), seed)
    shot = shoot(_scene(number, size, seed, picture), camera, body, size, random)
    # A day a scene, so that no two photos of a device look like a burst.
    taken = _FIRST_DAY + timedelta(days=number, seconds=int(random.integers(8 * 3600)))
    return encode(shot.pixels, camera, shot.iso, taken, shot.mode)


@lru_cache(maxsize=1)
def _scene(number: int, size: tuple[int, int], seed: int, picture: Picture | None) -> Scene:
    from phototrace.simulation.pictures import picture_scene
    from phototrace.simulation.scenes import make_scene

    if picture is None:
        return make_scene(number, size, seed)
    return picture_scene(picture, number, size, seed)


def _scene_id(number: int) -> str:
    return f"scene-{number:04d}"


def _record(folder: Path, path: str, camera: Camera, device: int, number: int) -> PhotoRecord:
    photo = read_photo(folder / path)
    return PhotoRecord(
        id=photo.sha256[:16],
        path=path,
        sha256=photo.sha256,
        make=camera.make,
        model=camera.model,
        device=str(device),
        scene=_scene_id(number),
        burst="",
        width=photo.width,
        height=photo.height,
        qtables=photo.qtables,
        corpus=CORPUS,
        extra={},
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV to one thread, as the other cores have photos of their own."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
