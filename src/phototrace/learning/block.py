"""Convolution, batch norm, tanh and maximum pooling as one function with its gradient.

It gives what the four modules give, and rests on four facts.

- A convolution of stride 2 is one of stride 1 over pixels of 2 x 2 laid into channels (`fold`).
- Maximum pooling commutes with what never falls: with tanh, and with a batch norm whose scale is
  not negative. Where it is negative, kernel and scale change sign together, which changes nothing.
  So batch norm and tanh work on a quarter of the values.
- Backwards, a batch norm with statistics of its own gives `a * y + b` a channel over the whole map,
  and at the places that won what comes down from above; the sums in a and b run over the pooled
  values alone.
- What scales a channel of a convolution's output may scale its kernel instead.

Rows come in pieces, a leg apart from another and a lane beside another. Their sums are joined where
a batch norm needs those of a whole leg, so that the mathematics is that of the leg's one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from phototrace.learning.lanes import side_by_side

Pieces = tuple[Tensor, ...]
Moments = tuple[Tensor, Tensor]
"""Mean and variance."""
_aten = torch.ops.aten


@dataclass(frozen=True)
class Form:
    """How a block convolves and pools; `folded` where its kernel is that of folded pixels."""

    stride: Sequence[int] = (1, 1)
    padding: Sequence[int] = (0, 0)
    dilation: Sequence[int] = (1, 1)
    groups: int = 1
    folded: bool = False
    pool: Sequence[Any] = ()

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """The convolution's output."""
        return F.conv2d(x, kernel, bias, self.stride, self.padding, self.dilation, self.groups)


class Block(torch.autograd.Function):
    """A block over pieces of `(n, c, h, w)`.

    Args of `apply`:
        form: How it convolves and pools.
        legs: The leg of each piece.
        eps: Of the batch norm.
        fixed: Its running mean and variance `(c,)`, where it takes those.
        kernel, bias: Of the convolution.
        gain, shift: Scale and shift `(c,)` of the batch norm.
        pieces: In the precision that is computed in.

    Returns: Mean and unbiased variance `(legs, c)` of what was normalised (`fixed` as it is, where
        it is given), then the pieces.
    """

    @staticmethod
    def forward(
        ctx: Any, form: Form, legs: Sequence[int], eps: float, fixed: Moments | None,
        kernel: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, *pieces: Tensor,
    ) -> Pieces:  # fmt: skip
        """See the class."""
        precision = pieces[0].dtype
        sign = torch.where(gain < 0, -1.0, 1.0).to(gain.dtype)
        signed, offset = _scaled(kernel, sign, precision), (bias * sign).to(precision)

        def convolve(x: Tensor) -> Pieces:
            y = form.convolve(x, signed, offset)
            moments = _moments(y, gain) if fixed is None else fixed
            return y, *_aten.max_pool2d_with_indices(y, *form.pool), *moments

        maps, pooled, winners, means, variances = zip(*side_by_side(convolve, pieces), strict=True)
        if fixed is None:
            ctx.values, mean, variance = _joined(legs, maps, means, variances)
            unbiased = variance * ctx.values / (ctx.values - 1)
        else:
            legs = [0] * len(pieces)
            mean, variance = sign * fixed[0][None], fixed[1][None]
            unbiased = variance

        def squash(leg: int, p: Tensor) -> Tensor:
            # tanh(x) = 2 sigmoid(2 x) - 1, several times as fast; rounded at the end alone.
            twice = F.batch_norm(p, mean[leg], variance[leg], 2 * gain.abs(), 2 * shift, eps=eps)
            return twice.to(gain.dtype).sigmoid_().mul_(2).sub_(1).to(precision)

        found = side_by_side(squash, legs, pooled)
        ctx.form, ctx.legs, ctx.eps, ctx.fixed = form, legs, eps, fixed is not None
        ctx.save_for_backward(
            kernel, gain, sign, mean, variance, *pieces, *maps, *pooled, *winners, *found
        )
        true_mean = sign * mean
        ctx.mark_non_differentiable(true_mean, unbiased)
        return true_mean, unbiased, *found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of kernel, bias, gain, shift and, where it is needed, the pieces."""
        kernel, gain, sign, mean, variance, *rest = ctx.saved_tensors
        legs, count = ctx.legs, len(ctx.legs)
        pieces, maps, pooled, winners, found = (
            rest[k : k + count] for k in range(0, len(rest), count)
        )
        deviation = (variance + ctx.eps).rsqrt()

        def unsquash(leg: int, gradient: Tensor, out: Tensor, p: Tensor) -> Pieces:
            below = _aten.tanh_backward(last(gradient), out)
            _, of_gain, of_shift = _aten.native_batch_norm_backward(
                below, p, gain, None, None, mean[leg], deviation[leg], True, ctx.eps,
                [False, True, True],
            )  # fmt: skip
            return below, of_gain, of_shift

        pooled_gradients, of_gains, of_shifts = zip(
            *side_by_side(unsquash, legs, gradients[2:], found, pooled), strict=True
        )
        of_gain, of_shift = _by_leg(legs, of_gains), _by_leg(legs, of_shifts)
        scale = sign * gain.abs() * deviation

        def unconvolve(leg: int, g: Tensor, winner: Tensor, y: Tensor, x: Tensor) -> Moments:
            below = _aten.max_pool2d_with_indices_backward(g, y, *ctx.form.pool, winner)
            if not ctx.fixed:
                a, b = -of_gain[leg] / ctx.values[leg], -of_shift[leg] / ctx.values[leg]
                below += F.batch_norm(y, mean[leg], variance[leg], a, b, eps=ctx.eps)
            # The scale is left to the kernel: a pass over the map less.
            scaled = _scaled(kernel, scale[leg], x.dtype)
            of_input, of_kernel = _unconvolve(
                below, x, scaled, ctx.form, need_input=ctx.needs_input_grad[8]
            )
            return of_input, of_kernel.to(kernel.dtype) * scale[leg][:, None, None, None]

        inputs, of_kernels = zip(
            *side_by_side(unconvolve, legs, pooled_gradients, winners, maps, pieces), strict=True
        )
        # A batch norm with statistics of its own takes the bias away again.
        of_bias = (scale * of_shift).sum(0) * ctx.fixed
        return (
            None, None, None, None,
            _total(of_kernels), of_bias, sign * of_gain.sum(0), of_shift.sum(0), *inputs,
        )  # fmt: skip


class Residual(torch.autograd.Function):
    """The constrained convolution, folded (`fold`); the images take no gradient.

    Args of `apply`: the kernel `(4 filters, 4 c, k, k)` over folded images, the precision of the
    result, and pieces of images `(n, c, h, w)`. It computes in the precision of the kernel.
    """

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, precision: torch.dtype, *images: Tensor) -> Pieces:
        """See the class."""

        def residual(image: Tensor) -> Moments:
            folded = fold(image.to(kernel.dtype))
            return folded, _clear_ring_(F.conv2d(folded, last(kernel))).to(precision)

        folded, found = zip(*side_by_side(residual, images), strict=True)
        ctx.save_for_backward(kernel, *folded)
        return tuple(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the kernel."""
        kernel, *folded = ctx.saved_tensors

        def of_kernel(image: Tensor, gradient: Tensor) -> Tensor:
            cleared = _clear_ring_(gradient.to(kernel.dtype, copy=True))
            return _unconvolve(cleared, image, last(kernel), Form(), need_input=False)[1]

        return _total(side_by_side(of_kernel, folded, gradients)), None, *(None for _ in folded)


