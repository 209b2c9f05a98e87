"""Local response normalization, which batch normalization makes superfluous (section 4.2.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn


class LocalResponseNorm(nn.Module):
    """x / (1 + alpha / 5 * sum of x^2 over the 5 channels around)^0.75, GoogLeNet's constants; (N, C, H, W).

    Equal to torch.nn.LocalResponseNorm(5), whose pooling in three dimensions is slow on the CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        return local_response_norm(x)


@fx.wrap  # one operation to bn.norm.fold: a type of number cannot be asked for while tracing
def local_response_norm(x: Tensor, alpha: float = 1e-4) -> Tensor:
    # At least float32: in float16 the square of 256 is infinite.
    squares = x.to(torch.promote_types(x.dtype, torch.float32)).square()
    channels = x.shape[1]
    padded = F.pad(squares, (0, 0, 0, 0, 2, 2))
    around = squares
    for shift in (0, 1, 3, 4):
        around = around + padded.narrow(1, shift, channels)
    root = torch.rsqrt(1 + alpha / 5 * around)
    return (x * (root * root.sqrt())).to(x.dtype)  # ^-0.75 = ^-0.5 * ^-0.25, faster than a power
