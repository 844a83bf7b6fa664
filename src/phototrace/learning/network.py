"""MISLnet (paper Sec. 3) as named stages, and a network cut at a share depth.

A backbone is a function `(patch_size, channels, outputs, preset) -> dict of named stages` in
order; the names are the share depths. Its last stage is called `output` and gives one number a
class, or one in all.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from phototrace.errors import UsageError
from phototrace.learning.batchnorm import CorrectedBatchNorm2d, share_norms_, shared_norms
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.fast import run

Stages = dict[str, nn.Module]


class Backbone(Protocol):
    """Makes the named stages of a network for patches of a size and a task's number of outputs."""

    def __call__(self, patch_size: int, channels: int, outputs: int, preset: str, /) -> Stages:
        """Stages in order, the last one giving `(n, outputs)` scores (before softmax)."""
        ...


PRESETS = ("modern", "caffe")
"""Initialisation and batch-norm averages: PyTorch's customs for tanh, or the original's."""


def mislnet(patch_size: int, channels: int, outputs: int, preset: str = "modern") -> Stages:
    """The paper's network: eight stages from `constr` to `output`.

    Input is `(n, channels, patch_size, patch_size)` with raw values 0..255. Pooling rounds up, as
    in Caffe, so that conv1 gives 63 x 63 at 256 px. Convolutions are followed by batch norm, tanh
    and pooling, maximum in conv1 to conv3, average in conv4.
    """
    stages: Stages = {
        "constr": ConstrainedConv2d(channels, 3, 5),
        "conv1": _block(nn.Conv2d(3, 96, 7, stride=2, padding=3), preset),
        "conv2": _block(nn.Conv2d(96, 64, 5, padding=2), preset),
        "conv3": _block(nn.Conv2d(64, 64, 5, padding=2), preset),
        "conv4": _block(nn.Conv2d(64, 128, 1), preset, average=True),
    }
    side = mislnet_side(patch_size)
    stages["fc1"] = nn.Sequential(nn.Flatten(), nn.Linear(128 * side * side, 200), nn.Tanh())
    stages["fc2"] = nn.Sequential(nn.Linear(200, 200), nn.Tanh())
    stages["output"] = nn.Linear(200, outputs)
    for name, stage in stages.items():
        _initialise(name, stage, preset)
    return stages


