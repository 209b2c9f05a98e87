"""Local response normalization, which BN makes unnecessary (section 4.2.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

ALPHA = 1e-4  # GoogLeNet's, for pixels in 0..255


class LocalResponseNorm(nn.Module):
    """x / (1 + alpha / 5 * sum of x^2 over the 5 neighboring channels)^0.75, for x (N, C, H, W).

    The constants are GoogLeNet's, whose inputs are pixels in 0..255. If activations are `scale` times smaller
    than in GoogLeNet, alpha is multiplied by scale^2, so that the layer has the same effect:
    LRN_scale(x) = LRN_1(scale * x) / scale.

    Equals torch.nn.LocalResponseNorm(5, alpha), whose three-dimensional pooling is slow on the CPU.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.alpha = ALPHA * scale**2

    def forward(self, x: Tensor) -> Tensor:
        return local_response_norm(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}"


@fx.wrap  # one operation to bn.norm.fold: dtypes cannot be inspected during tracing
def local_response_norm(x: Tensor, alpha: float = ALPHA) -> Tensor:
    # At least float32: in float16 the square of 256 is infinite.
    squares = x.to(torch.promote_types(x.dtype, torch.float32)).square()
    channels = x.shape[1]
    padded = F.pad(squares, (0, 0, 0, 0, 2, 2))
    around = squares
    for shift in (0, 1, 3, 4):
        around = around + padded.narrow(1, shift, channels)
    root = torch.rsqrt(1 + alpha / 5 * around)
    return (x * (root * root.sqrt())).to(x.dtype)  # ^-0.75 = ^-0.5 * ^-0.25, faster than a power
