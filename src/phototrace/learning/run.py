"""Run: the folder that a training leaves. It is a model, with the record of its training."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from phototrace.errors import DamagedError, UsageError
from phototrace.files import (
    check_contents,
    is_complete,
    write_bytes,
    write_contents,
    write_json,
    write_text,
)
from phototrace.learning.accelerator import DeviceName
from phototrace.learning.model import Model
from phototrace.learning.model_files import (
    CONFIG,
    WEIGHTS,
    ModelConfig,
    hash_in,
    load_config,
    write_model,
)
from phototrace.learning.network import Backbone, Network
from phototrace.learning.recipe import Recipe
from phototrace.learning.tasks import Task
from phototrace.patches.store import PatchStore
from phototrace.photos.remembered import Remembered

RUN_VERSION = 2
"""Version 1 kept no list of training photos but their hashes; it is still read."""
RECIPE, METRICS = "recipe.toml", "metrics.jsonl"
PROVENANCE, SPLIT = "provenance.json", "split.json"
TRAINED_PHOTOS, KEY = "trained.parquet", "trained.key"
STORES = "stores"
"""Folder beside the runs that holds their patches."""


@dataclass(frozen=True)
class Run:
    """A finished training: a model, and the record of how it came about.

    Attributes:
        folder: Where it lies.
        recipe: All its choices.
        config: What its model is.
        provenance: Versions, machine, hashes of data and split, what was left out.
        split: What `split.json` says: the part of each photo, by its hash.
        trained: What training photos are known again by; None where the run keeps no such list.
    """

    folder: Path
    recipe: Recipe
    config: ModelConfig
    provenance: Mapping[str, Any]
    split: Mapping[str, Any]
    trained: Remembered | None = None

    @classmethod
    def load(cls, folder: Path | str) -> Run:
        """Load a finished run, every hash checked.

        Raises `UsageError` where there is none, `DamagedError` where a file has changed.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise UsageError(f"There is no run {folder}.")
        if not is_complete(folder):
            hint = (
                "Finish it with --resume." if (folder / "checkpoint").is_dir() else "Choose a run."
            )
            raise UsageError(f"{folder} is not a finished run. {hint}")
        check_contents(folder)
        if not (folder / PROVENANCE).is_file():
            raise UsageError(f"{folder} is a model without the record of its training, not a run.")
        try:
            provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
            split = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
            found = provenance["version"]
        except (OSError, ValueError, KeyError, TypeError):
            raise DamagedError(f"{folder} is not a run that can be read. Train it again.") from None
        if found not in (1, RUN_VERSION):
            raise DamagedError(
                f"{folder} is a run of version {found}; this phototrace reads {RUN_VERSION}."
            )
        recipe, config = Recipe.load(folder / RECIPE), load_config(folder)
        trained = _load_trained(folder) if found != 1 else None
        return cls(folder, recipe, config, provenance, split, trained)

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """A run, or a model without the record of its training: to be tested, not trained further.

        Of such a model nothing is known of its photos: `provenance` is empty, `trained` None.
        Raises as `load`.
        """
        folder = Path(folder)
        if not is_complete(folder) or (folder / PROVENANCE).is_file():
            return cls.load(folder)
        check_contents(folder)
        config = load_config(folder)
        recipe = Recipe.parse(_recipe_of(config), f"the model {folder}")
        return cls(folder, recipe, config, {}, {"hash": "", "part": {}, "excluded": {}})

    @property
    def name(self) -> str:
        """What its recipe calls it."""
        return self.recipe.name

    @cached_property
    def hash(self) -> str:
        """The hash of its model, `Model.hash`: names this network and no other."""
        return hash_in(self.folder)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Leg name -> its task."""
        return self.config.tasks

    def model(self, *, device: DeviceName = "auto", backbone: Backbone | None = None) -> Model:
        """What predicts; see `Model.load`."""
        return Model.load(self.folder, device=device, backbone=backbone)

    def store(self, leg: str | None = None) -> PatchStore:
        """The patches that a leg was trained on, where they still lie beside the run.

        Raises `UsageError` where they do not, or `leg` must be named.
        """
        names = self.provenance["stores"]
        if leg is None and len(names) == 1:
            leg = next(iter(names))
        if leg not in names:
            raise UsageError(f"{self.folder} has patches of: {', '.join(names)}. Name one.")
        folder = self.folder.parent / STORES / names[leg]
        if not folder.is_dir():
            raise UsageError(f"The patches {folder} are gone. Train again to cut them.")
        return PatchStore.load(folder)


def require_free(folder: Path, recipe: Recipe, split_hash: str, resume: bool) -> None:
    """Raise `UsageError` where a training of `recipe` cannot end in `folder`.

    It is asked before patches are cut, which may take long: where a run of other choices or of
    another split lies there, or an unfinished one that is not to be resumed.
    """
    if is_complete(folder):
        run = Run.load(folder)
        same = run.recipe.choices() == recipe.choices() and run.split["hash"] == split_hash
        if not same:
            raise UsageError(
                f"{folder} holds a run of other choices or data. Choose another name or folder."
            )
    elif (folder / "checkpoint").is_dir() and not resume:
        raise UsageError(
            f"{folder} holds an unfinished training. Go on with --resume, or remove the folder."
        )


def write_run(
    folder: Path,
    recipe: Recipe,
    config: ModelConfig,
    network: Network,
    metrics: list[dict[str, Any]],
    provenance: Mapping[str, Any],
    split: Mapping[str, Any],
    trained: Remembered,
) -> Run:
    """Write a finished run; `contents.json` comes last and makes it one.

    The key of `trained` is not among its contents: it may be removed before a run is shared.
    """
    write_model(folder, config, network)
    write_text(folder / RECIPE, recipe.to_toml())
    write_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in metrics))
    write_json(folder / PROVENANCE, {"version": RUN_VERSION, **provenance})
    write_json(folder / SPLIT, dict(split))
    trained.save(folder / TRAINED_PHOTOS)
    if trained.key:
        write_bytes(folder / KEY, trained.key.hex().encode())
    files = [CONFIG, WEIGHTS, RECIPE, METRICS, PROVENANCE, SPLIT, TRAINED_PHOTOS]
    write_contents(folder, files)
    return Run.load(folder)


def _load_trained(folder: Path) -> Remembered:
    try:
        key = bytes.fromhex((folder / KEY).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        key = b""
    except (OSError, ValueError):
        raise DamagedError(f"{folder / KEY} cannot be read. Restore or remove it.") from None
    return Remembered.load(folder / TRAINED_PHOTOS, key)


def _recipe_of(config: ModelConfig) -> dict[str, Any]:
    """The choices of a recipe that a model alone tells; all others are as where none are made."""
    form = ("backbone", "patch_size", "channels", "preset", "share_depth")
    network = {key: getattr(config, key) for key in form if getattr(config, key) is not None}
    legs = {
        leg: {"task": task.name, "classes": list(task.classes)}
        for leg, task in config.tasks.items()
    }
    return {"name": config.name, "network": network, "legs": legs}


def machine_facts() -> dict[str, Any]:
    """Versions and processor, as provenance names them."""
    libraries = ("phototrace", "torch", "numpy", "pillow", "opencv-python-headless")
    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in libraries},
        "system": platform.system(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
