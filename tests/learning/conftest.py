"""Tiny runs for tests: a toy backbone whose weights come from a seed, not from training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from phototrace.learning.accelerator import Precision
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.model import Model
from phototrace.learning.model_files import ModelConfig
from phototrace.learning.network import CHANNELS, Stages
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run, write_run
from phototrace.learning.tasks import TASKS
from phototrace.photos.remembered import remember

MakeRun = Callable[..., Run]
CAMERAS = replace(TASKS["camera"], classes=("A", "B"))
QUALITY = TASKS["jpeg-quality"]
BOTH = ModelConfig(
    name="both", backbone="tiny", patch_size=64, channels="green", preset="modern",
    share_depth="conv1", precision="float32", tasks={"which": CAMERAS, "how": QUALITY},
    trained_on={"patches": {"which": 7}},
)  # fmt: skip


def tiny(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    """Four stages; `fc2` gives 12 features after tanh."""
    return {
        "constr": ConstrainedConv2d(channels, 2, 3),
        "conv1": nn.Sequential(
            nn.Conv2d(2, 3, 5, stride=4), nn.BatchNorm2d(3), nn.AdaptiveMaxPool2d(4)
        ),
        "fc2": nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.Tanh()),
        "output": nn.Linear(12, classes),
    }


def made(config: ModelConfig = BOTH, seed: int = 0) -> Model:
    """A model of the `tiny` backbone, of two legs unless told."""
    return Model(config, config.network(tiny, seed=seed))


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Runs of the `tiny` backbone for 64 px; `share_depth` cuts them, `seed` tells them apart."""

    def make(
        name: str = "run",
        *,
        seed: int = 0,
        channels: str = "green",
        share_depth: str | None = None,
        precision: Precision = "float32",
    ) -> Run:
        recipe = Recipe.parse({
            "name": name,
            "network": {"backbone": "tiny", "patch_size": 64, "channels": channels},
            "legs": {"camera": {"task": "camera"}},
            "training": {"precision": "float32"},
        })  # fmt: skip
        config = ModelConfig(
            name=name, backbone="tiny", patch_size=64, channels=channels, preset="modern",
            share_depth=share_depth, precision=precision,
            tasks={"camera": CAMERAS}, trained_on={},
        )  # fmt: skip
        network = config.network(tiny, seed=seed)
        assert network.trunk["constr"].weight.shape[1] == CHANNELS[channels]  # type: ignore[index]
        split = {"version": 2, "hash": "", "part": {}, "excluded": {}}
        none = remember([], b"")
        return write_run(tmp_path / name, recipe, config, network, [], {}, split, none)

    return make


@pytest.fixture
def patches() -> NDArray[np.uint8]:
    """120 patches of 64 px, in pairs of a rough and a smooth one."""
    rng = np.random.default_rng(4)
    rough = rng.normal(128, 6, (120, 64, 64))
    rough[1::2] = 128 + (rough[1::2] - 128) / 3
    return np.clip(rough, 0, 255).astype(np.uint8)
