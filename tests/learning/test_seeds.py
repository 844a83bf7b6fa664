"""The seed of a training: weights and order, and nothing of the photos."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from phototrace.learning import training
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import Stages
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest


def tiny(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "output": nn.Sequential(nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(32, classes)),
    }


def recipe(seed: int, of_training: int | None = None) -> Recipe:
    training_choice: dict[str, Any] = {"epochs": 1, "precision": "float32"}
    if of_training is not None:
        training_choice["seed"] = of_training
    return Recipe.parse({
        "name": f"seeds-{seed}-{of_training}",
        "seed": seed,
        "network": {"backbone": "tiny", "patch_size": 64},
        "legs": {"what": {"task": "manipulation", "batch_size": 32, "per_class": {"train": 48}}},
        "training": training_choice,
    })  # fmt: skip


class Begun:
    """A run, the weights it began with, and its patches in the order they were shown."""

    def __init__(self, choice: Recipe, photos: Manifest, out: Path) -> None:
        real = training.step
        states: list[dict[str, Tensor]] = []
        shown: list[Tensor] = []

        def step(*arguments: Any) -> None:
            states.append({k: v.clone() for k, v in arguments[0].state_dict().items()})
            shown.append(arguments[2]["what"][0].clone())
            real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "step", step)
            self.run: Run = train_recipe(choice, photos, out, backbone=tiny)
        self.start, self.shown = states[0], torch.cat(shown)

    def starts_as(self, other: "Begun") -> bool:
        return all(torch.equal(self.start[k], other.start[k]) for k in self.start)

    def shows_as(self, other: "Begun") -> bool:
        return torch.equal(self.shown, other.shown)


def test_it_changes_weights_and_order_alone(photos: Manifest, tmp_path: Path) -> None:
    plain, same, other = (Begun(recipe(3, seed), photos, tmp_path) for seed in (None, 3, 4))
    assert plain.starts_as(same)
    assert plain.shows_as(same)
    assert plain.run.provenance["data"] == same.run.provenance["data"]
    assert not plain.starts_as(other)
    assert not plain.shows_as(other)
    assert other.run.split == plain.run.split
    assert other.run.provenance["data"] == plain.run.provenance["data"]
    assert len(list((tmp_path / "stores").glob("what-*/contents.json"))) == 1
    assert (plain.run.recipe.training_seed, other.run.recipe.training_seed) == (3, 4)
    assert Run.load(other.run.folder).recipe.training_seed == 4


def test_the_recipes_seed_then_changes_split_and_patches_alone(
    photos: Manifest, tmp_path: Path
) -> None:
    one, two = (Begun(recipe(seed, 9), photos, tmp_path) for seed in (1, 2))
    assert one.starts_as(two)
    assert one.run.split["hash"] != two.run.split["hash"]
    assert one.run.provenance["data"] != two.run.provenance["data"]


def test_a_plan_knows_nothing_of_it(photos: Manifest) -> None:
    made = [prepare(recipe(1, seed), photos) for seed in (None, 0, 8)]
    assert len({one.split.hash for one in made}) == 1
    assert len({one.plans["what"].hash for one in made}) == 1
