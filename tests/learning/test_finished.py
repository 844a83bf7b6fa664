"""What a finished training says of itself: figures of the right rows, and no photo's name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from phototrace.learning import training
from phototrace.learning.accelerator import accelerator
from phototrace.learning.batches import Leg
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.epochs import validated
from phototrace.learning.leg_data import leg_of
from phototrace.learning.model import Model
from phototrace.learning.network import Network, Stages, build_network
from phototrace.learning.optim import learning_rate
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.tasks import Task
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest

LEGS = ("how", "which", "quality")
Shown = list[tuple[int, str, float, float]]


def tiny(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "conv": nn.Sequential(nn.Conv2d(2, 4, 3, stride=8), nn.BatchNorm2d(4), nn.Tanh()),
        "output": nn.Sequential(nn.Flatten(), nn.Linear(256, classes)),
    }


RECIPE = Recipe.parse({
    "name": "three",
    "network": {"backbone": "tiny", "patch_size": 64, "share_depth": "conv"},
    "legs": {
        "how": {"task": "manipulation", "batch_size": 32, "per_class": {"train": 60}},
        "which": {"task": "camera", "batch_size": 16},
        "quality": {"task": "jpeg-quality", "batch_size": 16},
    },
    "training": {
        "epochs": 3, "optimizer": "adamw", "schedule": "one-cycle", "precision": "float32",
    },
})  # fmt: skip


class Trained:
    """A run, what each step began with, and each batch's epoch, leg, mean loss and mean score."""

    def __init__(self, photos: Manifest, out: Path) -> None:
        self.shown: Shown = []
        self.in_training: list[bool] = []
        self.rates: list[set[float]] = []
        real = training.step

        def step(*arguments: Any) -> None:
            network, optimizer, batch, _, state, *_ = arguments
            self.in_training.append(network.training)
            self.rates.append({group["lr"] for group in optimizer.param_groups})
            before = {leg: v.clone() for leg, v in state.sums.items()}
            epoch = len(state.metrics) // len(LEGS) + 1
            real(*arguments)
            for leg, (_, labels) in batch.items():
                gone = before.get(leg, torch.zeros(3, dtype=torch.float64))
                loss, score, share = ((state.sums[leg] - gone) / len(labels)).tolist()
                assert share == 1
                self.shown.append((epoch, leg, loss, score))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "step", step)
            self.run: Run = train_recipe(RECIPE, photos, out, backbone=tiny)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        lines = (self.run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def trained(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(photos, tmp_path_factory.mktemp("runs"))


def test_the_last_figures_are_the_models_on_the_validation_part(trained: Trained) -> None:
    """Of every leg, worked out again from the finished run."""
    run = trained.run
    model = run.model(backbone=tiny)
    for row in trained.metrics[-3:]:
        leg, store = row["leg"], run.store(row["leg"])
        rows = np.flatnonzero(store.column("part") == "validation")
        labels = store.label[rows]
        if leg == "quality":
            expected = np.abs(model.predict(store.read(rows), leg) - labels).mean()
            assert row["validation_error"] == pytest.approx(expected, rel=1e-5)
            continue
        right = model.predict_proba(store.read(rows), leg).argmax(axis=1) == labels
        expected = np.mean([right[labels == label].mean() for label in set(labels.tolist())])
        assert row["validation_accuracy"] == pytest.approx(expected)


def test_an_epochs_figures_are_of_its_own_batches(trained: Trained) -> None:
    assert [(row["epoch"], row["leg"]) for row in trained.metrics] == [
        (epoch, leg) for epoch in (1, 2, 3) for leg in LEGS
    ]
    for row in trained.metrics:
        own = [one[2:] for one in trained.shown if one[:2] == (row["epoch"], row["leg"])]
        loss, score = np.mean(own, axis=0)
        assert row["loss"] == pytest.approx(loss)
        assert row["error" if row["leg"] == "quality" else "accuracy"] == pytest.approx(score)


def test_batch_norms_learn_in_every_epoch(trained: Trained) -> None:
    """Validation puts the network into eval mode; training takes it out again."""
    steps = trained.metrics[-1]["step"]
    assert trained.in_training == [True] * steps
    assert steps == 3 * trained.metrics[0]["step"] > 3


def test_every_step_has_the_rate_of_its_schedule(trained: Trained) -> None:
    per_epoch = trained.metrics[0]["step"]
    rates = [learning_rate(RECIPE.training, step, per_epoch) for step in range(3 * per_epoch)]
    assert trained.rates == [{rate} for rate in rates]
    assert max(rates) > 100 * min(rates)


def test_a_model_names_no_photo(trained: Trained, photos: Manifest, tmp_path: Path) -> None:
    trained.run.model(backbone=tiny).save(tmp_path / "model")
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"model.json", "weights.safetensors", "contents.json"}
    said = b"".join(path.read_bytes() for path in files)
    for photo in photos.photos:
        named = (photo.id, photo.sha256, photo.sha256[:12], photo.path, str(photos.path_of(photo)))
        assert not any(name.encode() in said for name in named)
    for text in (str(photos.root), *{r.scene for r in photos.photos}):
        assert text.encode() not in said


def test_a_model_says_how_much_it_was_trained_on(trained: Trained) -> None:
    run = trained.run
    told = Model.load(run.folder, backbone=tiny).config.trained_on
    for leg in LEGS:
        store = run.store(leg)
        assert told["patches"][leg] == np.count_nonzero(store.column("part") == "train")
        assert told["data"][leg] == store.hash
    assert told["split"] == run.split["hash"]
    assert sorted(told) == ["data", "patches", "split"]


def test_a_leg_is_drawn_by_class_and_device_of_its_training_rows(
    trained: Trained, photos: Manifest
) -> None:
    made = prepare(RECIPE, photos)
    store = trained.run.store("which")
    leg = leg_of(made, "which", store)
    parts = store.column("part")
    np.testing.assert_array_equal(leg.train, np.flatnonzero(parts == "train"))
    np.testing.assert_array_equal(leg.validation, np.flatnonzero(parts == "validation"))
    assert leg.strata is not None
    np.testing.assert_array_equal(leg.strata[:, 0], store.label[leg.train])
    devices = zip(leg.strata[:, 1].tolist(), store.column("device")[leg.train], strict=True)
    assert len(set(devices)) == 4  # one number for each device of two cameras
    assert len(set(leg.strata[:, 1].tolist())) == 4
    assert leg_of(made, "how", trained.run.store("how")).strata is None


class Even:
    """Rows whose patches are all of one grey, their number; each row that is read is noted."""

    def __init__(self, label: NDArray[np.int64]) -> None:
        self.label = label
        self.noted: list[int] = []

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.noted += rows.tolist()
        return np.broadcast_to(rows[:, None, None], (len(rows), 8, 8)).astype(np.uint8)


class Threshold(nn.Module):
    """Scores for class 1 where the grey is at least 100."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = x.mean(dim=(1, 2, 3))
        return torch.stack([100 - grey - 0.5, grey - 99.5], dim=1)


def threshold(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {"same": nn.Identity(), "output": Threshold()}


@pytest.fixture
def network() -> Network:
    return build_network(threshold, {"leg": 2}, patch_size=8)


def test_validation_reads_the_validation_rows_and_no_others(network: Network) -> None:
    """Every training row would be told wrongly."""
    train, validation = np.arange(60), np.concatenate([np.arange(90, 175), np.arange(60, 70)])
    label = np.ones(200, dtype=np.int64)
    label[95:98] = 0
    source = Even(label)
    leg = Leg("leg", Task("t", ("a", "b")), source, train, validation, 8)
    figure = validated(network, leg, accelerator("float32", "cpu"))
    assert source.noted == validation.tolist()
    # Class 1 are rows 60 to 69, 90 to 94 and 98 to 174, of which those from 100 on are told.
    assert figure == pytest.approx((75 / (10 + 5 + 77) + 3 / 3) / 2)
