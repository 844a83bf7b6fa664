"""The tasks of edits of any strength, from recipe to page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from phototrace.evidence.assessing import assess
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import BACKBONES, Stages
from phototrace.learning.recipe import Recipe
from phototrace.learning.tasks import NOTHING, TASKS
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest


def small(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "output": nn.Sequential(nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(32, classes)),
    }


@pytest.mark.parametrize("patches", ["fixed", "fresh"])
@pytest.mark.parametrize("task", ["edit", "recompressed", "make"])
def test_a_task_is_trained_and_tested(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, patches: str
) -> None:
    monkeypatch.setitem(BACKBONES, "small", small)
    records = [replace(r, make=f"Maker{k % 2}") for k, r in enumerate(photos.photos)]
    photos = replace(photos, photos=tuple(records))
    choice = Recipe.parse({
        "name": task,
        "split": {"validation": 0.15, "test": 0.25},
        "network": {"backbone": "small", "patch_size": 64},
        "legs": {"leg": {"task": task, "batch_size": 10, "blocks": "random"}},
        "training": {"epochs": 1, "precision": "float32", "patches": patches},
    })  # fmt: skip
    run = train_recipe(choice, photos, tmp_path)
    (found,) = assess([run], photos, tmp_path / "out").tested
    table = found.predictions
    classes = {"make": ("Maker0", "Maker1")}.get(task, TASKS[task].classes)
    assert run.tasks["leg"].classes == classes
    counts = np.bincount(table.label, minlength=len(classes))
    assert counts.min() > 0
    if task != "make":
        assert len(set(counts)) == 1
        assert set(table.editing) == {"region"}


def test_nothing_is_asked_of_a_patch_without_a_label() -> None:
    edit, quality = TASKS["edit"], TASKS["jpeg-quality"]
    scores = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([1, NOTHING, 3, NOTHING])
    kept = [0, 2]
    assert torch.allclose(edit.loss(scores, labels), edit.loss(scores[kept], labels[kept]))
    assert edit.loss(scores, torch.full((4,), NOTHING)) == 0
    assert edit.score(scores, labels) == edit.score(scores[kept], labels[kept])
    assert edit.count(labels) == 2
    numbers = torch.tensor([60.0, torch.nan, 80.0, torch.nan])
    one = scores[:, :1].requires_grad_()
    assert torch.allclose(quality.loss(one, numbers), quality.loss(one[kept], numbers[kept]))
    assert quality.score(one, numbers) == quality.score(one[kept], numbers[kept])
    assert quality.count(numbers) == 2
    (gradient,) = torch.autograd.grad(quality.loss(one, numbers), one)
    assert torch.isfinite(gradient).all()
    assert (gradient[[1, 3]] == 0).all()
    answers = np.eye(5, dtype=np.float32)[[1, 0, 0, 0]]
    assert edit.figure(answers, labels.numpy()) == 0.5
    assert np.isnan(edit.figure(answers, np.full(4, NOTHING)))
    assert np.isnan(quality.figure(np.array([60], np.float32), np.array([np.nan], np.float32)))


def test_the_loss_is_the_mean_where_all_have_labels() -> None:
    scores = torch.randn(30, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(30) % 6
    expected = nn.functional.cross_entropy(scores, labels)
    assert torch.allclose(TASKS["manipulation"].loss(scores, labels), expected, rtol=1e-14)
    numbers = torch.linspace(50, 95, 30)
    wanted = (numbers.double() - 72.5) / 22.5
    expected = nn.functional.smooth_l1_loss(scores[:, 0], wanted, beta=0.1)
    assert torch.allclose(TASKS["jpeg-quality"].loss(scores, numbers), expected, rtol=1e-14)
