"""The stages of MISLnet computed faster than module by module, and equal to it.

The modules define what is computed (`stage(x)`); `run` takes another way to the same numbers where
it knows the form of a stage. It rests on four facts.

- A convolution of stride 2 is one of stride 1 over pixels of 2 x 2 laid into channels (`fold`).
- Maximum pooling commutes with what never falls: with tanh, and with a batch norm whose scale is
  not negative. Where it is negative, kernel and scale both change sign, which changes nothing. So
  batch norm and tanh work on a quarter of the values.
- Backwards, a batch norm's gradient is `a * y + b` a channel over the whole map, and what comes
  down from the pooled values at the places that won; the sums that a and b need run over the
  pooled values alone.
- A batch norm with fixed statistics is part of its convolution.

Rows go in pieces, a leg apart from another and a lane beside another; their sums are joined where
a batch norm needs those of a whole leg.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from phototrace.learning.batchnorm import (
    CorrectedBatchNorm2d,
    LegBatchNorm2d,
    check_rows,
    move_averages_,
)
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.lanes import cut, lanes, side_by_side

Pieces = tuple[Tensor, ...]
Moments = tuple[Tensor, Tensor]
Gradients = tuple[Tensor | None, ...]
_NORMS = (nn.BatchNorm2d, LegBatchNorm2d, CorrectedBatchNorm2d)
CHANNELS_LAST = torch.channels_last
_aten = torch.ops.aten


def run(stages: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What `stages` give for `x`, one after another."""
    k = 0
    while k < len(stages):
        blocks = _blocks(stages, k, x)
        if blocks:
            x = _run_blocks(stages[k : k + blocks], x)
            k += blocks
        else:
            x = stages[k](x)
            k += 1
    return x


def lanes_of(network: nn.Module) -> AbstractContextManager[None]:
    """Lanes for a network that has stages which take them; else operations keep their threads."""
    return lanes() if any(map(_is_block, network.modules())) else nullcontext()


def _run_blocks(stages: Sequence[nn.Module], x: Tensor) -> Tensor:
    """`run` where every stage is of a known form."""
    given = stages[-1][0].weight.dtype
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else given
    with torch.autocast("cpu", enabled=False):
        sizes, legs = cut(_leg_sizes(stages, x))
        pieces: Pieces = x.split(sizes)
        folded = isinstance(stages[0], ConstrainedConv2d)
        if folded:
            pieces = _residuals(stages[0], dtype, pieces)
        for stage in stages[folded:]:
            pieces = _block(stage, folded, legs, tuple(piece.to(dtype) for piece in pieces))
            folded = False
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def fold(x: Tensor) -> Tensor:
    """Pixels `(n, c, h, w)`, a ring of zeros added, 2 x 2 laid into channels.

    Returns: `(n, 4 c, h / 2 + 1, w / 2 + 1)`, channels last in memory.
    """
    folded = F.pixel_unshuffle(F.pad(x, (1, 1, 1, 1)), 2)
    return folded.contiguous(memory_format=torch.channels_last)


def _residuals(stage: nn.Module, dtype: torch.dtype, images: Pieces) -> Pieces:
    """`fold` of what the constrained convolution gives, in `dtype`."""
    weight = stage.weight
    # The four pixels of a block see the image through the kernel shifted by one.
    shifted = [F.pad(weight, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)]
    kernel = F.pixel_unshuffle(torch.stack(shifted, 1).flatten(0, 1), 2)
    found: Pieces = _Residual.apply(kernel, dtype, *images)
    return found


