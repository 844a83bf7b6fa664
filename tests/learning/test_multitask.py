"""Our multitask step against the paper's definition: separate networks, in float64.

Every quantity (weights, running statistics) of the trunk and of every head must agree with the
literal networks of `benchmarks/literal.py` to 1e-9, relative to its tensor's largest magnitude
(or to 1, where that is smaller). Eight mutants of our step show that the test would notice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from literal import LiteralNetworks
from phototrace.errors import UsageError
from phototrace.learning import batchnorm, training
from phototrace.learning.accelerator import accelerator, place
from phototrace.learning.batchnorm import CorrectedBatchNorm2d
from phototrace.learning.checkpoint import Progress
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import (
    Network,
    Stages,
    build_network,
    mislnet,
)
from phototrace.learning.optim import learning_rate, make_optimizer, set_learning_rate
from phototrace.learning.recipe import TrainingChoice
from phototrace.learning.tasks import Task

TOLERANCE = 1e-9
STEPS, EPOCH = 20, 10
SIZES = {"a": 8, "b": 8, "c": 3}
CLASSES = {"a": 4, "b": 5, "c": 3}
WEIGHTS = {"a": 1.0, "b": 0.5, "c": 2.0}
TASKS = {leg: Task(leg, tuple(map(str, range(count)))) for leg, count in CLASSES.items()}
CHOICE = TrainingChoice(weight_decay=5e-4, halve_every=1, epochs=2, precision="float32")
Batch = dict[str, tuple[Tensor, Tensor]]


def small(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    """Convolutions and a fully connected stage, all with batch norm; fast in float64."""
    norm = CorrectedBatchNorm2d if preset == "caffe" else nn.BatchNorm2d
    return {
        "constr": ConstrainedConv2d(channels, 3, 5),
        "conv1": nn.Sequential(nn.Conv2d(3, 6, 5, stride=6), norm(6), nn.Tanh()),
        "conv2": nn.Sequential(nn.Conv2d(6, 8, 3), norm(8), nn.Tanh(), nn.AdaptiveAvgPool2d(2)),
        "fc1": nn.Sequential(nn.Flatten(), nn.Linear(32, 10), nn.BatchNorm1d(10), nn.Tanh()),
        "fc2": nn.Sequential(nn.Linear(10, 10), nn.BatchNorm1d(10, momentum=None), nn.Tanh()),
        "output": nn.Linear(10, classes),
    }


def made_batches(legs: list[str], patch_size: int, steps: int) -> list[Batch]:
    """Noise about another grey and of another strength for each leg: their statistics differ."""
    generator = torch.Generator().manual_seed(5)
    found = []
    for _ in range(steps):
        batch = {}
        for k, leg in enumerate(legs):
            shape = (SIZES[leg], 1, patch_size, patch_size)
            noise = torch.randn(shape, generator=generator) * (8 + 20 * k) + 90 + 40 * k
            labels = torch.randint(CLASSES[leg], (SIZES[leg],), generator=generator)
            batch[leg] = (noise.clip(0, 255).to(torch.uint8), labels)
        found.append(batch)
    return found


def start(backbone: Callable[..., Stages], legs: list[str], depth: str, preset: str) -> Network:
    classes = {leg: CLASSES[leg] for leg in legs}
    network = build_network(
        backbone, classes, patch_size=64, share_depth=depth, preset=preset, seed=2
    )
    return network.double()


def train_ours(
    network: Network, batches: list[Batch], preset: str, choice: TrainingChoice = CHOICE
) -> dict[str, Tensor]:
    """Our own loop's step, as `train` calls it."""
    machine = accelerator("float32")
    place(network, machine.device).train()
    optimizer = make_optimizer(network, choice, preset)
    for number, batch in enumerate(batches):
        set_learning_rate(optimizer, learning_rate(choice, number, EPOCH))
        training.step(network, optimizer, batch, machine, Progress(), TASKS, WEIGHTS)
    return dict(network.state_dict())


