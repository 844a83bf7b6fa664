"""A user's own pictures as scenes: linear light, and so small that their own traces are gone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from phototrace.errors import PhotoError, UsageError
from phototrace.photos.finding import find_photos
from phototrace.photos.manifest import Problem
from phototrace.photos.photo import legible, read_photo, read_pixels
from phototrace.simulation.randomness import stream
from phototrace.simulation.scenes import Scene, scene_size
from phototrace.simulation.textures import Floats

REDUCTION = 2.0
"""How many of a picture's pixels, a side, make one of the scene: three make one of a photo's."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be a scene; `sha256` is what stands for it in a simulation's settings."""

    path: Path
    sha256: str


def find_pictures(folder: Path, size: tuple[int, int]) -> tuple[list[Picture], list[Problem]]:
    """The pictures in `folder` that can be scenes for photos of `size` (height, width).

    Returns:
        Them, sorted by path, each content once; and the others, each with the reason.

    Raises:
        UsageError: the folder cannot be opened, or no picture in it will do.
    """
    found = find_photos(folder)
    need_height, need_width = (round(REDUCTION * side) for side in scene_size(size))
    pictures: dict[str, Picture] = {}
    refused = list(found.broken)
    for name in found.paths:
        try:
            photo = read_photo(folder / name)
        except PhotoError as error:
            refused.append(Problem(name, "unreadable", str(error)))
            continue
        if photo.height < need_height or photo.width < need_width:
            text = (
                f"{legible(name)} has {photo.width} x {photo.height} pixels. For photos of "
                f"{size[1]} x {size[0]} a scene needs {need_width} x {need_height}, so that the "
                "picture's own traces are gone. Ask for smaller photos or leave it out."
            )
            refused.append(Problem(name, "skipped", text))
        elif photo.sha256 in pictures:
            text = f"{legible(name)} is a copy of {legible(str(pictures[photo.sha256].path))}."
            refused.append(Problem(name, "skipped", text))
        else:
            pictures[photo.sha256] = Picture(folder / name, photo.sha256)
    if not pictures:
        small = [problem for problem in refused if problem.kind == "skipped"]
        reason = f" {(small or refused)[0].text}" if refused else ""
        raise UsageError(f"{legible(folder)} holds no picture that can be a scene.{reason}")
    return list(pictures.values()), refused


def picture_scene(picture: Picture, number: int, size: tuple[int, int], seed: int) -> Scene:
    """The picture as scene `number`, mirrored half the time.

    sRGB's curve is undone, the middle taken in the photos' shape and reduced by the mean of its
    pixels at least `REDUCTION` times a side. What was white becomes up to four times as bright
    again, so that lights are blown out by each camera in its own way.

    Raises:
        PhotoError: the picture cannot be read or was changed meanwhile.
    """
    random = stream(seed, "picture", number, *size)
    pixels = read_pixels(picture.path, channels="rgb", sha256=picture.sha256)
    coded = np.arange(256) / 255.0
    curve = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    curve = 0.003 + curve * (1.0 + 3.0 * np.clip((coded - 0.92) / 0.08, 0.0, 1.0) ** 2)
    height, width = scene_size(size)
    step = min(pixels.shape[0] / height, pixels.shape[1] / width)
    tall, wide = int(step * height), int(step * width)
    top, left = (pixels.shape[0] - tall) // 2, (pixels.shape[1] - wide) // 2
    linear: Floats = curve.astype(np.float32)[pixels[top : top + tall, left : left + wide]]
    light = np.asarray(
        cv2.resize(linear, (width, height), interpolation=cv2.INTER_AREA), np.float32
    )
    if random.random() < 0.5:
        light = np.ascontiguousarray(light[:, ::-1])
    return Scene(
        light, (1.0, 1.0, 1.0), float(random.normal(1.0, 1.5)), float(random.normal(0, 0.4))
    )
