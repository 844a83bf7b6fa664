"""Batch norms that several legs share: each leg is normalised by its own statistics.

The paper (Sec. 4.2) trains a network for each task and averages the normalisation parameters of
the shared layers after every iteration. Here the legs' batches lie in one tensor: every batch norm
takes them apart, moves its running statistics once by each leg alone, and keeps the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from phototrace.errors import UsageError


@contextmanager
def per_leg(module: nn.Module, sizes: Sequence[int]) -> Iterator[None]:
    """Within, every batch norm of `module` sees a batch of legs, `sizes` rows each, leg by leg.

    Whatever the batch norm's dimension and its own rule for running averages.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        setattr(norm, "forward", partial(normalise_legs, norm, norm.forward, list(sizes)))  # noqa: B010
    try:
        yield
    finally:
        for norm in norms:
            delattr(norm, "forward")


def normalise_legs(
    norm: nn.Module, forward: Callable[[Tensor], Tensor], sizes: list[int], x: Tensor
) -> Tensor:
    """`forward` of each leg's rows alone; running statistics move by the legs' unweighted mean.

    Moving from the same start by each leg and taking the mean is moving by the mean statistics,
    for the update is linear in them.
    """
    if len(x) != sum(sizes):
        raise UsageError(
            f"A shared batch norm met {len(x)} rows where the legs have {sum(sizes)} patches, so "
            "legs cannot be told apart. Keep the batch as the first dimension up to share_depth."
        )
    start = dict(norm.named_buffers(recurse=False))
    results, moved = [], []
    for rows in torch.split(x, sizes):
        for name, buffer in start.items():
            setattr(norm, name, buffer.clone())
        results.append(forward(rows))
        moved.append([getattr(norm, name) for name in start])
    for (name, buffer), values in zip(start.items(), zip(*moved, strict=True), strict=True):
        # The count of batches is the same for all legs.
        buffer.copy_(torch.stack(values).mean(0) if buffer.is_floating_point() else values[0])
        setattr(norm, name, buffer)
    return torch.cat(results)
