"""The separable first convolution of Figure 5: a depthwise convolution, then a pointwise one."""

import torch.nn.functional as F
from torch import Tensor, nn


class SeparableConv2d(nn.Module):
    """Depthwise `kernel` x `kernel` convolution to `multiplier` * `channels`, then 1x1 to `filters`.

    Maps (N, channels, H, W) to (N, filters, ceil(H / stride), ceil(W / stride)); `kernel` is odd.

    Nothing lies between the two parts, so together they are one dense convolution whose kernel is the product
    of theirs, and `forward` computes that one. This avoids the depthwise convolution, for which no device has
    fast kernels, and its output, 8/3 the size of the input.
    """

    def __init__(
        self, channels: int, filters: int, kernel: int, stride: int, multiplier: int, bias: bool
    ) -> None:
        super().__init__()
        inner = multiplier * channels
        padding = kernel // 2
        self.stride = stride
        self.out_channels = filters
        self.depthwise = nn.Conv2d(channels, inner, kernel, stride, padding, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(inner, filters, 1, bias=bias)

    def kernel(self) -> Tensor:
        """Return the dense kernel, (filters, channels, kernel, kernel)."""
        channels = self.depthwise.groups
        depthwise = self.depthwise.weight.unflatten(0, (channels, -1)).squeeze(2)  # (channels, 8, 7, 7)
        pointwise = self.pointwise.weight.unflatten(1, (channels, -1))  # (filters, channels, 8, 1, 1)
        # Not einsum: autocast would round a matrix product to its dtype.
        return (pointwise * depthwise).sum(2)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.depthwise.padding
        assert not isinstance(padding, str)
        return F.conv2d(x, self.kernel(), self.pointwise.bias, self.stride, padding)

    def as_conv2d(self) -> nn.Conv2d:
        """Return the same map as an ordinary convolution with its own parameters."""
        weight, bias = self.kernel().detach(), self.pointwise.bias
        filters, channels, kernel, _ = weight.shape
        conv = nn.Conv2d(
            channels, filters, kernel, self.stride, kernel // 2,
            bias=bias is not None, device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        conv.weight = nn.Parameter(weight, self.pointwise.weight.requires_grad)
        if bias is not None:
            conv.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
        return conv
