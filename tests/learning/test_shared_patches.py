"""Several tasks asked of the same patches: one way through the trunk, a head and a weight each."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from phototrace.errors import UsageError
from phototrace.evidence.assessing import assess
from phototrace.learning.batches import batches, steps_per_epoch
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.leg_data import leg_data
from phototrace.learning.network import BACKBONES, Network, Stages, build_network
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.tasks import NOTHING
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest


def small(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "conv": nn.Sequential(
            nn.Conv2d(2, 4, 5, stride=2, padding=2), nn.BatchNorm2d(4), nn.Tanh(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
        ),
        "dense": nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 8), nn.Tanh()),
        "output": nn.Linear(8, classes),
    }  # fmt: skip


@pytest.fixture(autouse=True)
def backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "small", small)


@pytest.fixture
def made_by(photos: Manifest) -> Manifest:
    """The photos by two makers of two models each; some were converted, some are of no maker."""
    records = [
        replace(
            r,
            make="" if k == 3 else ("Agfa", "Zeiss")[k % 2],
            model=f"{'AZ'[k % 2]}{k // 10}",
            extra={"part": "converted" if k % 5 == 4 else "main"},
        )
        for k, r in enumerate(photos.photos)
    ]
    return replace(photos, photos=tuple(records))


EDITS = {
    "kind": {"task": "edit", "batch_size": 20, "blocks": "random"},
    "again": {"task": "recompressed", "patches_of": "kind", "without": {"part": ["converted"]}},
    "quality": {"task": "jpeg-quality", "patches_of": "kind", "weight": 0.5},
}
CAMERAS = {
    "model": {"task": "camera", "batch_size": 12, "blocks": "random"},
    "maker": {"task": "make", "patches_of": "model", "weight": 2.0},
}


def recipe(legs: dict[str, Any], patches: str = "fixed", **more: Any) -> Recipe:
    return Recipe.parse({
        "name": "shared",
        "split": {"validation": 0.2, "test": 0.25},
        "network": {"backbone": "small", "patch_size": 64, "share_depth": "dense"},
        "legs": legs,
        "training": {"epochs": 1, "precision": "float32", "patches": patches},
        **more,
    })  # fmt: skip


@pytest.mark.parametrize("patches", ["fixed", "fresh"])
def test_labels_are_each_tasks_own_of_the_same_patches(
    made_by: Manifest, tmp_path: Path, patches: str
) -> None:
    legs = [x.leg for x in leg_data(prepare(recipe(EDITS, patches), made_by), tmp_path).values()]
    converted = {p.id for p in made_by.photos if p.extra["part"] == "converted"}
    steps = steps_per_epoch(legs)
    kinds, again, quality = [], [], []
    for batch in batches(legs, 0, steps, 3):
        assert batch["kind"][0] is batch["again"][0] is batch["quality"][0]
        kinds.append(batch["kind"][1].numpy())
        again.append(batch["again"][1].numpy())
        quality.append(batch["quality"][1].numpy())
    kind, recompressed, at = map(np.concatenate, (kinds, again, quality))
    assert np.bincount(kind).min() > 0.8 * len(kind) / 5
    share = (recompressed == NOTHING).mean()
    assert 0.1 < share < 0.35 and converted  # noqa: PT018
    known = recompressed != NOTHING
    assert np.isnan(at[known & (recompressed == 0)]).all()
    assert 0.3 < np.isnan(at[recompressed == 1]).mean() < 0.7
    assert not np.isnan(at[known & (recompressed == 1)]).all()


def test_makers_are_asked_of_the_cameras_patches(made_by: Manifest, tmp_path: Path) -> None:
    made = prepare(recipe(CAMERAS), made_by)
    assert made.tasks["maker"].classes == ("Agfa", "Zeiss")
    legs = [x.leg for x in leg_data(made, tmp_path).values()]
    classes = made.tasks["model"].classes
    for batch in batches(legs, 0, 4, 3):
        for camera, maker in zip(batch["model"][1], batch["maker"][1], strict=True):
            name = classes[camera]
            expected = NOTHING if name == "Z0" else ["Agfa", "Zeiss"].index(name.split()[0])
            assert int(maker) == expected


def test_one_way_through_the_trunk_is_two_with_one_batch(tmp_path: Path) -> None:
    """Against a network of its own for each task, gradients summed by hand."""
    legs = {"model": 3, "maker": 2}
    weights = {"model": 1.0, "maker": 0.25}
    network = (
        build_network(small, legs, patch_size=64, share_depth="dense", seed=1).double().train()
    )
    patches = torch.rand(10, 1, 64, 64, dtype=torch.float64) * 255
    scores = network(dict.fromkeys(legs, patches), weights)
    targets = {leg: torch.arange(10) % count for leg, count in legs.items()}
    losses = {leg: nn.functional.cross_entropy(scores[leg], targets[leg]) for leg in legs}
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad for name, p in network.named_parameters()}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for leg in legs:
        alone: Network = (
            build_network(small, legs, patch_size=64, share_depth="dense", seed=1).double().train()
        )
        said = alone({leg: patches})[leg]
        assert torch.allclose(said, scores[leg], atol=1e-12)
        nn.functional.cross_entropy(said, targets[leg]).backward()  # type: ignore[no-untyped-call]
        parts[leg] = {n: p.grad for n, p in alone.named_parameters() if p.grad is not None}
    for name, gradient in found.items():
        assert gradient is not None
        if name.startswith("trunk."):
            expected = sum(weights[leg] * parts[leg][name] for leg in legs)
        else:
            expected = parts[name.split(".")[1]][name]
        assert torch.allclose(gradient, expected, atol=1e-12), name  # type: ignore[arg-type]
    norm = network.trunk["conv"][1]  # type: ignore[index]
    assert norm.leg_sizes == (10,)


@pytest.mark.parametrize("patches", ["fixed", "fresh"])
@pytest.mark.parametrize("legs", [EDITS, CAMERAS], ids=["edits", "cameras"])
def test_all_tasks_are_trained_and_tested(
    made_by: Manifest, tmp_path: Path, patches: str, legs: dict[str, Any]
) -> None:
    run = train_recipe(recipe(legs, patches), made_by, tmp_path)
    rows = [json.loads(x) for x in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["leg"] for row in rows] == list(legs)
    for row in rows:
        task = run.tasks[row["leg"]]
        assert np.isfinite(row["loss"])
        assert np.isfinite(row[f"validation_{task.metric}"])
    result = assess([run], made_by, tmp_path / "out")
    assert {one.leg for one in result.tested} == set(legs)
    by_leg = {one.leg: one for one in result.tested}
    if legs is EDITS:
        assert by_leg["again"].left_out["not chosen by the recipe"] == 4
        assert len(by_leg["quality"].predictions) < len(by_leg["kind"].predictions)
    else:
        assert by_leg["maker"].predictions.task == "make"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"again": {"task": "recompressed", "patches_of": "nothing"}}, "no leg with patches"),
        ({"again": {"task": "recompressed", "patches_of": "again"}}, "Choose among kind"),
        ({"again": {"task": "recompressed", "patches_of": "kind", "batch_size": 8}}, "batch_size"),
        ({"again": {"task": "recompressed", "patches_of": "kind", "blocks": "random"}}, "blocks"),
    ],
)
def test_what_makes_no_sense_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipe({**EDITS, **changed})


def test_patches_that_say_nothing_of_a_task_are_refused(made_by: Manifest) -> None:
    legs = {
        "kind": {"task": "manipulation"},
        "again": {"task": "recompressed", "patches_of": "kind"},
    }
    with pytest.raises(UsageError, match=r"'again': The patches of 'kind' say nothing"):
        prepare(recipe(legs), made_by)
