"""Predictions made up for tests: photos and devices of differing difficulty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from phototrace.evidence.predictions import NumberPredictions, Predictions

CLASSES = ("unaltered", "median", "Gaussian", "noise", "resampled", "JPEG")
MakeUp = Callable[..., Predictions]
MakeUpNumbers = Callable[..., NumberPredictions]
AnyTable = Callable[[int], Predictions | NumberPredictions]


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


def make_up_numbers(
    photos: int = 24,
    *,
    devices: int = 12,
    scenes: int = 11,
    patches: int = 4,
    spread: float = 3.0,
    lowest: float = 50.0,
    highest: float = 95.0,
    seed: int = 0,
    run: str = "made-up numbers",
) -> NumberPredictions:
    """Every photo at six true values, half of its patches edited as blocks, half as regions."""
    rng = np.random.default_rng(seed)
    steps = np.linspace(lowest, highest, 6)
    photo, place, step = (
        grid.ravel() for grid in np.meshgrid(range(photos), range(patches), range(6), indexing="ij")
    )
    device, scene = photo % devices, photo % scenes
    off = rng.normal(0, spread, devices)[device] / 3 + rng.normal(0, spread, photos)[photo] / 3
    said = steps[step] + off + rng.normal(0, spread, len(photo))
    return NumberPredictions(
        task="strength",
        unit="strength steps",
        range=(lowest, highest),
        run=run,
        run_hash="a" * 64,
        split_hash="b" * 64,
        data_hash="c" * 64,
        label=steps[step].astype(np.float32),
        value=said.astype(np.float32),
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
def made_up_numbers() -> MakeUpNumbers:
    return make_up_numbers


@pytest.fixture(params=["full", "compact", "numbers"])
def any_table(request: pytest.FixtureRequest) -> AnyTable:
    """A table of any kind that a file can hold, of so many photos."""
    makers: dict[str, AnyTable] = {
        "full": make_up,
        "compact": lambda photos: make_up(photos).compact(),
        "numbers": make_up_numbers,
    }
    return makers[request.param]
