"""The loop as a whole: it learns, keeps the constraint, and goes on where it was cut off."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from phototrace.errors import DamagedError, PhototraceError, UsageError
from phototrace.learning import training
from phototrace.learning.batches import Leg, batches, epoch_order, steps_per_epoch
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import Stages
from phototrace.learning.optim import learning_rate
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe, TrainingChoice
from phototrace.learning.run import Run
from phototrace.learning.tasks import TASKS
from phototrace.learning.training import train_recipe
from phototrace.patches.building import build_store
from phototrace.photos.manifest import Manifest


def toy(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    """A backbone of three stages, the first of them constrained."""
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "energy": nn.Sequential(nn.Conv2d(2, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        "output": nn.Sequential(nn.Flatten(), nn.Linear(128, classes)),
    }


def recipe(**training_choice: object) -> Recipe:
    choice = {"epochs": 3, "optimizer": "adamw", "learning_rate": 3e-3, "precision": "float32"}
    return Recipe.parse({
        "name": "toy",
        "network": {"backbone": "toy", "patch_size": 64},
        "legs": {"manipulation": {"task": "manipulation", "batch_size": 32}},
        "training": {**choice, **training_choice},
    })  # fmt: skip


def hybrid() -> Recipe:
    """Two legs that share the first stage; the second starts again within an epoch."""
    legs = {
        "manipulation": {"task": "manipulation", "batch_size": 32},
        "camera": {"task": "camera", "batch_size": 20, "weight": 0.5},
    }
    one = recipe().model_dump()
    network = {**one["network"], "share_depth": "residual"}
    return Recipe.parse({**one, "network": network, "legs": legs})


def _weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.model(backbone=toy).network.state_dict())


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def finished(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs")
    return train_recipe(recipe(), photos, out, backbone=toy)


def test_a_backbone_of_ones_own_learns(finished: Run) -> None:
    import json

    rows = [json.loads(x) for x in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.3
    assert 0 <= rows[-1]["validation_accuracy"] <= 1


def test_the_trained_kernels_satisfy_the_constraint(finished: Run) -> None:
    layer = finished.model(backbone=toy).network.trunk["residual"]
    assert isinstance(layer, ConstrainedConv2d)
    assert layer.deviation() < 1e-5


def test_a_run_does_not_import_a_backbone_by_itself(finished: Run) -> None:
    with pytest.raises(UsageError, match="backbone 'toy'"):
        Run.load(finished.folder).model()


def test_the_run_says_where_it_comes_from(finished: Run, photos: Manifest) -> None:
    facts = finished.provenance
    assert facts["manifest"] == photos.hash
    assert finished.tasks["manipulation"].classes[0] == "unaltered"
    assert facts["machine"]["libraries"]["torch"] == torch.__version__
    parts = finished.split["part"]
    assert {parts[r.sha256] for r in photos.photos} == {"train", "validation", "test"}
    assert Recipe.load(finished.folder / "recipe.toml") == finished.recipe


def test_a_finished_run_is_returned_not_repeated(finished: Run, photos: Manifest) -> None:
    again = train_recipe(recipe(), photos, finished.folder.parent, backbone=toy)
    assert again.hash == finished.hash
    with pytest.raises(UsageError, match="other choices"):
        train_recipe(recipe(epochs=4), photos, finished.folder.parent, backbone=toy)


def test_a_name_in_use_is_refused_before_patches_are_cut(finished: Run, photos: Manifest) -> None:
    stores = sorted((finished.folder.parent / "stores").iterdir())
    other = finished.recipe.model_copy(update={"seed": finished.recipe.seed + 1})
    with pytest.raises(UsageError, match="other choices or data"):
        train_recipe(other, photos, finished.folder.parent, backbone=toy)
    cut = [path for path in (finished.folder.parent / "stores").iterdir() if path.is_dir()]
    assert set(cut) <= set(stores)


@pytest.mark.parametrize("name", ["weights.safetensors", "recipe.toml", "model.json", "split.json"])
def test_a_changed_file_is_noticed(finished: Run, tmp_path: Path, name: str) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=name):
        Run.load(folder)


class CutOffError(Exception):
    pass


def _train_until(
    step: int, choice: Recipe, photos: Manifest, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train with a checkpoint after every step, and break off inside one of them."""
    real = training.step

    def cut_off(*arguments: Any) -> None:
        real(*arguments)
        if arguments[4].step > step:
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(training, "step", cut_off)
        with pytest.raises(CutOffError):
            train_recipe(choice, photos, out, backbone=toy)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resume_is_bit_equal(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    choice = recipe(optimizer=optimizer, learning_rate=1e-3)
    whole = train_recipe(choice, photos, tmp_path / "whole", backbone=toy)
    _train_until(29, choice, photos, tmp_path / "cut", monkeypatch)
    with pytest.raises(UsageError, match="--resume"):
        train_recipe(choice, photos, tmp_path / "cut", backbone=toy)
    resumed = train_recipe(choice, photos, tmp_path / "cut", backbone=toy, resume=True)
    assert _same(_weights(whole), _weights(resumed))
    assert (whole.folder / "metrics.jsonl").read_text() == (
        resumed.folder / "metrics.jsonl"
    ).read_text()
    assert not (resumed.folder / "checkpoint").exists()


def test_a_resumed_training_must_be_the_same(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_until(5, recipe(), photos, tmp_path, monkeypatch)
    with pytest.raises(DamagedError, match="other choices"):
        train_recipe(recipe(epochs=5), photos, tmp_path, backbone=toy, resume=True)


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(
    photos: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(PhototraceError, match="no longer a finite number, at step"):
        train_recipe(recipe(optimizer="sgd", learning_rate=1e30), photos, tmp_path, backbone=toy)
    (kept,) = (tmp_path / "toy" / "checkpoint").glob("step-*")
    assert (kept / "contents.json").is_file()


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_training
from phototrace.learning import checkpoint, training
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest
import time
training.CHECKPOINT_SECONDS = 0.0
photos = Manifest.load(Path({manifest!r}))
step = training.step
def slow(*arguments):
    step(*arguments)
    print(arguments[4].step, flush=True)
    time.sleep(0.02)
training.step = slow
if {in_save}:
    write = checkpoint.write_json
    def slow_save(path, value):
        if path.name == "state.json" and value["progress"]["step"] == 20:
            print("saving", flush=True)
            time.sleep(60)
        write(path, value)
    checkpoint.write_json = slow_save
train_recipe(test_training.{choice}(), photos, Path({out!r}), backbone=test_training.toy)
"""


@pytest.mark.parametrize(
    ("choice", "in_save"),
    [
        pytest.param(recipe, False, id="in an epoch", marks=pytest.mark.slow),
        pytest.param(recipe, True, id="in a save"),
        pytest.param(hybrid, False, id="with two legs", marks=pytest.mark.slow),
    ],
)
def test_kill_9_and_resume_is_bit_equal(
    photos: Manifest, finished: Run, tmp_path: Path, choice: Callable[[], Recipe], in_save: bool
) -> None:
    whole = finished
    if choice is hybrid:
        whole = train_recipe(hybrid(), photos, tmp_path / "whole", backbone=toy)
    manifest = photos.root / f"killed-{choice.__name__}-{in_save}.csv"
    photos.save(manifest)
    script = KILLED.format(
        tests=str(Path(__file__).parent), manifest=str(manifest), out=str(tmp_path),
        in_save=in_save, choice=choice.__name__,
    )  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    wanted = "saving" if in_save else "23"
    for line in process.stdout:
        if line.strip() == wanted:
            break
    time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    resumed = train_recipe(choice(), Manifest.load(manifest), tmp_path, backbone=toy, resume=True)
    assert _same(_weights(whole), _weights(resumed))


def test_two_trainings_in_one_folder_are_refused(photos: Manifest, tmp_path: Path) -> None:
    from phototrace.files import locked

    with locked(tmp_path / "toy"), pytest.raises(UsageError, match="Another phototrace"):
        train_recipe(recipe(), photos, tmp_path, backbone=toy)


def test_every_batch_is_full_and_every_patch_comes(photos: Manifest, tmp_path: Path) -> None:
    plan = prepare(recipe(), photos).plans["manipulation"]
    store = build_store(plan, tmp_path / "store")
    long = Leg(
        "long", TASKS["manipulation"], store, np.arange(100), np.array([], dtype=np.int64), 32
    )
    short = Leg(
        "short", TASKS["manipulation"], store, np.arange(30), np.array([], dtype=np.int64), 16
    )
    steps = steps_per_epoch([long, short])
    assert steps == 4
    order = epoch_order(long, 0, steps, 1, 0)
    assert order.shape == (4, 32)
    assert set(order.ravel()) == set(range(100))
    again = epoch_order(short, 0, steps, 1, 1)
    assert set(np.bincount(again.ravel())) <= {2, 3}
    assert not np.array_equal(order, epoch_order(long, 1, steps, 1, 0))
    for batch in batches([long, short], 2, 6, 1):
        assert batch["long"][0].shape == (32, 1, 64, 64)
        assert batch["short"][1].shape == (16,)


def test_schedules() -> None:
    halving = TrainingChoice(learning_rate=8.0, epochs=9)
    assert [learning_rate(halving, s, 10) for s in (0, 29, 30, 59, 60)] == [8, 8, 4, 4, 2]
    cycle = TrainingChoice(learning_rate=1.0, schedule="one-cycle", epochs=10)
    rates = [learning_rate(cycle, s, 10) for s in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[30] == pytest.approx(1.0)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[-1] < 2e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_uses_cuda_where_it_is(photos: Manifest, tmp_path: Path) -> None:
    run = train_recipe(recipe(precision="auto"), photos, tmp_path, backbone=toy)
    assert run.provenance["machine"]["accelerator"]