class _Residual(torch.autograd.Function):
    """The folded constrained convolution; the images take no gradient."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, dtype: torch.dtype, *images: Tensor) -> Pieces:
        kernel = kernel.contiguous(memory_format=torch.channels_last)

        def residual(image: Tensor) -> tuple[Tensor, Tensor]:
            folded = fold(image.to(kernel.dtype))
            return folded, _clear_ring(F.conv2d(folded, kernel)).to(dtype)

        folded, found = zip(*side_by_side(residual, images), strict=True)
        ctx.save_for_backward(kernel, *folded)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kernel, *folded = ctx.saved_tensors

        def backwards(image: Tensor, gradient: Tensor) -> Tensor:
            cleared = _clear_ring(gradient.to(kernel.dtype, copy=True))
            return _convolution_backward(cleared, image, kernel, _Form(), need_input=False)[1]

        total = sum(side_by_side(backwards, folded, gradients))
        return total, None, *(None for _ in folded)


def _clear_ring(folded: Tensor) -> Tensor:
    """Zero, in place, what `fold` adds around: there the next convolution sees its padding."""
    n, channels, *sides = folded.shape
    parts = folded.view(n, channels // 4, 2, 2, *sides)
    parts[:, :, 0, :, 0] = parts[:, :, 1, :, -1] = 0
    parts[:, :, :, 0, :, 0] = parts[:, :, :, 1, :, -1] = 0
    return folded


@dataclass(frozen=True)
class _Form:
    """How a block convolves and pools."""

    stride: Sequence[int] = (1, 1)
    padding: Sequence[int] = (0, 0)
    dilation: Sequence[int] = (1, 1)
    groups: int = 1
    folded: bool = False
    pool: Sequence[Any] = ()

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, form: _Form, *, need_input: bool
) -> tuple[Tensor | None, Tensor]:
    """Gradients of a convolution's input (where needed) and of its kernel."""
    few = need_input and form.folded
    dx, dw, _ = _aten.convolution_backward(
        gradient, x, weight, None, form.stride, form.padding, form.dilation,
        False, [0, 0], form.groups, [need_input and not few, True, False],
    )  # fmt: skip
    return _few_inputs_gradient(gradient, weight, form.padding) if few else dx, dw


