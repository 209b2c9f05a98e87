"""Normalization by the population statistics in training: BN without the noise of the mini-batch."""

import torch
from torch import Tensor

from bn.norm.algorithm1 import check_batch, check_shape, kernel
from bn.norm.module import BatchNorm


class PopulationNorm(BatchNorm):
    """BN that normalizes by its moving averages in training too.

    An output then depends on its own input alone. With BN it also depends on the rest of the mini-batch, in
    which section 3.4 sees a regularizer.

        y = gamma * (x - E[x]) / sqrt(Var[x] + eps) + beta

    E[x] and Var[x] are the averages over the mini-batches before this one. The gradient is that of BN: with
    the mini-batch's xhat, the same y is

        y = gamma * (r * xhat + d) + beta,    r = sqrt((sigma2_B + eps) / (Var[x] + eps)),
                                              d = (mu_B - E[x]) / sqrt(Var[x] + eps),

    where r and d are treated as constants, as in batch renormalization (Ioffe 2017, arXiv 1702.03275), here
    without limits on them. Treating E[x] and Var[x] as constants instead would leave the normalization out of
    the gradient, which section 2 warns against.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        check_shape(x, self.weight.shape)
        check_batch(x, self.weight.shape)
        dims = (0,) if self.weight.dim() > 1 else (0, *range(2, x.dim()))
        wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        var, mean = torch.var_mean(wide, dims, correction=0)
        inverse_std = torch.rsqrt(self.running_var + self.eps)
        r = torch.sqrt(var + self.eps) * inverse_std
        d = (mean - self.running_mean) * inverse_std
        gamma, beta = self.weight * r, self.bias + self.weight * d
        averages = self.running_mean, self.running_var
        y = kernel(x, *averages, gamma, beta, True, self.momentum, self.eps)
        self._count_batch()
        return y
