"""Run: the folder that a training leaves, enough by itself to predict."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from phototrace.errors import DamagedError, UsageError
from phototrace.files import (
    CONTENTS,
    check_contents,
    hash_of,
    is_complete,
    write_bytes,
    write_contents,
    write_json,
    write_text,
)
from phototrace.learning.network import BACKBONES, ConstrainedConv2d, Network, build_network
from phototrace.learning.recipe import Recipe

RUN_VERSION = 1
RECIPE, WEIGHTS, METRICS = "recipe.toml", "weights.safetensors", "metrics.jsonl"
PROVENANCE, SPLIT = "provenance.json", "split.json"

# Weights are float32, and each kernel's sum of 25 of them is exact to a few rounding errors.
CONSTRAINT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: Where it lies.
        recipe: All its choices.
        provenance: Versions, seed, machine, hashes of data and split, classes of each leg.
        split: What `split.json` says: part of each photo, devices and scenes of training.
    """

    folder: Path
    recipe: Recipe
    provenance: Mapping[str, Any]
    split: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Open a finished run, every hash checked.

        Raises `UsageError` where there is none, `DamagedError` where a file has changed.
        """
        if not folder.is_dir():
            raise UsageError(f"There is no run {folder}.")
        if not is_complete(folder):
            hint = (
                "Finish it with --resume." if (folder / "checkpoint").is_dir() else "Choose a run."
            )
            raise UsageError(f"{folder} is not a finished run. {hint}")
        check_contents(folder)
        try:
            provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
            split = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
            found = provenance["version"]
        except (OSError, ValueError, KeyError, TypeError):
            raise DamagedError(f"{folder} is not a run that can be read. Train it anew.") from None
        if found != RUN_VERSION:
            raise DamagedError(
                f"{folder} is a run of version {found}; this phototrace reads {RUN_VERSION}."
            )
        return cls(folder, Recipe.load(folder / RECIPE), provenance, split)

    @property
    def name(self) -> str:
        """What its recipe calls it."""
        return self.recipe.name

    @property
    def hash(self) -> str:
        """SHA-256 over the hashes of its files: names this network and no other."""
        contents = json.loads((self.folder / CONTENTS).read_text(encoding="utf-8"))
        return hash_of({name: entry["sha256"] for name, entry in contents["files"].items()})

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Leg name -> ordered class names."""
        return {leg: tuple(names) for leg, names in self.provenance["classes"].items()}

    def network(self, backbone: Callable[..., dict[str, torch.nn.Module]] | None = None) -> Network:
        """The trained network on the processor, in eval mode.

        `backbone` is needed where the run was trained with a function of your own: a run never
        imports code by itself. Raises `DamagedError` where weights do not fit or break Eq. 4.
        """
        choice = self.recipe.network
        function = backbone or BACKBONES.get(choice.backbone)
        if function is None:
            raise UsageError(
                f"{self.folder} was trained with the backbone {choice.backbone!r}. "
                "Pass that function as backbone=."
            )
        network = build_network(
            function,
            {leg: len(names) for leg, names in self.classes.items()},
            patch_size=choice.patch_size,
            channels=choice.channels,
            preset=choice.preset,
            share_depth=self.provenance.get("share_depth"),
        )
        load_weights(network, self.folder / WEIGHTS)
        return network.eval()


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
            raise DamagedError(f"A kernel of {where} breaks the constraint of Eq. 4. Train anew.")


def write_run(
    folder: Path,
    recipe: Recipe,
    network: Network,
    metrics: list[dict[str, Any]],
    provenance: Mapping[str, Any],
    split: Mapping[str, Any],
) -> Run:
    """Write a finished run; `contents.json` comes last and makes it one."""
    check_network(network, str(folder))
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    write_text(folder / RECIPE, recipe.to_toml())
    write_bytes(folder / WEIGHTS, save(tensors))
    write_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in metrics))
    write_json(folder / PROVENANCE, {"version": RUN_VERSION, **provenance})
    write_json(folder / SPLIT, dict(split))
    write_contents(folder, [RECIPE, WEIGHTS, METRICS, PROVENANCE, SPLIT])
    return Run.load(folder)


def machine() -> dict[str, Any]:
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
