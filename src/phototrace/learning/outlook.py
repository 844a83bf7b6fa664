"""What a training would take, before it begins: patches, steps, parameters and memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from phototrace.learning.network import CHANNELS, Network
from phototrace.learning.preparing import Experiment

PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Outlook:
    """What a training would take, without decoding a photo.

    Attributes:
        patches: Leg with patches of its own -> how many train.
        steps: In an epoch.
        epochs: How many.
        parameters: Of the network that are trained.
        memory: Precision -> bytes that one process keeps in a step: weights, gradients and the
            optimiser's averages, and for each patch what the backward pass needs.
    """

    patches: Mapping[str, int]
    steps: int
    epochs: int
    parameters: int
    memory: Mapping[str, int]

    def sentence(self) -> str:
        """In words."""
        patches = ", ".join(f"{leg} {count:,}" for leg, count in self.patches.items())
        memory = ", ".join(f"{size / 1e9:.2f} GB in {name}" for name, size in self.memory.items())
        return (
            f"Training patches: {patches}. {self.epochs} epochs of {self.steps:,} steps. "
            f"{self.parameters:,} parameters. A step keeps about {memory} on each CUDA device; "
            "a processor keeps less, and so does training above a frozen trunk."
        )


def outlook(experiment: Experiment, processes: int = 1) -> Outlook:
    """What the training of an experiment by so many processes would take."""
    recipe = experiment.recipe
    patches = {leg: plan.total("train") for leg, plan in experiment.plans.items()}
    network = experiment.config("float32").network()
    weights = sum(p.numel() for p in network.parameters())
    # Weight and gradient, and what the optimiser remembers of each.
    always = 4 * weights * {"sgd": 3, "adamw": 4}[recipe.training.optimizer]
    channels, side = CHANNELS[recipe.network.channels], recipe.network.patch_size
    shape = channels, side, side
    batch = {leg: recipe.cutting(leg).batch_size // processes for leg in recipe.legs}
    memory = {}
    for name, kind in PRECISIONS.items():
        with torch.autocast("cpu", kind, enabled=name != "float32"):
            trunk, heads = kept_bytes(network, shape)
        # Legs that take the patches of another go through the trunk with them.
        below = trunk * sum(batch[leg] for leg in patches)
        memory[name] = always + below + sum(heads[leg] * batch[leg] for leg in batch)
    steps = max(-(-count // recipe.legs[leg].batch_size) for leg, count in patches.items())
    return Outlook(patches, steps, recipe.training.epochs, weights, memory)


def kept_bytes(network: Network, shape: Sequence[int]) -> tuple[int, dict[str, int]]:
    """Bytes a patch that trunk and heads keep for the backward pass, taken module by module.

    It is found with two patches and with four, for some things are kept once for all patches.
    """
    found = []
    for count in (2, 4):
        x, trunk = _kept(network.trunk.values(), torch.zeros(count, *shape))
        heads = {leg: _kept(head.values(), x)[1] for leg, head in network.heads.items()}  # type: ignore[operator]
        found.append((trunk, heads))
    (trunk, heads), (more, larger) = found
    return (more - trunk) // 2, {leg: (larger[leg] - heads[leg]) // 2 for leg in heads}


def _kept(stages: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, int]:
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for stage in stages:
            x = stage(x)
    return x, sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