def fold(x: Tensor) -> Tensor:
    """Pixels `(n, c, h, w)`, a ring of zeros added, 2 x 2 laid into channels.

    Returns: `(n, 4 c, h / 2 + 1, w / 2 + 1)`, channels last in memory.
    """
    return last(F.pixel_unshuffle(F.pad(x, (1, 1, 1, 1)), 2))


def last(x: Tensor) -> Tensor:
    """`x` with channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def _clear_ring_(folded: Tensor) -> Tensor:
    """Zero the ring that `fold` adds: there the next convolution sees its padding."""
    n, channels, *sides = folded.shape
    pixels = folded.view(n, channels // 4, 2, 2, *sides)
    pixels[:, :, 0, :, 0] = pixels[:, :, 1, :, -1] = 0
    pixels[:, :, :, 0, :, 0] = pixels[:, :, :, 1, :, -1] = 0
    return folded


def _unconvolve(
    gradient: Tensor, x: Tensor, kernel: Tensor, form: Form, *, need_input: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of a convolution's input (where needed) and of its kernel."""
    apart = need_input and form.folded
    of_input, of_kernel, _ = _aten.convolution_backward(
        gradient, x, kernel, None, form.stride, form.padding, form.dilation,
        False, [0, 0], form.groups, [need_input and not apart, True, False],
    )  # fmt: skip
    return _of_few_inputs(gradient, kernel, form.padding) if apart else of_input, of_kernel


def _of_few_inputs(gradient: Tensor, kernel: Tensor, padding: Sequence[int]) -> Tensor:
    """Gradient of a convolution's input of fewer channels than a vector register holds.

    The kernel's columns are laid into channels; a second convolution moves them to their places.
    """
    outputs, inputs, height, width = kernel.shape
    columns = kernel.flip(2, 3).permute(3, 1, 0, 2).reshape(width * inputs, outputs, height, 1)
    every = F.conv2d(gradient, last(columns), padding=(height - 1 - padding[0], 0))
    places = torch.eye(width * inputs, dtype=kernel.dtype).view(width, inputs, 1, -1)
    return F.conv2d(every, last(places.permute(1, 3, 2, 0)), padding=(0, width - 1 - padding[1]))


def _scaled(kernel: Tensor, scale: Tensor, precision: torch.dtype) -> Tensor:
    return last((kernel * scale[:, None, None, None]).to(precision))


def _moments(y: Tensor, like: Tensor) -> Moments:
    """Mean and variance `(c,)` of every channel of `(n, c, h, w)`, in the precision of `like`."""
    mean, variance = _aten.batch_norm_update_stats(y, like.clone(), like.clone(), 0.0)
    return mean, variance


def _joined(
    legs: Sequence[int], maps: Pieces, means: Pieces, variances: Pieces
) -> tuple[Tensor, Tensor, Tensor]:
    """Values a channel `(legs, 1)`, mean and variance `(legs, c)` of legs, from their pieces'."""
    weights = [means[0].new_tensor([y[:, :1].numel()]) for y in maps]
    total = _by_leg(legs, weights)
    mean = _by_leg(legs, [w * m for w, m in zip(weights, means, strict=True)]) / total
    spread = [
        w * (v + (m - mean[leg]) ** 2)
        for leg, w, m, v in zip(legs, weights, means, variances, strict=True)
    ]
    return total, mean, _by_leg(legs, spread) / total


def _by_leg(legs: Sequence[int], values: Sequence[Tensor]) -> Tensor:
    """Sums `(legs, ...)` over the pieces of each leg."""
    pieces = list(zip(legs, values, strict=True))
    return torch.stack([_total([v for own, v in pieces if own == leg]) for leg in sorted({*legs})])


def _total(values: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, values)
