"""Checkpoints: all that a training needs to go on bit for bit, written whole.

Each lies in a folder of its own named by its step; an older one goes only when the newer is
complete, so a kill at any moment leaves one that can be read.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from phototrace.errors import DamagedError
from phototrace.files import check_contents, write_bytes, write_contents, write_json
from phototrace.learning.model_files import check_network
from phototrace.learning.network import Network

STATE, TENSORS = "state.json", "tensors.safetensors"
VERSION = 2


@dataclass
class Progress:
    """How far a training is: the next step, finished epochs' figures, and the running epoch's.

    Attributes:
        step: Steps done.
        metrics: One row an epoch.
        sums: Leg -> loss and score (`Task.score`) summed over the patches of the running epoch, and
            how many of these had a label, `(3,)` float64 on the device: to fetch them is to wait.
        seconds: Time spent so far, interruptions left out.
    """

    step: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, leg: str, new: torch.Tensor) -> None:
        """Count a batch of a leg by its `figures`."""
        self.sums[leg] = self.sums[leg].to(new.device) + new if leg in self.sums else new

    def means(self) -> dict[str, tuple[float, float]]:
        """Leg -> mean loss and mean score of the running epoch, fetched from the device."""
        found = {leg: sums.tolist() for leg, sums in self.sums.items()}
        return {leg: (a / max(1, n), b / max(1, n)) for leg, (a, b, n) in found.items()}


def figures(loss: torch.Tensor, score: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """What `Progress` sums, `(3,)`, of mean loss, sum of scores, and patches with a label."""
    return torch.stack([loss.detach().double() * patches, score.double(), patches.double()])


def save_checkpoint(
    folder: Path,
    plan: str,
    network: Network,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write weights, optimiser state and progress; `plan` names the training they belong to."""
    check_network(network, "the network in training")
    place = folder / f"step-{progress.step:09d}"
    if place.exists():
        shutil.rmtree(place)
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    for (group, k), parameter in _numbered(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{group}.{k}.{key}"] = value
    whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_bytes(place / TENSORS, save(whole))
    sums = {leg: of_leg.tolist() for leg, of_leg in progress.sums.items()}
    write_json(
        place / STATE,
        {"version": VERSION, "plan": plan, "progress": {**vars(progress), "sums": sums}},
    )
    write_contents(place, [TENSORS, STATE])
    for older in folder.glob("step-*"):
        if older.name != place.name:
            shutil.rmtree(older, ignore_errors=True)


def load_checkpoint(
    folder: Path, plan: str, network: Network, optimizer: torch.optim.Optimizer
) -> Progress | None:
    """Restore the newest checkpoint that is whole, or return None where there is none.

    Raises `DamagedError` where it belongs to a training with other choices or data.
    """
    for place in sorted(folder.glob("step-*"), reverse=True):
        try:
            check_contents(place)
        except DamagedError:
            continue
        state = json.loads((place / STATE).read_text(encoding="utf-8"))
        if state["plan"] != plan:
            raise DamagedError(
                f"{place} belongs to a training with other choices, data, threads or device. "
                "Train without --resume into another folder."
            )
        if state["version"] != VERSION:
            raise DamagedError(
                f"{place} was written by another phototrace (version {state['version']}, this one "
                f"reads {VERSION}). Train without --resume into another folder."
            )
        _restore(load((place / TENSORS).read_bytes()), network, optimizer)
        progress = Progress(**state["progress"])
        sums = {leg: torch.tensor(v, dtype=torch.float64) for leg, v in progress.sums.items()}
        return replace(progress, sums=sums)
    return None


def _restore(
    tensors: dict[str, torch.Tensor], network: Network, optimizer: torch.optim.Optimizer
) -> None:
    weights = {k.removeprefix("network."): v for k, v in tensors.items() if k[:8] == "network."}
    network.load_state_dict(weights)
    for (group, k), parameter in _numbered(optimizer):
        prefix = f"optimizer.{group}.{k}."
        for name, value in tensors.items():
            if not name.startswith(prefix):
                continue
            key = name.removeprefix(prefix)
            # A buffer keeps its parameter's memory order: the arithmetic stays bit-equal.
            same = value.shape == parameter.shape and key != "step"
            buffer = torch.empty_like(parameter) if same else torch.empty_like(value)
            optimizer.state[parameter][key] = buffer.copy_(value)


def _numbered(
    optimizer: torch.optim.Optimizer,
) -> list[tuple[tuple[int, int], torch.nn.Parameter]]:
    groups = enumerate(optimizer.param_groups)
    return [((g, k), p) for g, group in groups for k, p in enumerate(group["params"])]
