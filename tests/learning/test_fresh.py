"""Training on fresh patches: the same after an interruption, other patches in every epoch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from phototrace.errors import UsageError
from phototrace.learning import batches as module
from phototrace.learning import training
from phototrace.learning.batches import batches, steps_per_epoch
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.leg_data import leg_data
from phototrace.learning.network import Stages
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest


def plain(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "dense": nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32, 8), nn.Tanh()),
        "output": nn.Linear(8, classes),
    }


def recipe(name: str = "fresh", **more: Any) -> Recipe:
    legs = {
        "how": {"task": "manipulation", "batch_size": 12, "blocks": "random"},
        "which": {"task": "camera", "batch_size": 8, "blocks": "random"},
    }
    chosen = more.pop("training", {})
    data = {
        "name": name,
        "split": {"validation": 0.15, "test": 0.25},
        "network": {"patch_size": 64, "share_depth": "dense", **more.pop("network", {})},
        "legs": more.pop("legs", legs),
        "training": {"epochs": 2, "precision": "float32", "patches": "fresh", **chosen},
    }
    return Recipe.parse({**data, **more})


@pytest.fixture(scope="module")
def run(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_recipe(recipe(), photos, tmp_path_factory.mktemp("runs"), backbone=plain)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.model(backbone=plain).network.state_dict()


def test_an_epoch_is_as_long_as_with_fixed_patches_and_none_is_the_same(
    photos: Manifest, tmp_path: Path
) -> None:
    made = prepare(recipe(), photos)
    legs = [one.leg for one in leg_data(made, tmp_path).values()]
    fixed = prepare(recipe(training={"patches": "fixed"}), photos)
    assert steps_per_epoch(legs) == steps_per_epoch(
        [one.leg for one in leg_data(fixed, tmp_path).values()]
    )
    steps = steps_per_epoch(legs)
    first, second = (
        {b["which"][0].numpy().tobytes() for b in batches(legs, e * steps, (e + 1) * steps, 5)}
        for e in (0, 1)
    )
    assert len(first) == steps
    assert not first & second
    labels = [b["which"][1].numpy() for b in batches(legs, 0, steps, 5)]
    assert np.bincount(np.concatenate(labels)).min() > 0.4 * steps * 8


def test_batches_from_the_middle_are_those_of_the_whole(photos: Manifest, tmp_path: Path) -> None:
    legs = [one.leg for one in leg_data(prepare(recipe(), photos), tmp_path).values()]
    whole = list(batches(legs, 0, 9, 5))
    for late, early in zip(batches(legs, 4, 9, 5), whole[4:], strict=True):
        for leg in late:
            assert torch.equal(late[leg][0], early[leg][0])
            assert torch.equal(late[leg][1], early[leg][1])


def test_an_interrupted_training_gives_the_same_weights(
    photos: Manifest, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    count = 0
    inner = training.step

    def failing(*arguments: Any, **more: Any) -> None:
        nonlocal count
        count += 1
        if count == 7:
            raise KeyboardInterrupt
        inner(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(training, "step", failing)
        with pytest.raises(KeyboardInterrupt):
            train_recipe(recipe(), photos, tmp_path, backbone=plain)
    again = train_recipe(recipe(), photos, tmp_path, backbone=plain, resume=True)
    for name, tensor in weights(run).items():
        assert torch.equal(tensor, weights(again)[name]), name


def test_the_run_says_what_it_was_trained_on(run: Run) -> None:
    counts = run.provenance["patches"]["which"]
    assert sum(counts["train"]) > 0
    assert run.provenance["skipped"] == {"how": [], "which": []}
    assert "validation_accuracy" in (run.folder / "metrics.jsonl").read_text()
    with pytest.raises(UsageError, match="fresh patches, which are not kept"):
        run.store("which")
    assert list((run.folder.parent / "stores").glob("decoded-*"))


def test_a_transfer_trains_its_head_on_fresh_patches(
    photos: Manifest, run: Run, tmp_path: Path
) -> None:
    legs = {"which": {"task": "camera", "batch_size": 8, "blocks": "random"}}
    other = train_recipe(
        recipe("t", legs=legs, training={"turned": True}), photos, tmp_path,
        backbone=plain, trunk=run,
    )  # fmt: skip
    assert other.provenance["trunk"]["stored"] is None
    for name, tensor in weights(run).items():
        if name.startswith("trunk."):
            assert torch.equal(tensor, weights(other)[name])


def test_turned_is_for_fresh_patches() -> None:
    with pytest.raises(UsageError, match="for fresh patches"):
        recipe(training={"patches": "fixed", "turned": True})


def test_workers_ahead_do_not_change_what_is_read(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    legs = [one.leg for one in leg_data(prepare(recipe(), photos), tmp_path).values()]
    one = [b["how"][0].sum() for b in batches(legs, 0, 12, 5)]
    monkeypatch.setattr(module, "AHEAD", 6)
    monkeypatch.setattr(module, "READERS", 3)
    assert [b["how"][0].sum() for b in batches(legs, 0, 12, 5)] == one