def mislnet_side(patch_size: int) -> int:
    """Side of conv4's output: 7 at 256 px, 3 at 128, 2 at 96, 1 at 64."""
    side = (patch_size - 4 + 6 - 7) // 2 + 1
    for _ in range(4):
        side = -(-(side - 3) // 2) + 1
    return side


def _block(convolution: nn.Conv2d, preset: str, *, average: bool = False) -> nn.Sequential:
    normalise = CorrectedBatchNorm2d if preset == "caffe" else nn.BatchNorm2d
    pool = nn.AvgPool2d(3, 2, ceil_mode=True) if average else nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(convolution, normalise(convolution.out_channels), nn.Tanh(), pool)


def _initialise(name: str, stage: nn.Module, preset: str) -> None:
    """Weights uniform within sqrt(3 / fan-in) in both presets; the presets differ in biases."""
    for layer in stage.modules():
        if isinstance(layer, ConstrainedConv2d) or not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        bound = sqrt(3 / layer.weight[0].numel())
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            start = {"output": 0.0, "fc1": 1.0, "fc2": 1.0}.get(name, 0.1)
            nn.init.constant_(layer.bias, start if preset == "caffe" else 0.0)


BACKBONES: dict[str, Backbone] = {"mislnet": mislnet}
"""The backbones that recipes can name; Python passes any function of the same form."""

CHANNELS = {"green": 1, "rgb": 3}


class Network(nn.Module):
    """Shared lower stages (the trunk, the paper's f) and one head (g) for each leg.

    Args:
        trunk: Named stages up to and including the share depth.
        heads: Leg name -> named stages above the share depth, ending in scores.

    Attributes:
        frozen: Whether the trunk stays as it is: in eval mode, without gradients or projection.
    """

    def __init__(self, trunk: Mapping[str, nn.Module], heads: Mapping[str, Stages]) -> None:
        super().__init__()
        self.frozen = False
        self._norms_frozen = False
        self.trunk = nn.ModuleDict(trunk)
        self.heads = nn.ModuleDict({leg: nn.ModuleDict(stages) for leg, stages in heads.items()})
        share_norms_(self.trunk)

    def forward(
        self, patches: Mapping[str, Tensor], weights: Mapping[str, float] | None = None
    ) -> dict[str, Tensor]:
        """Scores of every leg, its batches through the trunk as one (paper Sec. 4.2).

        In training every shared batch norm takes its statistics leg by leg. Backwards, `weights`
        (lambda_t of Eq. 6, 1 where none is given) scales what a leg sends into the trunk; heads
        are not scaled.

        Args:
            patches: Leg name -> `(n, c, h, w)` with values 0..255. Legs that have one and the same
                tensor share its way through the trunk, and its statistics.
            weights: Leg name -> lambda_t.

        Returns: Leg name -> `(n, outputs)`, of a task with classes before softmax.
        """
        batches = {id(rows): rows for rows in patches.values()}
        sizes = tuple(map(len, batches.values()))
        for norm in shared_norms(self.trunk):
            norm.leg_sizes = sizes
        if len(batches) == 1:
            parts = {key: self.shared(rows) for key, rows in batches.items()}
        else:
            shared = self.shared(torch.cat(list(batches.values())))
            parts = dict(zip(batches, torch.split(shared, list(sizes)), strict=True))
        scores = {}
        for leg, rows in patches.items():
            weight = (weights or {}).get(leg, 1.0)
            own = parts[id(rows)]
            if weight != 1 and own.requires_grad and len(patches) > 1:
                # Exact: backpropagation is linear, and what comes through this view is this leg's.
                own = own.view_as(own)
                own.register_hook(partial(torch.mul, other=weight))  # type: ignore[no-untyped-call]
            scores[leg] = self._head(own, leg)
        return scores

    def shared(self, patches: Tensor) -> Tensor:
        """What the trunk gives for `(n, c, h, w)` patches: the output of the share depth."""
        return run(list(self.trunk.values()), patches)

    def _head(self, x: Tensor, leg: str) -> Tensor:
        head = self.heads[leg]
        assert isinstance(head, nn.ModuleDict)
        return run(list(head.values()), x)

    def freeze_batch_norm_(self) -> Network:
        """Let batch norms keep their running averages, and normalise by them, from here on.

        What a leg is trained on is then what it is tested on.
        """
        self._norms_frozen = True
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def freeze_trunk_(self) -> Network:
        """Keep the trunk as it is from here on, whatever is trained above it (paper Sec. 4.1)."""
        self.frozen = True
        self.trunk.requires_grad_(False).eval()
        return self

    def above_trunk(self) -> Network:
        """The heads alone, on the same weights: it takes the trunk's output for patches."""
        heads = {leg: dict(head.items()) for leg, head in self.heads.items()}  # type: ignore[operator]
        return Network({}, heads)

    def train(self, mode: bool = True) -> Network:
        """As any module, but a frozen trunk and frozen batch norms stay in eval mode."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self.freeze_batch_norm_() if self._norms_frozen else self

    def features(self, patches: Tensor, stage: str, leg: str | None = None) -> Tensor:
        """Output `(n, ...)` of `stage` for `(n, c, h, w)` patches: the paper's deep features.

        A stage above the share depth differs from leg to leg, so `leg` must name one.
        Raises `UsageError` where there is no such stage or leg.
        """
        path = dict(self.trunk.items())
        if leg is not None and leg not in self.heads:
            raise UsageError(f"There is no leg {leg!r}. The legs: {', '.join(self.heads)}.")
        heads = [self.heads[leg]] if leg is not None else list(self.heads.values())
        above = {name: module for head in heads for name, module in head.named_children()}
        if stage not in path | above:
            raise UsageError(
                f"There is no stage {stage!r}. Choose among {', '.join(path | above)}."
            )
        if stage not in path and leg is None:
            raise UsageError(
                f"The stage {stage!r} lies above the share depth, where every leg has its own: "
                f"name the leg, one of {', '.join(self.heads)}."
            )
        names = list(path | above)
        below = names[: names.index(stage) + 1]
        return run([(path | above)[name] for name in below], patches)

    @torch.no_grad()
    def project_(self) -> None:
        """Apply every stage's constraint; the loop calls this after each optimiser step.

        A frozen trunk is left alone: to divide once more would move it by rounding.
        """
        for module in (self.heads if self.frozen else self).modules():
            if module is not self and callable(project := getattr(module, "project_", None)):
                project()


def build_network(
    backbone: Callable[..., Stages],
    legs: Mapping[str, int],
    *,
    patch_size: int,
    channels: str = "green",
    preset: str = "modern",
    share_depth: str | None = None,
    seed: int = 0,
) -> Network:
    """A network with one trunk and a head for each leg (name -> number of outputs).

    `share_depth` names the last shared stage; None shares all but the output. Weights are drawn
    from `seed` alone, whatever torch's global random state. Raises `UsageError` where a leg has a
    name that torch does not take.
    """
    for leg in legs:
        if not leg or "." in leg or hasattr(nn.ModuleDict(), leg):
            raise UsageError(f"A leg cannot be called {leg!r}. Choose another name.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = {
            leg: backbone(patch_size, CHANNELS[channels], outputs, preset)
            for leg, outputs in legs.items()
        }
    names = list(next(iter(made.values())))
    depth = names[-2] if share_depth is None else share_depth
    check_share_depth(depth, names)
    cut = names.index(depth) + 1
    first = next(iter(made.values()))
    trunk = {name: first[name] for name in names[:cut]}
    heads = {leg: {name: stages[name] for name in names[cut:]} for leg, stages in made.items()}
    return Network(trunk, heads)


def check_share_depth(depth: str, stages: Sequence[str]) -> None:
    """Raise `UsageError` unless `depth` is one of the stages below the last."""
    if depth not in stages[:-1]:
        near = difflib.get_close_matches(depth, stages[:-1], n=1, cutoff=0.5)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"There is no share depth {depth!r}.{meant} Choose among {', '.join(stages[:-1])}."
        )
