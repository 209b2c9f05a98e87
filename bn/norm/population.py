"""Normalization by the population's statistics while training: BN without the noise of the mini-batch."""

import torch
from torch import Tensor

from bn.norm.algorithm1 import check_batch, check_shape, kernel
from bn.norm.module import BatchNorm


class PopulationNorm(BatchNorm):
    """BN that normalizes by its moving averages in training too, so that an output depends on its own input
    alone (section 3.4 sees a regularizer in that BN's does not).

    y = gamma * (x - E[x]) / sqrt(Var[x] + eps) + beta, with the averages of the mini-batches before this one.
    The gradient is BN's: the same y is written with the mini-batch's xhat,

        y = gamma * (r * xhat + d) + beta,    r = sqrt((sigma2_B + eps) / (Var[x] + eps)),
                                              d = (mu_B - E[x]) / sqrt(Var[x] + eps),

    and r and d count as constants, as in batch renormalization (Ioffe 2017, arXiv 1702.03275), here without
    limits to them. To count E[x] and Var[x] as constants would be to leave the normalization out of the
    gradient, which section 2 warns of.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        check_shape(x, self.weight.shape)
        check_batch(x, self.weight.shape)
        gamma, beta = self._equivalent(x.detach())
        kept = self.running_mean, self.running_var
        y = kernel(x, *kept, gamma, beta, True, self.momentum, self.eps)
        self._count()
        return y

    def _equivalent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """gamma * r and beta + gamma * d."""
        over = (0,) if self.weight.dim() > 1 else (0, *range(2, x.dim()))
        var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), over, correction=0)
        inverse = torch.rsqrt(self.running_var + self.eps)
        r = torch.sqrt(var + self.eps) * inverse
        d = (mean - self.running_mean) * inverse
        return self.weight * r, self.bias + self.weight * d
