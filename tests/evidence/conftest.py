"""Predictions made up for tests: photos and devices of differing difficulty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from phototrace.evidence.predictions import Predictions

CLASSES = ("unaltered", "median", "Gaussian", "noise", "resampled", "JPEG")
MakeUp = Callable[..., Predictions]


def make_up(
    photos: int = 24,
    *,
    devices: int = 12,
    scenes: int = 11,
    classes: tuple[str, ...] = CLASSES,
    patches: int = 4,
    skill: float = 3.0,
    seed: int = 0,
    run: str = "made-up",
) -> Predictions:
    """Every photo in every class, half of its patches edited as blocks, half as regions."""
    rng = np.random.default_rng(seed)
    k = len(classes)
    photo, place, label = (
        grid.ravel() for grid in np.meshgrid(range(photos), range(patches), range(k), indexing="ij")
    )
    device, scene = photo % devices, photo % scenes
    skills = skill + rng.normal(0, 1, devices)[device] + rng.normal(0, 1, photos)[photo]
    scores = rng.normal(0, 1, (len(photo), k))
    scores[np.arange(len(photo)), label] += skills
    chances = np.exp(scores)
    chances /= chances.sum(axis=1, keepdims=True)
    return Predictions(
        task="manipulation",
        classes=classes,
        run=run,
        run_hash="a" * 64,
        split_hash="b" * 64,
        data_hash="c" * 64,
        label=label,
        probabilities=chances.astype(np.float32),
        photo=np.array([f"{number:016x}" for number in photo]),
        device=np.array([f"Canon EOS 6D / {number}" for number in device]),
        scene=np.array([f"scene {number}" for number in scene]),
        camera=np.full(len(photo), "Canon EOS 6D"),
        editing=np.where(place % 2 == 0, "block", "region"),
        row=128 * (place // 2),
        column=128 * (place % 2),
        seen_device=device % 3 > 0,
        seen_scene=scene % 4 > 0,
    )


@pytest.fixture
def made_up() -> MakeUp:
    return make_up
