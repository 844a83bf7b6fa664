"""A task of a third kind, from a recipe to a page: the prediction is a number, not a class."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import phototrace as pt
from phototrace.errors import UsageError
from phototrace.evidence.assessing import Assessment, assess
from phototrace.evidence.numbers import NumberEvaluation
from phototrace.evidence.predictions import NumberPredictions
from phototrace.learning.network import Stages
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.tasks import TASKS, Task
from phototrace.learning.training import train_recipe
from phototrace.patches.manipulations import Operation, Pixels
from phototrace.photos.manifest import Manifest


def coarse(patch_size: int, channels: int, outputs: int, preset: str) -> Stages:
    """A backbone that sees the mean of squared differences, all that these tests need."""

    class Roughness(nn.Module):
        def forward(self, x):  # type: ignore[no-untyped-def]
            across = (x[..., 1:] - x[..., :-1]).square().mean((1, 2, 3), keepdim=True)
            return (across.flatten(1) + 1e-3).log().clamp(-8, 8) / 4

    return {
        "low": Roughness(),
        "fc2": nn.Sequential(nn.Linear(1, 8), nn.Tanh()),
        "output": nn.Linear(8, outputs),
    }


def recipe(task: str) -> Recipe:
    leg = {
        "task": task, "blocks": "random", "blocks_per_photo": 3, "batch_size": 16,
        "editing": ["block", "region"],
    }  # fmt: skip
    return Recipe.parse({
        "name": "numbers",
        "network": {"backbone": "coarse", "patch_size": 64},
        "legs": {"strength": leg},
        "training": {"epochs": 12, "optimizer": "adamw", "learning_rate": 0.02,
                     "precision": "float32"},
    })  # fmt: skip


@pytest.fixture(scope="module")
def quality(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("quality")
    return train_recipe(recipe("jpeg-quality"), photos, out, backbone=coarse)


@pytest.fixture(scope="module")
def assessed(quality: Run, photos: Manifest) -> Assessment:
    return assess([quality], photos, quality.folder.parent / "page", backbone=coarse)


def test_its_patches_know_the_quality_they_were_saved_at(quality: Run) -> None:
    store = quality.store()
    assert store.classes == ()
    assert store.label.dtype == np.float32
    assert store.label.min() >= 50
    assert store.label.max() <= 95
    assert len(np.unique(store.label)) > 30
    assert set(store.column("editing")) == {"block", "region"}


def test_training_tells_its_error_in_quality_steps(quality: Run) -> None:
    rows = [json.loads(x) for x in (quality.folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["error"] < rows[0]["error"]
    assert 0 < rows[-1]["validation_error"] < 45
    assert "accuracy" not in rows[-1]
    assert quality.tasks["strength"].of_row(rows[-1]).endswith("quality steps")


def test_a_model_gives_numbers_in_the_range(quality: Run) -> None:
    model = quality.model(backbone=coarse)
    patches = quality.store().read(np.arange(20))
    found = model.predict(patches)
    assert found.shape == (20,)
    assert found.dtype == np.float64
    assert found.min() >= 50
    assert found.max() <= 95
    with pytest.raises(UsageError, match="has a number, no classes"):
        model.predict_proba(patches)


def test_the_evaluation_is_of_errors(assessed: Assessment, quality: Run) -> None:
    (evaluation,) = assessed.evaluations
    assert isinstance(evaluation, NumberEvaluation)
    table = assessed.tested[0].predictions
    assert isinstance(table, NumberPredictions)
    assert (table.unit, table.range) == ("quality steps", (50.0, 95.0))
    assert evaluation.error.value == pytest.approx(np.mean(np.abs(table.value - table.label)))
    assert "quality steps" in assessed.sentences()[0]
    assert "quality steps" in (assessed.folder / "index.html").read_text()
    kept = NumberPredictions.load(next(assessed.folder.glob("predictions-*.parquet")))
    assert kept.hash == table.hash


def test_a_share_of_noise_is_one_entry_away(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another number, of a real range: nothing is told of it but its entry among the tasks."""

    @dataclass(frozen=True)
    class NoiseEdits:
        def labels(self, classes: object, rng: np.random.Generator) -> list[float]:
            return [float(rng.uniform(0.5, 9.5))]

        def operation(self, classes: object, label: float) -> Operation:
            def noise(pixels: Pixels, rng: np.random.Generator) -> Pixels:
                noisy = pixels + rng.normal(0, label, pixels.shape)
                return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

            return noise

        def facts(self) -> dict[str, object]:
            return {}

    task = Task("noise", range=(0.0, 10.0), unit="grey levels", edits=NoiseEdits())
    monkeypatch.setitem(TASKS, "noise", task)
    run = train_recipe(recipe("noise"), photos, tmp_path, backbone=coarse)
    result = assess([run], photos, tmp_path / "page", backbone=coarse)
    (evaluation,) = result.evaluations
    assert isinstance(evaluation, NumberEvaluation)
    assert evaluation.error.value < evaluation.middle_error
    assert "grey levels" in (tmp_path / "page/index.html").read_text()
    assert run.store().label.dtype == np.float32


def test_classes_cannot_be_asked_of_a_range(photos: Manifest, tmp_path: Path) -> None:
    asked = recipe("jpeg-quality").model_dump()
    asked["legs"]["strength"]["classes"] = ["50", "60"]
    with pytest.raises(UsageError, match="has a range, no classes"):
        train_recipe(pt.Recipe.parse(asked), photos, tmp_path, backbone=coarse)