def _few_inputs_gradient(gradient: Tensor, weight: Tensor, padding: Sequence[int]) -> Tensor:
    """Gradient of the input of a convolution, where its channels would not fill a register.

    The kernel's columns are laid into channels, and moved to their places by a second convolution.
    """
    outputs, inputs, height, width = weight.shape
    columns = weight.flip(2, 3).permute(3, 1, 0, 2).reshape(width * inputs, outputs, height, 1)
    every = F.conv2d(gradient, _last(columns), padding=(height - 1 - padding[0], 0))
    places = torch.eye(width * inputs, dtype=weight.dtype).view(width, inputs, 1, -1)
    return F.conv2d(every, _last(places.permute(1, 3, 2, 0)), padding=(0, width - 1 - padding[1]))


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _block(stage: nn.Module, folded: bool, legs: Sequence[int], pieces: Pieces) -> Pieces:
    """Convolution, batch norm, tanh and maximum pooling."""
    convolution, norm, _, pool = stage
    weight = convolution.weight
    form = _Form(
        convolution.stride, convolution.padding, convolution.dilation, convolution.groups,
        pool=(pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode),
    )  # fmt: skip
    if folded or (_folds(convolution) and not any(side % 2 for side in pieces[0].shape[2:])):
        pieces = pieces if folded else tuple(map(fold, pieces))
        weight = F.pixel_unshuffle(F.pad(weight, (0, 1, 0, 1)), 2)
        padding = [side // 2 for side in form.padding]
        form = replace(form, stride=(1, 1), padding=padding, folded=True)
    fixed = None if norm.training else (norm.running_mean, norm.running_var)
    mean, variance, *found = _Block.apply(
        form, legs, norm.eps, fixed, weight, convolution.bias, norm.weight, norm.bias, *pieces
    )
    if norm.training:
        move_averages_(norm, mean, variance)
    return tuple(found)


class _Block(torch.autograd.Function):
    """A block of pieces; besides, mean and variance of every leg where they are not fixed."""

    @staticmethod
    def forward(
        ctx: Any, form: _Form, legs: Sequence[int], eps: float, fixed: Moments | None,
        weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, *pieces: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        # Maximum pooling may come before a scale that is not negative.
        sign = torch.where(gain < 0, -1.0, 1.0).to(gain.dtype)
        kernel = _kernel(weight, sign, pieces[0].dtype)
        offset = (bias * sign).to(pieces[0].dtype)

        def convolve(x: Tensor) -> tuple[Tensor, ...]:
            y = form.convolve(x, kernel, offset)
            return y, *_aten.max_pool2d_with_indices(y, *form.pool), *_moments(y, gain)

        convolved, pooled, winners, means, variances = zip(
            *side_by_side(convolve, pieces), strict=True
        )
        if fixed is None:
            values = [y[:, :1].numel() for y in convolved]
            ctx.values, *moments = _joined(legs, values, means, variances)
            unbiased = moments[1] * ctx.values / (ctx.values - 1)
        else:
            legs = [0] * len(pieces)
            moments = [(sign * fixed[0])[None], fixed[1][None]]
            unbiased = moments[1]

        def squash(leg: int, p: Tensor) -> Tensor:
            mean, variance = moments[0][leg], moments[1][leg]
            # tanh(x) = 2 sigmoid(2 x) - 1: several times as fast, and in full precision till here.
            twice = F.batch_norm(p, mean, variance, 2 * gain.abs(), 2 * shift, eps=eps)
            return twice.to(gain.dtype).sigmoid_().mul_(2).sub_(1).to(p.dtype)

        found = side_by_side(squash, legs, pooled)
        ctx.form, ctx.legs, ctx.eps, ctx.fixed, ctx.count = form, legs, eps, fixed, len(pieces)
        ctx.save_for_backward(
            weight, gain, sign, *moments, *pieces, *convolved, *pooled, *winners, *found
        )
        mean = sign * moments[0]
        ctx.mark_non_differentiable(mean, unbiased)
        return mean, unbiased, *found

    @staticmethod
    def backward(ctx: Any, _mean: Tensor, _variance: Tensor, *gradients: Tensor) -> Gradients:
        weight, gain, sign, means, variances, *rest = ctx.saved_tensors
        n, legs = ctx.count, ctx.legs
        pieces, convolved, pooled, winners, found = (rest[k * n : (k + 1) * n] for k in range(5))
        deviations = (variances + ctx.eps).rsqrt()

        def unsquash(leg: int, gradient: Tensor, out: Tensor, p: Tensor) -> tuple[Tensor, ...]:
            d = _aten.tanh_backward(gradient.contiguous(memory_format=CHANNELS_LAST), out)
            _, *sums = _aten.native_batch_norm_backward(
                d, p, gain, None, None, means[leg], deviations[leg], True, ctx.eps,
                [False, True, True],
            )  # fmt: skip
            return d, *sums

        pooled_gradients, *sums = zip(
            *side_by_side(unsquash, legs, gradients, found, pooled), strict=True
        )
        gains, shifts = (_by_leg(legs, each) for each in sums)
        scales = gain.abs() * deviations

        def convolve_backward(
            leg: int, d: Tensor, y: Tensor, winner: Tensor, x: Tensor
        ) -> tuple[Tensor, Tensor]:
            full = _aten.max_pool2d_with_indices_backward(d, y, *ctx.form.pool, winner)
            if ctx.fixed is None:
                full += F.batch_norm(
                    y, means[leg], variances[leg], -gains[leg] / ctx.values[leg],
                    -shifts[leg] / ctx.values[leg], eps=ctx.eps,
                )  # fmt: skip
            # What scales a channel is left to the kernel: a pass over the map less.
            kernel = _kernel(weight, sign * scales[leg], x.dtype)
            dx, dw = _convolution_backward(
                full, x, kernel, ctx.form, need_input=ctx.needs_input_grad[8]
            )
            return dx, dw.to(weight.dtype) * (sign * scales[leg])[:, None, None, None]

        inputs, weights = zip(
            *side_by_side(convolve_backward, legs, pooled_gradients, convolved, winners, pieces),
            strict=True,
        )
        # A batch norm with statistics of its own takes a bias away again.
        biases = sign * (scales * shifts).sum(0) * (ctx.fixed is not None)
        return (
            *(None,) * 4, sum(weights), biases, sign * gains.sum(0), shifts.sum(0), *inputs
        )  # fmt: skip


def _kernel(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    scaled = weight * scale[:, None, None, None]
    return scaled.to(dtype, memory_format=CHANNELS_LAST)


def _moments(y: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel of `(n, c, h, w)`, in the precision of `like` `(c,)`."""
    mean, variance = _aten.batch_norm_update_stats(y, like.clone(), like.clone(), 0.0)
    return mean, variance


def _joined(
    legs: Sequence[int], counts: Sequence[int], means: Sequence[Tensor], variances: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Count `(legs, 1)`, mean and variance `(legs, c)` of whole legs from those of their pieces."""
    weights = [torch.tensor(count, dtype=means[0].dtype) for count in counts]
    total = _by_leg(legs, weights)[:, None]
    mean = _by_leg(legs, [w * m for w, m in zip(weights, means, strict=True)]) / total
    squares = [
        w * (v + (m - mean[leg]) ** 2)
        for leg, w, m, v in zip(legs, weights, means, variances, strict=True)
    ]
    return total, mean, _by_leg(legs, squares) / total


def _by_leg(legs: Sequence[int], values: Sequence[Tensor]) -> Tensor:
    """Sums `(legs, ...)` over the pieces of each leg."""
    return torch.stack([
        torch.stack([v for own, v in zip(legs, values, strict=True) if own == leg]).sum(0)
        for leg in range(max(legs) + 1)
    ])  # fmt: skip


def _leg_sizes(stages: Sequence[nn.Module], x: Tensor) -> Sequence[int]:
    """Rows of each leg, where batch norms tell legs apart; else all are of one."""
    for stage in stages:
        for norm in stage.children():
            sizes = getattr(norm, "leg_sizes", ())
            if norm.training and len(sizes) > 1:
                check_rows(x, sizes)
                return sizes
    return (len(x),)


def _blocks(stages: Sequence[nn.Module], start: int, x: Tensor) -> int:
    """How many stages from `start` on are of a known form, `x` being what the first one takes."""
    if x.device.type != "cpu" or x.ndim != 4:
        return 0
    k = start
    if isinstance(stages[k], ConstrainedConv2d):
        if not (k + 1 < len(stages) and _is_block(stages[k + 1]) and _folds(stages[k + 1][0])):
            return 0
        if x.requires_grad or any(side % 2 for side in x.shape[2:]):
            return 0
        k += 1
    while k < len(stages) and _is_block(stages[k]):
        k += 1
    return k - start


def _is_block(stage: nn.Module) -> bool:
    if type(stage) is not nn.Sequential or len(stage) != 4:
        return False
    convolution, norm, squash, pool = stage
    return (
        type(convolution) is nn.Conv2d
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and convolution.bias is not None
        and type(norm) in _NORMS
        and norm.affine
        and norm.track_running_stats
        and type(squash) is nn.Tanh
        and type(pool) is nn.MaxPool2d
        and not pool.return_indices
    )


def _folds(convolution: nn.Module) -> bool:
    """Whether a convolution is faster over 2 x 2 pixels laid into channels: few, and stride 2."""
    (p, _), (side, _) = convolution.padding, convolution.kernel_size
    return (
        convolution.stride == (2, 2) and convolution.padding == (p, p) and p % 2 == 1
        and convolution.kernel_size == (2 * p + 1, 2 * p + 1)
        and convolution.dilation == (1, 1) and convolution.in_channels <= 8
    )  # fmt: skip
