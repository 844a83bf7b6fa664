"""Stages of a known form, computed faster than module by module, and equal to it.

The modules define what is computed: `stage(x)` for each. `run` takes another way (`block.py`) where
it knows the form of a stage, and theirs everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from phototrace.learning.batchnorm import (
    CorrectedBatchNorm2d,
    LegBatchNorm2d,
    check_rows,
    move_averages_,
)
from phototrace.learning.block import Block, Form, Pieces, Residual, fold
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.lanes import cut, lanes

_NORMS = (nn.BatchNorm2d, LegBatchNorm2d, CorrectedBatchNorm2d)


def run(stages: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What `stages` give for `x`, one after another."""
    while stages:
        constrained, blocks = _known(stages, x)
        x = _run_known(constrained, blocks, x) if blocks else stages[0](x)
        stages = stages[max(1, bool(constrained) + len(blocks)) :]
    return x


def lanes_of(network: nn.Module) -> AbstractContextManager[None]:
    """Lanes for a network with stages that take them; else operations keep their threads."""
    first = next(network.parameters(), None)
    on_processor = first is not None and first.device.type == "cpu"
    return lanes() if on_processor and any(map(_parts, network.modules())) else nullcontext()


class _Parts(NamedTuple):
    """What a stage of the known form is made of, besides tanh between norm and pool."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    pool: nn.MaxPool2d


def _parts(stage: nn.Module) -> _Parts | None:
    """Convolution, batch norm, tanh and maximum pooling, where no one looks in between."""
    if type(stage) is not nn.Sequential or len(stage) != 4:
        return None
    convolution, norm, squash, pool = stage.children()
    known = (
        type(convolution) is nn.Conv2d
        and isinstance(norm, nn.BatchNorm2d)
        and type(squash) is nn.Tanh
        and type(pool) is nn.MaxPool2d
        and type(norm) in _NORMS
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and convolution.bias is not None
        and norm.affine
        and norm.track_running_stats
        and not pool.return_indices
        and not any(m._forward_hooks or m._forward_pre_hooks for m in stage.modules())
    )
    return _Parts(convolution, norm, pool) if known else None  # type: ignore[arg-type]


def _known(stages: Sequence[nn.Module], x: Tensor) -> tuple[ConstrainedConv2d | None, list[_Parts]]:
    """The stages of known form that come next for `x`: a constrained one, and blocks."""
    if x.device.type != "cpu" or x.ndim != 4:
        return None, []
    first = stages[0]
    constrained = first if isinstance(first, ConstrainedConv2d) else None
    above = stages[1:] if constrained else stages
    blocks = [parts for parts in takewhile(bool, map(_parts, above)) if parts]
    if constrained and (x.requires_grad or not (blocks and _folds(blocks[0].convolution, x))):
        return None, []
    return constrained, blocks


def _folds(convolution: nn.Conv2d, x: Tensor) -> bool:
    """Whether a convolution is faster over folded pixels: stride 2, few channels, even sides."""
    reach = convolution.kernel_size[0] // 2
    return (
        convolution.kernel_size == (2 * reach + 1,) * 2
        and convolution.padding == (reach, reach)
        and reach % 2 == 1
        and convolution.stride == (2, 2)
        and convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.in_channels < 16
        and not any(side % 2 for side in x.shape[2:])
    )


def _run_known(constrained: ConstrainedConv2d | None, blocks: list[_Parts], x: Tensor) -> Tensor:
    own = blocks[0].convolution.weight.dtype
    precision = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else own
    with torch.autocast("cpu", enabled=False):
        sizes, legs = cut(_leg_sizes(blocks, x))
        pieces = torch.split(x, sizes)
        if constrained:
            pieces = _residuals(constrained.weight, precision, pieces)
        for number, parts in enumerate(blocks):
            pieces = tuple(piece.to(precision) for piece in pieces)
            pieces = _run_block(parts, pieces, legs, folded=number == 0 and bool(constrained))
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def _leg_sizes(blocks: Sequence[_Parts], x: Tensor) -> Sequence[int]:
    """Rows of each leg where batch norms tell legs apart; else all rows are of one."""
    for parts in blocks:
        sizes: Sequence[int] = getattr(parts.norm, "leg_sizes", ())
        if parts.norm.training and len(sizes) > 1:
            check_rows(x, sizes)
            return sizes
    return (len(x),)


def _residuals(weight: Tensor, precision: torch.dtype, images: Pieces) -> Pieces:
    """`fold` of what the constrained convolution gives."""
    # The four pixels of a block see the image through a kernel that is shifted by one.
    shifted = [F.pad(weight, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)]
    kernel = F.pixel_unshuffle(torch.stack(shifted, 1).flatten(0, 1), 2)
    found: Pieces = Residual.apply(kernel, precision, *images)  # type: ignore[no-untyped-call]
    return found


def _run_block(parts: _Parts, pieces: Pieces, legs: Sequence[int], *, folded: bool) -> Pieces:
    convolution, norm, pool = parts
    kernel = convolution.weight
    form = Form(
        convolution.stride, convolution.padding, convolution.dilation, convolution.groups,  # type: ignore[arg-type]
        pool=(pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode),
    )  # fmt: skip
    if not folded and _folds(convolution, pieces[0]):
        pieces, folded = tuple(map(fold, pieces)), True
    if folded:
        kernel = F.pixel_unshuffle(F.pad(kernel, (0, 1, 0, 1)), 2)
        padding = [side // 2 for side in form.padding]
        form = replace(form, stride=(1, 1), padding=padding, folded=True)
    fixed = None if norm.training else (norm.running_mean, norm.running_var)
    mean, variance, *found = Block.apply(  # type: ignore[no-untyped-call]
        form, legs, norm.eps, fixed, kernel, convolution.bias, norm.weight, norm.bias, *pieces
    )
    if norm.training:
        move_averages_(norm, mean, variance)
    return tuple(found)
