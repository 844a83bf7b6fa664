"""A study so small that it runs in seconds, and answers with planted effects."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phototrace.evidence.predictions import Predictions
from phototrace.learning.recipe import validated
from phototrace.photos.manifest import Manifest
from phototrace.study.paper import Key
from phototrace.study.recipe import StudyRecipe
from phototrace.study.reproducing import reproduce
from phototrace.study.results import Answers
from phototrace.study.running import run_study, study_photos

TINY = {
    "name": "tiny",
    "seed": 1,
    "depths": ["constr", "fc2"],
    "photos": {
        "simulated": {
            "scenes": 5, "height": 192, "width": 256, "seed": 1, "devices": 2,
            "models": ["Alder A10", "Birch Pro 5", "Cedar S3", "Dogwood X1"],
        }
    },
    "split": {"by": "device and scene", "validation": 0.2, "test": 0.3},
    "network": {"patch_size": 64},
    "tasks": {
        "A": {"task": "manipulation", "per_class": {"train": 16, "validation": 4, "test": 6},
              "batch_size": 16},
        "B": {"task": "camera", "blocks": "random", "batch_size": 16,
              "per_class": {"train": 32, "validation": 4, "test": 8}},
        "C": {"task": "camera", "blocks": "random", "classes": ["Cedar S3", "Dogwood X1"],
              "per_class": {"train": 8, "validation": 4, "test": 8}, "batch_size": 8},
    },
    "training": {"optimizer": "adamw", "schedule": "one-cycle", "epochs": 2,
                 "freeze_batch_norm": 0.5},
    "transfer": {"optimizer": "adamw", "schedule": "one-cycle", "epochs": 1, "batch_size": 16},
    "trees": {"number": 10},
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> StudyRecipe:
    return validated(StudyRecipe, TINY, "tiny")


@pytest.fixture(scope="session")
def tiny_photos(tiny: StudyRecipe, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return study_photos(tiny, Path(), None, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def done(
    tiny: StudyRecipe, tiny_photos: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny study, run without interruption."""
    out = tmp_path_factory.mktemp("done") / "study"
    run_study(tiny, tiny_photos, out)
    return out


@pytest.fixture(scope="session")
def reproduced(
    done: Path, tiny: StudyRecipe, tiny_photos: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of the tiny study with results, figures and page."""
    out = Path(shutil.copytree(done, tmp_path_factory.mktemp("reproduced") / "study"))
    reproduce(tiny, tiny_photos, out)
    return out


PHOTOS, PATCHES = 40, 10
DEPTHS = ("constr", "conv1", "conv2", "conv3", "conv4", "fc1", "fc2")


@pytest.fixture(scope="session")
def cells() -> list[Key]:
    """All cells of a study with MISLnet."""
    found = [Key("A", "single", "A"), Key("B", "single", "B"), Key("C", "single", "C")]
    found += [Key("C", "longer", "C"), Key("C", "multitask", "A+B+C", "fc2")]
    found += [Key(t, "multitask", "A+B+C", "fc2") for t in "AB"]
    for target, source in (("A", "B"), ("B", "A")):
        found += [Key(target, "transfer", source, depth) for depth in DEPTHS]
        found += [Key(target, "multitask", "A+B", depth) for depth in DEPTHS]
        found += [Key(target, "trees", features) for features in ("A", "B", "A+B")]
    return found + [Key("C", "trees", f) for f in ("A", "B", "C", "A+B", "A+B+C")]


@pytest.fixture(scope="session")
def answers_of(cells: list[Key]) -> Callable[[Mapping[Key, float]], Answers]:
    """Answers in which every cell is right as often as asked for, 0.8 where it is not."""

    def make(accuracy: Mapping[Key, float]) -> Answers:
        found = {key: [_predictions(key, accuracy.get(key, 0.8))] for key in cells}
        records = {
            key: [{"retrained": 10, "patches": 100, "steps": 5, "seconds": 1.5}] for key in found
        }
        facts = {
            "depths": list(DEPTHS), "seeds": [3], "recipe": {"margin": 1.0, "name": "made up"},
            "photos": {"C": {"train": {"one": 4, "two": 5}}},
        }  # fmt: skip
        return Answers(facts, records, found)

    return make


def _predictions(key: Key, accuracy: float) -> Predictions:
    """`accuracy` of the patches right; of a photo's, up to one in ten more or fewer."""
    n = PHOTOS * PATCHES
    rng = np.random.default_rng(list(str(key).encode()))
    more = rng.permutation(np.tile([-1, 0, 1, 0], PHOTOS // 4))[:, None]
    order = np.argsort(rng.random((PHOTOS, PATCHES)), axis=1)
    right = (order < round(accuracy * PATCHES) + more).ravel()
    label = np.arange(n) % 2
    chosen = np.where(right, label, 1 - label)
    photo = np.repeat([f"{i:016x}" for i in range(PHOTOS)], PATCHES)
    return Predictions(
        task="camera", classes=("one", "two"), run=str(key), run_hash="0", split_hash="1",
        data_hash="2", label=label, probabilities=np.eye(2, dtype=np.float32)[chosen],
        photo=photo, device=np.repeat([f"d{i % 12}" for i in range(PHOTOS)], PATCHES),
        scene=np.repeat([f"s{i % 15}" for i in range(PHOTOS)], PATCHES),
        camera=np.full(n, "one"), editing=np.full(n, ""), row=np.tile(np.arange(PATCHES), PHOTOS),
        column=np.zeros(n, dtype=np.int64), seen_device=np.zeros(n, dtype=np.bool_),
        seen_scene=np.zeros(n, dtype=np.bool_),
    )  # fmt: skip


@pytest.fixture
def study(done: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(done, tmp_path / "study"))


def said(out: Path) -> dict[Any, list[bytes]]:
    """Every cell's probabilities. (Hashes also tell runs apart, and these know their seconds.)"""
    found = Answers.load(out).predictions
    return {key: [one.chances.tobytes() for one in several] for key, several in found.items()}


def runs(out: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in out.glob("runs/*/contents.json")}
