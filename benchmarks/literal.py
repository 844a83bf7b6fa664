"""Multitask learning to the paper's letter (Sec. 4.2): as many networks as tasks.

The plain reference for phototrace's one network with a trunk and heads: for its results (a test
holds both equal in float64) and for its speed (`multitask_speed.py`). Nothing here uses the
project's own training code; only the layers of the networks are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Batch = Mapping[str, tuple[Tensor, Tensor]]
Autocast = Callable[[], AbstractContextManager[Any]]


def one_by_one(stages: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What `stages` give by their own definition."""
    for stage in stages:
        x = stage(x)
    return x


class LiteralNetworks:
    """One whole network a task, kept equal in the stages up to the share depth.

    Args:
        networks: Task -> named stages. The shared ones must be equal at the start.
        shared: Names of the stages that the tasks share.
        weights: Task -> lambda of Eq. 6.
        momentum, decay: Of SGD. Decay is on weights alone, not on biases and batch norms.
        bias_rate: Factor on the rate of biases.
        run: How stages are run, module by module unless told.
    """

    def __init__(
        self,
        networks: Mapping[str, Mapping[str, nn.Module]],
        shared: list[str],
        weights: Mapping[str, float],
        *,
        momentum: float = 0.9,
        decay: float = 0.0,
        bias_rate: float = 1.0,
        run: Callable[[list[nn.Module], Tensor], Tensor] = one_by_one,
    ) -> None:
        self.networks = {task: nn.ModuleDict(stages) for task, stages in networks.items()}
        self.shared, self.weights = shared, weights
        self.momentum, self.decay, self.bias_rate = momentum, decay, bias_rate
        self.run = run
        self.velocity: dict[tuple[str, str], Tensor] = {}

    def step(self, batch: Batch, rate: float, autocast: Autocast = nullcontext) -> float:
        """One iteration of every network; return the sum of the losses."""
        total = 0.0
        for task, (patches, labels) in batch.items():
            network = self.networks[task].train()
            network.zero_grad()
            with autocast():
                x = self.run(list(network.values()), patches)
            x = x if x.dtype == torch.float64 else x.float()
            loss = nn.functional.cross_entropy(x, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        with torch.no_grad():
            self._share_gradients()
            for task, network in self.networks.items():
                self._update(task, network, rate)
                project(network)
            self._average_normalisation()
        return total

    def _share_gradients(self) -> None:
        """Eq. 6: every network's shared stages get the weighted sum of all tasks' gradients."""
        for name in self.shared:
            for together in zip(
                *(n[name].parameters() for n in self.networks.values()), strict=True
            ):
                tasks = zip(self.networks, together, strict=True)
                summed = torch.stack([self.weights[t] * _gradient(p) for t, p in tasks]).sum(0)
                for parameter in together:
                    parameter.grad = summed.clone()

    def _update(self, task: str, network: nn.ModuleDict, rate: float) -> None:
        """SGD with momentum, as Eq. 5 and 7 have it and Caffe's decay on weights."""
        for name, kind, parameter in kinds(network):
            step = _gradient(parameter)
            if kind == "weight":
                step = step + self.decay * parameter
            before = self.velocity.get((task, name))
            velocity = step.clone() if before is None else self.momentum * before + step
            self.velocity[task, name] = velocity
            factor = self.bias_rate if kind == "bias" else 1.0
            parameter.sub_(rate * factor * velocity)

    def _average_normalisation(self) -> None:
        """Sec. 4.2, last paragraph: the mean of the networks' normalisation parameters."""
        for name in self.shared:
            buffers = [list(n[name].buffers()) for n in self.networks.values()]
            for together in zip(*buffers, strict=True):
                if together[0].is_floating_point():
                    mean = torch.stack(together).mean(0)
                    for buffer in together:
                        buffer.copy_(mean)


def kinds(network: nn.Module) -> Iterator[tuple[str, str, nn.Parameter]]:
    """Every parameter with its name and kind: "norm", "bias" or "weight"."""
    for place, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            kind = "bias" if name == "bias" else "weight"
            yield f"{place}.{name}", "norm" if isinstance(module, _BatchNorm) else kind, parameter


def project(network: nn.ModuleDict) -> None:
    """Eq. 4 on the first layer: -1 in the middle, the others divided by their sum."""
    weight = next(network.parameters())
    middle = weight.shape[-1] // 2
    weight[..., middle, middle] = 0
    weight.div_(weight.sum(dim=(2, 3), keepdim=True))
    weight[..., middle, middle] = -1


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
