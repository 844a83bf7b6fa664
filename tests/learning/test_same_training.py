"""What makes a training the same one: a checkpoint of any other is not gone on from."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from phototrace.learning.accelerator import accelerator
from phototrace.learning.leg_data import LegData
from phototrace.learning.preparing import Experiment, prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.training import _Work
from phototrace.photos.manifest import Manifest

RECIPE = Recipe.parse({
    "name": "one",
    "network": {"patch_size": 64},
    "legs": {"which": {"task": "camera", "batch_size": 16}},
    "training": {"epochs": 3, "precision": "float32"},
})  # fmt: skip
MACHINE = accelerator("float32", "cpu")


class Store:
    """All that is asked of a store here."""

    def __init__(self, digest: str) -> None:
        self.hash = digest


@pytest.fixture
def experiment(photos: Manifest) -> Experiment:
    return prepare(RECIPE, photos)


def plan(experiment: Experiment, *, data: str = "a", **change: Any) -> str:
    made = experiment.config("float32")
    work = _Work(Path("folder"), experiment, made, None, [], Path("stores"), MACHINE)
    store: Any = Store(data)
    stores: dict[str, LegData] = {"which": store}
    return replace(work, **change)._plan(stores)


def test_choices_data_split_precision_and_threads_tell_trainings_apart(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan(experiment)
    assert plan(experiment) == first
    assert plan(experiment, folder=Path("elsewhere"), stores=Path("others")) == first
    longer = RECIPE.training.model_copy(update={"epochs": 4})
    others = [
        plan(replace(experiment, recipe=RECIPE.model_copy(update={"training": longer}))),
        plan(replace(experiment, recipe=RECIPE.model_copy(update={"seed": 1}))),
        plan(replace(experiment, split=replace(experiment.split, hash="other"))),
        plan(experiment, data="b"),
        plan(experiment, config=experiment.config("bfloat16")),
    ]
    several: Callable[[], int] = lambda: 64  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", several)
        others.append(plan(experiment))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0.0")
        others.append(plan(experiment))
    assert len({first, *others}) == 1 + len(others)
