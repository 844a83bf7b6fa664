"""Training where there is CUDA: nothing waits for the device, and several train together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phototrace.learning import training
from phototrace.learning.accelerator import accelerator, place
from phototrace.learning.batches import Leg, batches
from phototrace.learning.checkpoint import Progress
from phototrace.learning.network import PRESETS, build_network, mislnet
from phototrace.learning.optim import make_optimizer
from phototrace.learning.recipe import TrainingChoice
from phototrace.learning.tasks import TASKS
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest

from . import several

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Noise:
    """A source of patches of no photo."""

    label = np.arange(64) % 6

    def read(self, rows: Any) -> Any:
        """As any source."""
        return np.random.default_rng(int(rows[0])).integers(0, 256, (len(rows), 64, 64), np.uint8)


def legs() -> list[Leg]:
    rows, none = np.arange(64), np.arange(0)
    return [Leg(name, TASKS["manipulation"], Noise(), rows, none, 16) for name in "ab"]


@pytest.fixture
def nothing_may_wait() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("nothing_may_wait")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_step_waits_for_the_device(preset: str, optimizer: str) -> None:
    machine = accelerator("bfloat16", "cuda")
    network = build_network(
        mislnet, {"a": 6, "b": 6}, patch_size=64, share_depth="fc1", preset=preset
    )
    place(network, machine.device).train()
    made = make_optimizer(network, TrainingChoice.model_validate({"optimizer": optimizer}), preset)
    state, tasks = Progress(), {leg.name: leg.task for leg in legs()}
    for number, batch in enumerate(batches(legs(), 0, 6, 0, pinned=True)):
        assert all(t.is_pinned() for both in batch.values() for t in both)
        if number == 2:  # what is prepared once may wait
            torch.cuda.set_sync_debug_mode("error")
        training.step(network, made, batch, machine, state, tasks, {"b": 0.5})


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_devices_train_together(photos: Manifest, tmp_path: Path) -> None:
    run = train_recipe(several.recipe(), photos, tmp_path, backbone=several.toy, devices=2)
    assert run.provenance["machine"]["processes"] == 2
