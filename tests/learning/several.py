"""What tests run in several processes: a module that these can import, and a script.

As a script, `several.py MANIFEST OUT DEVICES` trains, with a checkpoint after every step, each
step slow and told on stdout with the process that took it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from phototrace.errors import PhototraceError, UsageError
from phototrace.learning import training
from phototrace.learning.accelerator import accelerator
from phototrace.learning.checkpoint import Progress
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import Stages, build_network
from phototrace.learning.optim import make_optimizer
from phototrace.learning.processes import average_, count, rank, wait
from phototrace.learning.recipe import Recipe, TrainingChoice
from phototrace.learning.tasks import NOTHING, Task
from phototrace.photos.manifest import Manifest

Batch = dict[str, tuple[Tensor, Tensor]]
PROCESSES = 2
LEGS = ["a", "b"]
CASES = [(depth, preset) for depth in ("conv1", "fc1", "fc2") for preset in ("modern", "caffe")]


def toy(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    """A backbone with a batch norm in each part."""
    return {
        "residual": nn.Sequential(ConstrainedConv2d(channels, 2, 3), nn.BatchNorm2d(2)),
        "energy": nn.Sequential(
            nn.Conv2d(2, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4)
        ),
        "output": nn.Sequential(nn.Flatten(), nn.Linear(128, classes)),
    }


def recipe() -> Recipe:
    """Two legs; fresh patches, which depend on their place in the epoch."""
    leg = {"batch_size": 16, "blocks": "random"}
    return Recipe.parse({
        "name": "toy",
        "network": {"backbone": "toy", "patch_size": 64, "share_depth": "residual"},
        "legs": {"how": {"task": "manipulation", **leg}, "which": {"task": "camera", **leg}},
        "training": {"epochs": 2, "precision": "float32", "patches": "fresh"},
    })  # fmt: skip


def share(batch: Batch) -> Batch:
    """This process's rows of a batch."""
    sizes = {leg: len(labels) // count() for leg, (_, labels) in batch.items()}
    own = {leg: slice(rank() * size, (rank() + 1) * size) for leg, size in sizes.items()}
    return {leg: (x[own[leg]], labels[own[leg]]) for leg, (x, labels) in batch.items()}


def plain(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    """Without batch norm: several processes compute what one does."""
    return {
        "constr": ConstrainedConv2d(channels, 2, 3),
        "fc1": nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32, 8), nn.Tanh()),
        "output": nn.Linear(8, classes),
    }


def with_labels_missing() -> dict[str, Tensor]:
    """State and sums after ten steps, in which labels are missing, of one process all of them."""
    tasks = {"class": Task("class", ("x", "y")), "number": Task("number", range=(0.0, 2.0))}
    network = build_network(plain, {"class": 2, "number": 1}, patch_size=64, share_depth="fc1")
    network.double().train()
    optimizer = make_optimizer(network, TrainingChoice(learning_rate=0.1), "modern")
    generator, state = torch.Generator().manual_seed(3), Progress()
    for number in range(10):
        x = torch.randint(256, (8, 1, 64, 64), generator=generator, dtype=torch.uint8)
        labels = torch.randint(2, (8,), generator=generator)
        labels[number % 4 : 4] = NOTHING
        numbers = torch.rand(8, generator=generator, dtype=torch.float32) * 2
        numbers[3 + number % 4 :] = float("nan")
        batch = share({"class": (x, labels), "number": (x, numbers)})
        # Legs that take the patches of one share a tensor.
        shared = batch["class"][0]
        batch = {leg: (shared, y) for leg, (_, y) in batch.items()}
        training.step(network, optimizer, batch, accelerator("float32", "cpu"), state, tasks,
                      {"number": 0.5})  # fmt: skip
    return {**network.state_dict(), **{f"sums {leg}": s for leg, s in state.sums.items()}}


def steps_of_two_legs(depth: str, preset: str) -> dict[str, Tensor]:
    """What our loop makes of the batches of `test_multitask`, each process with its share."""
    from . import test_multitask as one  # which a script need not import

    made = one.made_batches(LEGS, 64, one.STEPS)
    network = one.start(one.small, LEGS, depth, preset)
    state: dict[str, Tensor] = one.train_ours(network, [share(batch) for batch in made], preset)
    return state


def gradients_summed(network: nn.Module, figures: Any) -> None:
    average_(network, figures)
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad *= count()


def averages_of_ones_own(network: nn.Module, figures: Any) -> None:
    before = [buffer.clone() for buffer in network.buffers()]
    average_(network, figures)
    for buffer, value in zip(network.buffers(), before, strict=True):
        buffer.copy_(value)


def gradients_of_ones_own(network: nn.Module, figures: Any) -> None:
    before = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    average_(network, figures)
    for parameter, value in zip(network.parameters(), before, strict=True):
        assert parameter.grad is not None
        parameter.grad.copy_(value)


MUTANTS: list[Callable[..., None]] = [gradients_summed, averages_of_ones_own, gradients_of_ones_own]


@contextmanager
def replaced(name: str, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, name, value)
        yield


def take_steps(folder: Path, machine: Any) -> None:
    """All that is compared with one process, saved by each process."""
    found = {f"{depth} {preset}": steps_of_two_legs(depth, preset) for depth, preset in CASES}
    for mutant in MUTANTS:
        with replaced("average_", mutant):
            found[mutant.__name__] = steps_of_two_legs("conv1", "modern")
    found["labels missing"] = with_labels_missing()
    with replaced("label_shares", lambda counts: dict.fromkeys(counts, 1.0)):
        found["labels not weighed"] = with_labels_missing()
    torch.save(found, folder / f"{rank()}.pt")


def fail_in_one(machine: Any) -> None:
    """The last process fails while the first waits for it."""
    if rank() == 1:
        raise UsageError("One cannot go on.")
    wait()


def _slow_step(*arguments: Any) -> None:
    real_step(*arguments)
    # In one piece: two processes write to the same pipe.
    os.write(1, f"{rank()} {os.getpid()} {arguments[4].step}\n".encode())
    time.sleep(0.05)


real_step = training.step
if __name__ in ("__main__", "__mp_main__"):
    training.CHECKPOINT_SECONDS = 0.0
    training.step = _slow_step  # type: ignore[assignment]
if __name__ == "__main__":
    manifest, out, devices = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    try:
        training.train_recipe(
            recipe(), Manifest.load(manifest), out, backbone=toy, device="cpu", devices=devices,
            resume=True,
        )  # fmt: skip
    except PhototraceError as error:
        sys.exit(f"phototrace: {error}")