def train_literally(network: Network, batches: list[Batch], preset: str) -> dict[str, Tensor]:
    """The definition; its state under the names of our network, every network's trunk included."""
    networks = {
        leg: {**copy.deepcopy(dict(network.trunk.items())), **copy.deepcopy(dict(head.items()))}  # type: ignore[operator]
        for leg, head in network.heads.items()
    }
    shared = list(network.trunk)
    bias_rate = 2.0 if preset == "caffe" else 1.0
    literal = LiteralNetworks(networks, shared, WEIGHTS, decay=5e-4, bias_rate=bias_rate)
    for number, batch in enumerate(batches):
        as_double = {leg: (x.double(), labels) for leg, (x, labels) in batch.items()}
        literal.step(as_double, 1e-3 if number < EPOCH else 5e-4)
    state: dict[str, Tensor] = {}
    for leg, made in literal.networks.items():
        for name, value in made.state_dict().items():
            stage = name.split(".")[0]
            key = f"trunk.{name}" if stage in shared else f"heads.{leg}.{name}"
            assert key not in state or distance({key: value}, {key: state[key]}) < TOLERANCE
            state[key] = value
    return state


def distance(ours: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Largest difference, each tensor's relative to its largest magnitude or 1."""
    assert ours.keys() == other.keys()
    return max(
        float((ours[k] - other[k]).abs().max()) / max(1.0, float(other[k].abs().max()))
        for k in ours
    )


@pytest.mark.parametrize("preset", ["modern", "caffe"])
@pytest.mark.parametrize("legs", [["a", "b"], ["a", "b", "c"]], ids=["two", "three"])
@pytest.mark.parametrize("depth", ["constr", "conv1", "conv2", "fc1", "fc2"])
def test_multitask_is_the_papers_definition(legs: list[str], depth: str, preset: str) -> None:
    network = start(small, legs, depth, preset)
    batches = made_batches(legs, 64, STEPS)
    literal = train_literally(network, batches, preset)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    ours = train_ours(network, batches, preset)
    assert distance(ours, literal) < TOLERANCE
    # A bias just below a batch norm has no gradient; all else must have moved.
    still = [k for k in ours if torch.equal(ours[k], before[k])]
    assert all(k.endswith(".bias") for k in still)


@pytest.mark.parametrize(
    ("legs", "depth", "preset", "steps"),
    [
        (["b", "c"], "fc2", "caffe", 3),
        pytest.param(["a", "b", "c"], "conv2", "modern", STEPS, marks=pytest.mark.slow),
        pytest.param(["b", "c"], "fc2", "caffe", EPOCH + 2, marks=pytest.mark.slow),
    ],
)
def test_so_it_is_with_mislnet(legs: list[str], depth: str, preset: str, steps: int) -> None:
    network = start(mislnet, legs, depth, preset)
    batches = made_batches(legs, 64, steps)
    literal = train_literally(network, batches, preset)
    assert distance(train_ours(network, batches, preset), literal) < TOLERANCE


Patch = pytest.MonkeyPatch
Forward = Callable[[Tensor], Tensor]


def _statistics(norm: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in norm.named_buffers(recurse=False)}


def _set(norm: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        getattr(norm, name).copy_(value)


def one_norm_over_all(patch: Patch) -> None:
    def forward(norm: nn.Module, forward: Forward, sizes: list[int], x: Tensor) -> Tensor:
        return forward(x)

    patch.setattr(batchnorm, "normalise_legs", forward)


def statistics_of_the_last_leg(patch: Patch) -> None:
    def forward(norm: nn.Module, forward: Forward, sizes: list[int], x: Tensor) -> Tensor:
        before = _statistics(norm)
        results = []
        for rows in torch.split(x, sizes):
            for name, value in before.items():
                setattr(norm, name, value.clone())
            results.append(forward(rows))
        return torch.cat(results)

    patch.setattr(batchnorm, "normalise_legs", forward)


def statistics_one_after_the_other(patch: Patch) -> None:
    def forward(norm: nn.Module, forward: Forward, sizes: list[int], x: Tensor) -> Tensor:
        return torch.cat([forward(rows) for rows in torch.split(x, sizes)])

    patch.setattr(batchnorm, "normalise_legs", forward)


def variance_pooled(patch: Patch) -> None:
    real = batchnorm.normalise_legs

    def forward(norm: nn.Module, forward: Forward, sizes: list[int], x: Tensor) -> Tensor:
        before = _statistics(norm)
        result = real(norm, forward, sizes, x)
        averaged = _statistics(norm)
        _set(norm, before)
        with torch.no_grad():
            forward(x)  # moves the variance by that of all legs together
        _set(norm, {k: v for k, v in averaged.items() if k != "running_var"})
        return result

    patch.setattr(batchnorm, "normalise_legs", forward)


def _with_weights(patch: Patch, change: Callable[[Mapping[str, float]], dict[str, float]]) -> None:
    real = Network.forward
    patch.setattr(Network, "forward", lambda self, x, weights: real(self, x, change(weights)))


def gradient_averaged(patch: Patch) -> None:
    _with_weights(patch, lambda w: {leg: value / len(SIZES) for leg, value in w.items()})


def weight_ignored(patch: Patch) -> None:
    _with_weights(patch, lambda w: {})


def weight_on_heads_too(patch: Patch) -> None:
    """Lambda on the whole loss, which reaches trunk and head alike."""
    of_classes = {CLASSES[leg]: weight for leg, weight in WEIGHTS.items()}

    def loss(task: Task, scores: Tensor, labels: Tensor) -> Tensor:
        return of_classes[scores.shape[1]] * F.cross_entropy(scores, labels)

    _with_weights(patch, lambda w: {})
    patch.setattr(Task, "loss", loss)


def decay_once_per_leg(patch: Patch) -> None:
    real = make_optimizer

    def optimizer(network: Network, *arguments: Any) -> torch.optim.Optimizer:
        made = real(network, *arguments)
        trunk = {id(p) for p in network.trunk.parameters()}
        group = made.param_groups[0]
        shared = [p for p in group["params"] if id(p) in trunk]
        group["params"] = [p for p in group["params"] if id(p) not in trunk]
        decay = len(SIZES) * group["weight_decay"]
        made.add_param_group({"params": shared, "weight_decay": decay, "rate": 1.0})
        return made

    patch.setitem(globals(), "make_optimizer", optimizer)


def loss_over_all_patches(patch: Patch) -> None:
    def loss(task: Task, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels, reduction="sum") / sum(SIZES.values())

    patch.setattr(Task, "loss", loss)


MUTANTS = [
    one_norm_over_all, statistics_of_the_last_leg, statistics_one_after_the_other,
    variance_pooled, gradient_averaged, weight_ignored, weight_on_heads_too, decay_once_per_leg,
    loss_over_all_patches,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
@pytest.mark.parametrize("depth", ["conv1", "fc1"])
def test_the_test_notices(
    mutant: Callable[[Patch], None], depth: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    legs = list(SIZES)
    network = start(small, legs, depth, "modern")
    batches = made_batches(legs, 64, STEPS)
    literal = train_literally(network, batches, "modern")
    mutant(monkeypatch)
    assert distance(train_ours(network, batches, "modern"), literal) > 1000 * TOLERANCE


def test_one_leg_alone_trains_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """No leg-wise batch norm, and not a bit of difference, where there is one leg."""
    batches = made_batches(["a"], 64, 3)
    ours = train_ours(start(small, ["a"], "fc1", "modern"), batches, "modern")

    def plain(network: Network, x: Mapping[str, Tensor], _: object) -> dict[str, Tensor]:
        rows = x["a"]
        for stage in (*network.trunk.children(), *network.heads["a"].children()):
            rows = stage(rows)
        return {"a": rows}

    monkeypatch.setattr(Network, "forward", plain)
    again = train_ours(start(small, ["a"], "fc1", "modern"), batches, "modern")
    assert all(torch.equal(ours[k], again[k]) for k in ours)


def test_a_norm_that_cannot_tell_the_legs_apart_is_refused() -> None:
    class Regrouping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.norm(x.reshape(-1, 4))
            return result

    network = Network({"low": Regrouping()}, {"a": {}, "b": {}})
    with pytest.raises(UsageError, match="first dimension"):
        network({"a": torch.rand(2, 8), "b": torch.rand(3, 8)})
    assert network({"a": torch.rand(5, 8)})["a"].shape == (10, 4)


def test_a_norm_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="SyncBatchNorm cannot be shared"):
        Network({"low": nn.SyncBatchNorm(4)}, {"a": {}})
