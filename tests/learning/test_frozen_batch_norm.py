"""Frozen batch norms: towards the end of a training they normalise as they will at test."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from phototrace.learning import training
from phototrace.learning.batchnorm import CorrectedBatchNorm2d
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import (
    PRESETS,
    Network,
    Stages,
    build_network,
)
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest

State = dict[str, Tensor]


def normed(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    """Two stages with a batch norm, so that every share depth has one on each side."""
    norm = CorrectedBatchNorm2d if preset == "caffe" else nn.BatchNorm2d
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "low": nn.Sequential(nn.Conv2d(2, 4, 5, stride=6), norm(4), nn.Tanh()),
        "high": nn.Sequential(nn.Conv2d(4, 6, 3), norm(6), nn.Tanh(), nn.AdaptiveAvgPool2d(2)),
        "output": nn.Sequential(nn.Flatten(), nn.Linear(24, classes)),
    }


def statistics(network: nn.Module) -> State:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def batches(seed: int) -> dict[str, Tensor]:
    """Of two legs about another grey and of another strength: their statistics differ."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((2, 6, 1, 64, 64), generator=generator)
    return {"a": noise[0] * 9 + 90, "b": noise[1, :4] * 25 + 140}


@pytest.fixture(params=[(d, p) for d in ("residual", "low", "high") for p in PRESETS])
def begun(request: pytest.FixtureRequest) -> Network:
    """A network that has seen some batches, frozen from here on."""
    depth, preset = request.param
    network = build_network(
        normed, {"a": 3, "b": 2}, patch_size=64, share_depth=depth, preset=preset
    )
    network.train()
    for seed in range(5):
        network(batches(seed), {})
    return network.freeze_batch_norm_()


def test_a_network_with_frozen_batch_norms_gives_in_training_what_it_gives_at_test(
    begun: Network,
) -> None:
    assert begun.training
    before = statistics(begun)
    together = begun(batches(9), {})
    alone = {leg: begun({leg: x})[leg] for leg, x in batches(9).items()}
    begun.eval()
    for leg, x in batches(9).items():
        tested = begun({leg: x})[leg]
        assert torch.allclose(alone[leg], tested, atol=1e-6)
        assert torch.allclose(together[leg], tested, atol=1e-5)
    assert len(before) == 3 * sum(isinstance(m, nn.BatchNorm2d) for m in begun.modules())
    assert same(statistics(begun), before)


def test_one_leg_joined_with_no_other_is_frozen_too(begun: Network) -> None:
    before = statistics(begun)
    x = batches(9)["b"]
    in_training = begun({"b": x}, {})["b"]
    assert torch.allclose(in_training, begun.eval()({"b": x})["b"], atol=1e-6)
    assert same(statistics(begun), before)


def test_a_network_with_frozen_batch_norms_still_learns_in_every_stage(begun: Network) -> None:
    scores = begun(batches(9), {"b": 0.5})
    sum((s.square().sum() for s in scores.values()), torch.zeros(())).backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in begun.parameters())


def test_what_is_not_frozen_moves_and_differs(begun: Network) -> None:
    begun._norms_frozen = False
    begun.train()
    before = statistics(begun)
    moving = begun(batches(9), {})
    assert not any(torch.equal(b, before[name]) for name, b in begun.named_buffers())
    begun.eval()
    assert not torch.allclose(moving["a"], begun({"a": batches(9)["a"]})["a"], atol=1e-2)


def recipe(**choice: Any) -> Recipe:
    """Two legs, 16 steps an epoch, 32 in all."""
    training_choice = {"epochs": 2, "optimizer": "adamw", "precision": "float32", **choice}
    return Recipe.parse({
        "name": "freezing",
        "network": {"backbone": "normed", "patch_size": 64, "share_depth": "low"},
        "legs": {
            "manipulation": {"task": "manipulation", "batch_size": 32, "per_class": {"train": 84}},
            "camera": {"task": "camera", "batch_size": 16},
        },
        "training": training_choice,
    })  # fmt: skip


Look = Callable[[Network, int], None]


def _watched(patch: pytest.MonkeyPatch, look: Look) -> None:
    """`look` at the network and the number of the step after each."""
    real = training.step

    def step(*arguments: Any) -> None:
        real(*arguments)
        look(arguments[0], arguments[4].step)

    patch.setattr(training, "step", step)


def weights(run: Run) -> State:
    return dict(run.model(backbone=normed).network.state_dict())


def train(choice: Recipe, photos: Manifest, out: Path, **more: Any) -> Run:
    return train_recipe(choice, photos, out, backbone=normed, **more)


@pytest.mark.parametrize(("share", "frozen"), [(0.0, 0), (0.25, 8), (0.9, 28)])
def test_the_last_share_of_the_steps_is_frozen(
    photos: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    frozen: int,
) -> None:
    seen: list[State] = []
    _watched(monkeypatch, lambda network, _: seen.append(statistics(network)))
    run = train(recipe(freeze_batch_norm=share), photos, tmp_path)
    assert len(seen) == 32
    still = [same(a, b) for a, b in pairwise(seen)]
    assert still == [False] * (31 - frozen) + [True] * frozen
    assert same(statistics(run.model(backbone=normed).network), seen[-1])


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("cut", [5, 16, 27], ids=["before", "as it begins", "inside"])
def test_resume_is_bit_equal_before_and_in_the_frozen_part(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    def cut_off(_: Network, step: int) -> None:
        if step > cut:
            raise CutOffError

    choice = recipe(freeze_batch_norm=0.5)
    whole = train(choice, photos, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        _watched(patch, cut_off)
        with pytest.raises(CutOffError):
            train(choice, photos, tmp_path / "cut")
    steps: list[int] = []
    with monkeypatch.context() as patch:
        _watched(patch, lambda _, step: steps.append(step))
        resumed = train(choice, photos, tmp_path / "cut", resume=True)
    assert steps == list(range(cut + 1, 33))
    assert same(weights(whole), weights(resumed))
    metrics = [(run.folder / "metrics.jsonl").read_text() for run in (whole, resumed)]
    assert metrics[0] == metrics[1]


def test_a_training_that_freezes_is_another(photos: Manifest, tmp_path: Path) -> None:
    frozen = train(recipe(freeze_batch_norm=0.5), photos, tmp_path / "frozen")
    moving = train(recipe(), photos, tmp_path / "moving")
    assert frozen.provenance["data"] == moving.provenance["data"]
    assert not same(weights(frozen), weights(moving))
