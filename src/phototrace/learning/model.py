"""Model: what predicts. A network and how to rebuild it, without the record of its training.

A folder with `model.json`, `weights.safetensors` and `contents.json` (their SHA-256) is a model; a
run's folder is one too. Patches come from memory: no store, manifest or split is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load, save
from torch import Tensor

from phototrace.errors import DamagedError, UsageError
from phototrace.files import (
    CONTENTS,
    check_contents,
    hash_of,
    is_complete,
    locked,
    write_bytes,
    write_contents,
    write_json,
)
from phototrace.learning.accelerator import (
    Accelerator,
    DeviceName,
    Precision,
    accelerator,
    place,
    to_input,
)
from phototrace.learning.batches import as_tensor
from phototrace.learning.network import (
    BACKBONES,
    CHANNELS,
    Backbone,
    ConstrainedConv2d,
    Network,
    build_network,
)
from phototrace.learning.tasks import Task
from phototrace.progress import progress

MODEL_VERSION = 1
CONFIG, WEIGHTS = "model.json", "weights.safetensors"
BATCH = 64
"""Patches that go through a network at once, outside training."""

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


class Model:
    """Predictions of a trained network, and its deep features, for patches in memory.

    Patches are `(n, h, w)` uint8, or `(n, h, w, 3)` for a model of RGB patches, values 0..255.

    Args:
        config: What it is.
        network: Its weights.
        device: `"auto"` takes CUDA where it is present.
    """

    def __init__(
        self, config: ModelConfig, network: Network, *, device: DeviceName = "auto"
    ) -> None:
        self.config = config
        self.network = network.eval()
        self.device = device

    def __deepcopy__(self, memo: object) -> Model:
        """A model does not change: scikit-learn's clones share it."""
        return self

    @classmethod
    def load(
        cls, source: Path | str, *, device: DeviceName = "auto", backbone: Backbone | None = None
    ) -> Model:
        """The model in a folder (also a run's), every hash checked.

        A model never imports code by itself: `backbone` is the function it was trained with, where
        that is your own. Raises `UsageError` where there is no model, `DamagedError` where a file
        has changed, or weights do not fit, are not finite or break Eq. 4.
        """
        folder = Path(source)
        if not folder.is_dir():
            raise UsageError(f"There is no model {str(source)!r}. Give its folder, or a run's.")
        if not is_complete(folder) or not (folder / CONFIG).is_file():
            raise UsageError(f"{folder} is not a finished model. Choose a model or a finished run.")
        check_contents(folder)
        config = load_config(folder)
        network = config.network(backbone)
        load_weights(network, folder / WEIGHTS)
        return cls(config, network, device=device)

    def save(self, folder: Path | str) -> None:
        """Write the model, complete or not at all; `UsageError` where the folder is in use."""
        folder = Path(folder)
        with locked(folder):
            if is_complete(folder):
                raise UsageError(f"{folder} is in use. Choose another folder.")
            write_model(folder, self.config, self.network)
            write_contents(folder, [CONFIG, WEIGHTS])

    @property
    def name(self) -> str:
        """What people call it."""
        return self.config.name

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Leg name -> its task."""
        return self.config.tasks

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what it computes: form, tasks, precision and weights."""
        return model_hash(self.config, hashlib.sha256(_weights(self.network)).hexdigest())

    @cached_property
    def machine(self) -> Accelerator:
        """Device and precision."""
        return accelerator(self.config.precision, self.device)

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Of one patch: `(h, w)` or `(h, w, 3)`."""
        depth = CHANNELS[self.config.channels]
        return (self.config.patch_size,) * 2 + ((depth,) if depth > 1 else ())

    def features(
        self, patches: ArrayLike, *, stage: str = "fc2", leg: str | None = None
    ) -> NDArray[np.float32]:
        """Deep features `(n, d)` float32 of patches: the output of `stage`, flattened.

        A stage above the share depth differs from leg to leg, so `leg` must name one.
        """
        given = self.checked(patches)
        width = self.width(stage, leg)
        pieces = list(self.features_of(_pieces(given), stage, leg))
        return np.concatenate([np.empty((0, width), np.float32), *pieces])

    def predict_proba(self, patches: ArrayLike, task: str | None = None) -> NDArray[np.float64]:
        """Class probabilities `(n, classes)` float64; `task` names the leg where there are several.

        Raises `UsageError` where the task has no classes.
        """
        leg = self.leg(task)
        if not self.tasks[leg].classes:
            raise UsageError(f"The task {leg!r} has a number, no classes. Use predict.")
        return self._answers(patches, leg).astype(np.float64)

    def predict(self, patches: ArrayLike, task: str | None = None) -> NDArray[Any]:
        """The likeliest class of each patch, `(n,)` str, or its number, `(n,)` float64."""
        leg = self.leg(task)
        answers = self._answers(patches, leg)
        if not self.tasks[leg].classes:
            return answers.astype(np.float64)
        named: NDArray[np.str_] = np.asarray(self.tasks[leg].classes)[answers.argmax(axis=1)]
        return named

    def leg(self, name: str | None) -> str:
        """The leg of a name, or the only one; `UsageError` where there is none, or several."""
        if name is None and len(self.tasks) == 1:
            return next(iter(self.tasks))
        if name is None or name not in self.tasks:
            said = "Name the task" if name is None else f"There is no task {name!r} in {self.name}"
            raise UsageError(f"{said}: choose among {', '.join(self.tasks)}.")
        return name

    def width(self, stage: str = "fc2", leg: str | None = None) -> int:
        """Number of features, 200 at fc2."""
        blank = np.zeros((1, *self.patch_shape), dtype=np.uint8)
        (one,) = self.features_of([blank], stage, leg)
        return int(one.shape[1])

    def checked(self, patches: ArrayLike) -> NDArray[np.uint8]:
        """The patches, or a `UsageError` where they are not of the form that the model takes."""
        given = np.asarray(patches)
        if given.dtype != np.uint8 or given.shape[1:] != self.patch_shape:
            wanted = ", ".join(map(str, ("n", *self.patch_shape)))
            raise UsageError(
                f"{self.name} takes patches ({wanted}) uint8; these are {given.shape} "
                f"{given.dtype}. Cut them to that size, values 0 to 255."
            )
        return given

    def features_of(
        self,
        pieces: Iterable[NDArray[np.uint8]],
        stage: str,
        leg: str | None = None,
        *,
        label: str | None = None,
        total: int = 0,
    ) -> Iterator[NDArray[np.float32]]:
        """Features of each of `total` pieces of patches; with a `label`, progress is shown."""
        ask: Ask = lambda network, x: network.features(x, stage, leg)  # noqa: E731
        for found in infer(self.network, pieces, self.machine, ask, label=label, total=total):
            yield found.float().flatten(1).cpu().numpy()

    def answers_of(
        self,
        pieces: Iterable[NDArray[Any]],
        leg: str,
        *,
        label: str | None = None,
        total: int = 0,
    ) -> Iterator[NDArray[np.float32]]:
        """Predictions of a leg for each of `total` pieces: see `Task.answer`."""
        yield from answers(
            self.network, pieces, self.machine, leg, self.tasks[leg], label=label, total=total
        )

    def _answers(self, patches: ArrayLike, leg: str) -> NDArray[np.float32]:
        given = self.checked(patches)
        if not len(given):
            outputs = self.tasks[leg].outputs
            return np.empty((0, outputs) if self.tasks[leg].classes else 0, dtype=np.float32)
        return np.concatenate(list(self.answers_of(_pieces(given), leg)))


Ask = Callable[[Network, Tensor], Tensor]
"""What of a network is wanted for a batch `(n, c, h, w)`."""


def infer(
    network: Network,
    pieces: Iterable[NDArray[Any]],
    machine: Accelerator,
    ask: Ask,
    *,
    label: str | None = None,
    total: int = 0,
) -> Iterator[Tensor]:
    """The one inference loop: what `ask` wants of the network, in eval mode, for each piece.

    Pieces are patches `(n, h, w[, 3])` uint8, or float32 rows of what a trunk gave.
    """
    # Outside inference mode: weights that are moved within it could not be trained afterwards.
    place(network, machine.device).eval()
    return _infer(
        network, pieces if label is None else progress(pieces, total, label), machine, ask
    )


@torch.inference_mode()
def _infer(
    network: Network, pieces: Iterable[NDArray[Any]], machine: Accelerator, ask: Ask
) -> Iterator[Tensor]:
    for piece in pieces:
        inputs = to_input(as_tensor(piece), machine.device)
        with machine.autocast():
            found = ask(network, inputs)
        yield found


def answers(
    network: Network,
    pieces: Iterable[NDArray[Any]],
    machine: Accelerator,
    leg: str,
    task: Task,
    *,
    label: str | None = None,
    total: int = 0,
) -> Iterator[NDArray[np.float32]]:
    """Predictions of a leg of a network for each piece: see `Task.answer`."""
    ask: Ask = lambda made, x: made({leg: x})[leg]  # noqa: E731
    for scores in infer(network, pieces, machine, ask, label=label, total=total):
        yield task.answer(scores)


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
        known = config.channels in CHANNELS and config.precision in ("float32", "bfloat16")
        sound = known and bool(made) and isinstance(config.patch_size, int)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise DamagedError(f"{where} cannot be read. Restore the folder.")
    return config


def write_model(folder: Path, config: ModelConfig, network: Network) -> None:
    """Write config and weights; the folder is complete only with its `contents.json`."""
    check_network(network, str(folder))
    write_json(folder / CONFIG, {"version": MODEL_VERSION, **config.facts()})
    write_bytes(folder / WEIGHTS, _weights(network))


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


def _weights(network: Network) -> bytes:
    state = network.state_dict().items()
    return save({name: t.detach().cpu().contiguous() for name, t in state})


def _pieces(patches: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (patches[i : i + BATCH] for i in range(0, len(patches), BATCH))
