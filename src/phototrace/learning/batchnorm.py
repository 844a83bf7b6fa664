"""Batch norms that several legs share: each leg is normalised by its own statistics.

The paper (Sec. 4.2) trains a network for each task and averages the normalisation parameters of
the shared layers after every iteration. Here the legs' batches lie in one tensor: every batch norm
takes them apart, moves its running statistics once by each leg alone, and keeps the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from phototrace.errors import UsageError


class LegStatistics(_BatchNorm):
    """Mixed into a batch norm, whatever its dimension and its own rule for running averages.

    Attributes:
        leg_sizes: Rows of each leg in the batches that come next, one leg after another; with
            fewer than two the batch is one as ever.
    """

    leg_sizes: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Normalised `x`, in training each leg's rows by their own statistics."""
        if len(self.leg_sizes) < 2 or not (self.training or self.running_mean is None):
            return super().forward(x)
        return normalise_legs(self, super().forward, self.leg_sizes, x)


class LegBatchNorm1d(LegStatistics, nn.BatchNorm1d):
    """Batch norm of `(n, c)` or `(n, c, l)`."""


class LegBatchNorm2d(LegStatistics, nn.BatchNorm2d):
    """Batch norm of `(n, c, h, w)`."""


class LegBatchNorm3d(LegStatistics, nn.BatchNorm3d):
    """Batch norm of `(n, c, d, h, w)`."""


class CorrectedBatchNorm2d(LegBatchNorm2d):
    """Batch norm whose moving averages are corrected for their start, as Caffe's are.

    Caffe divides its accumulated statistics by the accumulated weight. With a decay of 0.999
    PyTorch's plain average would still be near its starting point after a short training.
    """

    DECAY = 0.999
    # `num_batches_tracked`, known without asking the device; None where it is to be asked.
    _count: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalised `(n, c, h, w)`."""
        if self.training:
            self.take_momentum_()
        return super().forward(x)

    def take_momentum_(self) -> None:
        """Set the momentum to that of the batch that comes next."""
        before = int(self.num_batches_tracked or 0) if self._count is None else self._count
        self._count = before + 1
        self.momentum = (1 - self.DECAY) / (1 - self.DECAY**self._count)

    def reset_running_stats(self) -> None:
        """Begin again."""
        super().reset_running_stats()
        self._count = None

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._count = None


_OF_LEGS: dict[type[nn.Module], type[LegStatistics]] = {
    nn.BatchNorm1d: LegBatchNorm1d,
    nn.BatchNorm2d: LegBatchNorm2d,
    nn.BatchNorm3d: LegBatchNorm3d,
}


def share_norms_(module: nn.Module) -> None:
    """Let every batch norm of `module` tell legs apart; parameters and their names stay.

    Raises `UsageError` where one is of a kind that this is not known to be right for.
    """
    for norm in module.modules():
        if not isinstance(norm, _BatchNorm) or isinstance(norm, LegStatistics):
            continue
        kind = _OF_LEGS.get(type(norm))
        if kind is None:
            raise UsageError(
                f"A {type(norm).__name__} cannot be shared between tasks. Use nn.BatchNorm1d, 2d "
                "or 3d, or derive your own from LegStatistics as well."
            )
        # The class alone differs: what the norm holds is what it held.
        norm.__class__ = kind


def shared_norms(module: nn.Module) -> Iterator[LegStatistics]:
    """The batch norms of `module` that can tell legs apart."""
    return (norm for norm in module.modules() if isinstance(norm, LegStatistics))


def normalise_legs(
    norm: nn.Module, forward: Callable[[Tensor], Tensor], sizes: Sequence[int], x: Tensor
) -> Tensor:
    """`forward` of each leg's rows alone; running statistics move by the legs' unweighted mean.

    Moving from the same start by each leg and taking the mean is moving by the mean statistics,
    for the update is linear in them.
    """
    check_rows(x, sizes)
    start = dict(norm.named_buffers(recurse=False))
    results, moved = [], []
    for rows in torch.split(x, list(sizes)):
        for name, buffer in start.items():
            setattr(norm, name, buffer.clone())
        results.append(forward(rows))
        moved.append([getattr(norm, name) for name in start])
    for (name, buffer), values in zip(start.items(), zip(*moved, strict=True), strict=True):
        # The count of batches is the same for all legs.
        buffer.copy_(torch.stack(values).mean(0) if buffer.is_floating_point() else values[0])
        setattr(norm, name, buffer)
    return torch.cat(results)


def check_rows(x: Tensor, sizes: Sequence[int]) -> None:
    """Raise `UsageError` unless the rows of `x` are the legs' patches."""
    if len(x) != sum(sizes):
        raise UsageError(
            f"A shared batch norm met {len(x)} rows where the legs have {sum(sizes)} patches, so "
            "legs cannot be told apart. Keep the batch as the first dimension up to share_depth."
        )


@torch.no_grad()
def move_averages_(norm: nn.BatchNorm2d, means: Tensor, variances: Tensor) -> None:
    """Move the running statistics as `norm` would by a batch of legs with these, `(legs, c)`."""
    if isinstance(norm, CorrectedBatchNorm2d):
        norm.take_momentum_()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(means.mean(0), share)
    norm.running_var.lerp_(variances.mean(0), share)
