"""A model on disk: `model.json`, which tells how to rebuild the network, and its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from phototrace.errors import DamagedError, UsageError
from phototrace.files import CONTENTS, hash_of, write_bytes, write_json
from phototrace.learning.accelerator import Precision
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import (
    BACKBONES,
    CHANNELS,
    Backbone,
    Network,
    build_network,
)
from phototrace.learning.tasks import Task
from phototrace.patches.cutting import check_patch_size

MODEL_VERSION = 1
CONFIG, WEIGHTS = "model.json", "weights.safetensors"

# Weights are float32, and each kernel's sum of 25 of them is exact to a few rounding errors.
CONSTRAINT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ModelConfig:
    """All that a network is rebuilt from.

    Attributes:
        name: What people call it.
        backbone: Its name; your own function is passed when the model is loaded.
        patch_size: Side of the patches, px.
        channels: `"green"` or `"rgb"`.
        preset: Of the backbone.
        share_depth: The last stage that tasks share; None where only the output is a task's own.
        precision: Of its training and predictions; another precision gives another model.
        tasks: Leg name -> its task.
        trained_on: Counts of its training data and hashes of it as a whole; no photo is named.
    """

    name: str
    backbone: str
    patch_size: int
    channels: str
    preset: str
    share_depth: str | None
    precision: Precision
    tasks: Mapping[str, Task]
    trained_on: Mapping[str, Any]

    def facts(self) -> dict[str, Any]:
        """As plain values for `model.json`."""
        tasks = {leg: task.facts() for leg, task in self.tasks.items()}
        return {**vars(self), "tasks": tasks, "trained_on": dict(self.trained_on)}

    def network(self, backbone: Backbone | None = None, *, seed: int = 0) -> Network:
        """A network of this form, weights drawn from `seed`; `backbone` where it is your own.

        Raises `UsageError` where the backbone is not known by name and not given.
        """
        function = backbone or BACKBONES.get(self.backbone)
        if function is None:
            raise UsageError(
                f"{self.name} has the backbone {self.backbone!r}, which is none of "
                f"{', '.join(BACKBONES)}. Pass that function as backbone=."
            )
        return build_network(
            function,
            {leg: task.outputs for leg, task in self.tasks.items()},
            patch_size=self.patch_size,
            channels=self.channels,
            preset=self.preset,
            share_depth=self.share_depth,
            seed=seed,
        )


def load_config(folder: Path) -> ModelConfig:
    """What `model.json` says; `DamagedError` where it makes no sense."""
    where = str(folder / CONFIG)
    try:
        facts = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        version = facts.pop("version")
        tasks = facts.pop("tasks")
        if version != MODEL_VERSION:
            raise DamagedError(
                f"{where} is of version {version}; this phototrace reads {MODEL_VERSION}."
            )
        made = {leg: Task.of_facts(task, where) for leg, task in tasks.items()}
        config = ModelConfig(tasks=made, **facts)
        texts = (config.name, config.backbone, config.preset, config.share_depth or "")
        known = config.channels in CHANNELS and config.precision in ("float32", "bfloat16")
        known = known and all(isinstance(text, str) for text in texts)
        whole = isinstance(config.patch_size, int) and bool(check_patch_size(config.patch_size))
        sound = known and whole and bool(made) and isinstance(config.trained_on, dict)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError):
        sound = False
    if not sound:
        raise DamagedError(f"{where} cannot be read. Restore the folder.")
    return config


def write_model(folder: Path, config: ModelConfig, network: Network) -> None:
    """Write config and weights; the folder is complete only with its `contents.json`."""
    check_network(network, str(folder))
    write_json(folder / CONFIG, {"version": MODEL_VERSION, **config.facts()})
    write_bytes(folder / WEIGHTS, weights_of(network))


def hash_now(config: ModelConfig, network: Network) -> str:
    """What `Model.hash` is, of a network in memory."""
    return model_hash(config, hashlib.sha256(weights_of(network)).hexdigest())


def model_hash(config: ModelConfig, weights: str) -> str:
    """What `Model.hash` is, given the SHA-256 of the weights file."""
    facts = config.facts()
    form = {key: facts[key] for key in facts if key not in ("name", "trained_on")}
    return hash_of({"model": form, "weights": weights})


def hash_in(folder: Path) -> str:
    """The `Model.hash` of a finished folder, without loading the weights."""
    contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    return model_hash(load_config(folder), contents["files"][WEIGHTS]["sha256"])


def load_weights(network: Network, path: Path) -> None:
    """Load safetensors into a network of the same form, and check values and constraint."""
    try:
        tensors = load(path.read_bytes())
        network.load_state_dict(tensors)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(f"The weights {path} do not fit the network: {reason}") from None
    check_network(network, str(path))


def check_network(network: Network, where: str) -> None:
    """Raise `DamagedError` where a weight is not finite or a kernel breaks the constraint."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DamagedError(f"{name} of {where} is not finite. Go back to an earlier state.")
    for stage in network.modules():
        if isinstance(stage, ConstrainedConv2d) and stage.deviation() > CONSTRAINT_TOLERANCE:
            raise DamagedError(f"A kernel of {where} breaks the constraint of Eq. 4. Train again.")


def weights_of(network: Network) -> bytes:
    """Its weights and buffers as safetensors."""
    state = network.state_dict().items()
    return save({name: t.detach().cpu().contiguous() for name, t in state})
