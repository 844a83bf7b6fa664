"""Checkpoints by themselves: what they hold, which one is taken, and what is refused."""

import shutil
from pathlib import Path

import pytest
import torch

from phototrace.errors import DamagedError
from phototrace.learning.checkpoint import (
    TENSORS,
    Progress,
    figures,
    load_checkpoint,
    save_checkpoint,
)
from phototrace.learning.network import Network, build_network
from phototrace.learning.optim import make_optimizer
from phototrace.learning.recipe import TrainingChoice

from .conftest import tiny

KINDS = pytest.mark.parametrize("kind", ["sgd", "adamw"])


class Training:
    """A tiny network and its optimiser, a step or two into a training."""

    def __init__(self, kind: str = "sgd", seed: int = 0) -> None:
        made = build_network(tiny, {"leg": 2}, patch_size=64, seed=seed)
        self.network: Network = made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        choice = TrainingChoice(optimizer="adamw" if kind == "adamw" else "sgd", weight_decay=0.1)
        self.optimizer = make_optimizer(self.network, choice, "caffe")

    def step(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        patches = torch.rand((6, 1, 64, 64), generator=generator) * 255
        self.optimizer.zero_grad()
        self.network({"leg": patches})["leg"][:, 0].sum().backward()
        self.optimizer.step()
        self.network.project_()

    def save(self, folder: Path, progress: Progress, plan: str = "plan") -> None:
        save_checkpoint(folder, plan, self.network, self.optimizer, progress)

    def load(self, folder: Path, plan: str = "plan") -> Progress | None:
        return load_checkpoint(folder, plan, self.network, self.optimizer)

    def is_as(self, other: "Training") -> bool:
        ours, theirs = self.network.state_dict(), other.network.state_dict()
        return all(torch.equal(ours[key], theirs[key]) for key in ours)


@KINDS
def test_a_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path, kind: str) -> None:
    whole, again = Training(kind), Training(kind, seed=1)
    for seed in range(3):
        whole.step(seed)
    whole.save(tmp_path, Progress(step=3))
    assert again.load(tmp_path) == Progress(step=3)
    assert again.is_as(whole)
    # What the optimiser remembers lies in memory as its parameter does: sums round alike.
    pairs = zip(whole.network.parameters(), again.network.parameters(), strict=True)
    for ours, theirs in pairs:
        kept, read = whole.optimizer.state[ours], again.optimizer.state[theirs]
        assert kept.keys() == read.keys() != set()
        assert all(torch.equal(kept[key], read[key]) for key in kept)
        assert all(v.stride() == theirs.stride() for k, v in read.items() if k != "step")
    for training in (whole, again):
        training.step(7)
        training.step(8)
    assert again.is_as(whole)


def test_progress_is_kept_whole(tmp_path: Path) -> None:
    training, progress = Training(), Progress(step=5, metrics=[{"epoch": 1}], seconds=2.5)
    progress.add("leg", figures(torch.tensor(0.25), torch.tensor(3), torch.tensor(4)))
    training.save(tmp_path, progress)
    found = training.load(tmp_path)
    assert found is not None
    assert (found.step, found.metrics, found.seconds) == (5, [{"epoch": 1}], 2.5)
    assert found.means() == progress.means() == {"leg": (0.25, 0.75)}
    found.add("leg", figures(torch.tensor(0.5), torch.tensor(1), torch.tensor(1)))
    assert found.means()["leg"] == pytest.approx(((4 * 0.25 + 0.5) / 5, 4 / 5))


def test_means_are_over_patches_not_batches() -> None:
    progress = Progress()
    progress.add("a", figures(torch.tensor(1.0), torch.tensor(2), torch.tensor(2)))
    progress.add("b", figures(torch.tensor(9.0), torch.tensor(0.5), torch.tensor(1)))
    progress.add("a", figures(torch.tensor(4.0), torch.tensor(1), torch.tensor(4)))
    assert progress.means() == {"a": (3.0, 0.5), "b": (9.0, 0.5)}


def test_there_is_nothing_to_go_on_from_at_first(tmp_path: Path) -> None:
    assert Training().load(tmp_path / "nothing") is None


def test_the_newest_whole_one_is_taken(tmp_path: Path) -> None:
    """A kill between two leaves both; one that is not whole counts for nothing."""
    older, newer, found = Training(), Training(), Training(seed=1)
    newer.step(0)
    older.save(tmp_path, Progress(step=9))
    shutil.copytree(tmp_path / "step-000000009", tmp_path / "kept")
    newer.save(tmp_path, Progress(step=10))
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-000000010"]
    (tmp_path / "kept").rename(tmp_path / "step-000000009")
    assert found.load(tmp_path) == Progress(step=10)
    assert found.is_as(newer)
    tensors = tmp_path / "step-000000010" / TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-1])
    assert found.load(tmp_path) == Progress(step=9)
    assert found.is_as(older)
    (tmp_path / "step-000000009/contents.json").unlink()
    assert found.load(tmp_path) is None


def test_the_same_step_is_saved_anew(tmp_path: Path) -> None:
    first, second, found = Training(), Training(seed=1), Training(seed=2)
    first.save(tmp_path, Progress(step=0))
    second.save(tmp_path, Progress(step=0))
    assert found.load(tmp_path) == Progress(step=0)
    assert found.is_as(second)


def test_one_of_another_plan_is_refused(tmp_path: Path) -> None:
    training = Training()
    training.save(tmp_path, Progress(), plan="one")
    with pytest.raises(DamagedError, match="a training with other choices, data, threads"):
        training.load(tmp_path, plan="two")


def test_a_network_that_is_lost_does_not_take_the_place_of_a_good_one(tmp_path: Path) -> None:
    training, found = Training(), Training(seed=1)
    training.save(tmp_path, Progress(step=1))
    with torch.no_grad():
        next(iter(training.network.heads.parameters())).fill_(float("nan"))
    with pytest.raises(DamagedError, match="is not finite"):
        training.save(tmp_path, Progress(step=2))
    assert found.load(tmp_path) == Progress(step=1)
