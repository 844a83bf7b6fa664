"""The constrained convolution (paper Eq. 4) that begins MISLnet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class ConstrainedConv2d(nn.Conv2d):
    """Convolution whose every kernel has -1 in the middle and the rest summing to 1 (Eq. 4).

    The constraint is a projection that the training loop applies after every optimiser step
    (`project_`); momentum and gradients know nothing of it. It runs in float32 under autocast:
    bfloat16 would round the kernel's sum away from zero and let image content through.
    """

    # Below this the sum of the free weights cannot be divided by: the kernel would blow up. The
    # free weights are then shifted, all alike, to the sum 1 instead: the nearest point that
    # satisfies the constraint.
    SMALLEST_SUM = 1e-2

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=False)
        # Positive weights: symmetric ones would start with sums near zero or below.
        nn.init.uniform_(self.weight, 0.0, 1.0)
        self.project_()

    @torch.no_grad()
    def project_(self) -> None:
        """Put every kernel back on the constraint: free weights divided by their sum."""
        weight = self.weight.double()
        middle = weight.shape[-1] // 2
        weight[..., middle, middle] = 0
        total = weight.sum(dim=(-2, -1), keepdim=True)
        free = weight[0, 0].numel() - 1
        safe = total.abs() >= self.SMALLEST_SUM
        divided = weight / torch.where(safe, total, 1.0)
        shifted = weight + (1 - total) / free
        weight = torch.where(safe, divided, shifted)
        weight[..., middle, middle] = -1
        self.weight.copy_(weight)

    @torch.no_grad()
    def deviation(self) -> float:
        """Largest distance of a kernel's middle from -1, or of its other weights' sum from 1."""
        middle = self.weight.shape[-1] // 2
        centre = self.weight[..., middle, middle].double()
        rest = self.weight.double().sum(dim=(-2, -1)) - centre
        return float(torch.maximum((centre + 1).abs(), (rest - 1).abs()).max())

    def forward(self, x: Tensor) -> Tensor:
        """Residuals `(n, out, h - k + 1, w - k + 1)` float32 of `(n, in, h, w)` pixels 0..255."""
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.to(self.weight.dtype), self.weight)
