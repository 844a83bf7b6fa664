"""Model: what predicts. A network and how to rebuild it, without the record of its training.

A folder with `model.json`, `weights.safetensors` and `contents.json` (their SHA-256) is a model; a
run's folder is one too. Patches come from memory: no store, manifest or split is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from phototrace.errors import UsageError
from phototrace.files import check_contents, is_complete, locked, write_contents
from phototrace.learning.accelerator import (
    Accelerator,
    DeviceName,
    accelerator,
    place,
    to_input,
)
from phototrace.learning.batches import as_tensor
from phototrace.learning.fast import lanes_of
from phototrace.learning.model_files import (
    CONFIG,
    WEIGHTS,
    ModelConfig,
    hash_now,
    load_config,
    load_weights,
    write_model,
)
from phototrace.learning.network import CHANNELS, Backbone, Network
from phototrace.learning.tasks import Task
from phototrace.progress import progress

BATCH = 64
"""Patches that go through a network at once, outside training."""


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
        return hash_now(self.config, self.network)

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
        if not len(given):
            return np.empty((0, self.width(stage, leg)), dtype=np.float32)
        return np.concatenate(list(self.features_of(_pieces(given), stage, leg)))

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
        with lanes_of(network), machine.autocast():
            found = ask(network, to_input(as_tensor(piece), machine.device))
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


def _pieces(patches: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (patches[i : i + BATCH] for i in range(0, len(patches), BATCH))
