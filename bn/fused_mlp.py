"""The MLP's training step written out: forward, the paper's backward and the update on torch's own kernels.

What it saves is not arithmetic but everything around it: the autograd graph, the gradients' memory (the
update W - lr dW happens inside the matrix product that makes dW) and the allocations. It computes the numbers
of `bn.tasks.steps.AutogradStep`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bn.data.mnist import Split
from bn.models.mlp import MLP
from bn.norm import BatchNorm

aten = torch.ops.aten

# g in place, and dl/dx from dl/dz and z = g(x), written over dl/dz
_NONLINEARITY = {
    nn.Sigmoid: (
        Tensor.sigmoid_,
        lambda dz, z: aten.sigmoid_backward.grad_input(dz, z, grad_input=dz),
    ),
    nn.Tanh: (Tensor.tanh_, lambda dz, z: aten.tanh_backward.grad_input(dz, z, grad_input=dz)),
    nn.ReLU: (
        Tensor.relu_,
        lambda dz, z: aten.threshold_backward.grad_input(dz, z, 0, grad_input=dz),
    ),
}


class _Norm(NamedTuple):
    """The tensors of a BatchNorm, looked up once."""

    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float
    eps: float


class FusedStep:
    """The MLP's step under SGD at a constant rate, without momentum; in place on the model's own tensors.

    Takes the (batch,) indices of its mini-batch, which it gathers into memory of its own.
    Weight decay (on the matrices W; not on gamma, beta or b) is free: W <- (1 - lr decay) W - lr dW.
    """

    def __init__(self, model: MLP, data: Split, *, batch: int, lr: float, decay: float = 0.0) -> None:
        layers = model.layers
        linears = [*(layer.linear for layer in layers), model.classifier]
        self.data = data
        self.lr = lr
        self.keep = 1.0 - lr * decay
        self.weights = [linear.weight.data for linear in linears]
        self.biases = [None if linear.bias is None else linear.bias.data for linear in linears]
        norms = [layer.norm if isinstance(layer.norm, BatchNorm) else None for layer in layers]
        self.norms = [norm and _tensors(norm) for norm in norms]
        self.nonlinearities = [_NONLINEARITY[type(layer.nonlinearity)] for layer in layers]
        self.batch_counts = [norm.num_batches_tracked for norm in norms if norm]

        # Memory for the images, the labels, each affine output and the gradient of each layer's input.
        new = self.weights[0].new_empty
        self.raw = data.images.new_empty(batch, data.images.shape[1])
        self.images = new(self.raw.shape)
        self.labels = data.labels.new_empty(batch)
        self.affine = [new(batch, len(weight)) for weight in self.weights]
        self.input_gradients = [new(batch, weight.shape[1]) for weight in self.weights]
        self.ones = self.weights[0].new_ones(batch)
        self.one = self.weights[0].new_ones(())

    @torch.no_grad()
    def __call__(self, *given: Tensor) -> Tensor:
        (indices,) = given
        torch.index_select(self.data.images, 0, indices, out=self.raw)
        torch.index_select(self.data.labels, 0, indices, out=self.labels)
        inputs = [self.images.copy_(self.raw)]  # u of each layer
        statistics = []  # of each BN, mu_B and 1 / sqrt(s2_B + eps)
        for i, norm in enumerate(self.norms):
            x = self._forward_affine(i, inputs[i])
            if norm is None:
                statistics.append(None)
            else:
                x, *mean_and_inverse_std = torch.native_batch_norm(
                    x, norm.gamma, norm.beta, norm.running_mean, norm.running_var,
                    True, norm.momentum, norm.eps,
                )  # fmt: skip
                statistics.append(mean_and_inverse_std)
            inputs.append(self.nonlinearities[i][0](x))
        if self.batch_counts:
            torch._foreach_add_(self.batch_counts, 1)

        log_p = aten._log_softmax.default(self._forward_affine(-1, inputs[-1]), 1, False)
        loss, count = aten.nll_loss_forward.default(log_p, self.labels, None, 1, -100)
        d = aten.nll_loss_backward.default(self.one, log_p, self.labels, None, 1, -100, count)
        d = aten._log_softmax_backward_data.default(d, log_p, 1, log_p.dtype)

        d = self._backward_affine(len(self.norms), inputs[-1], d)
        for i in reversed(range(len(self.norms))):
            self.nonlinearities[i][1](d, inputs[i + 1])
            norm = self.norms[i]
            if norm is not None:
                d, dgamma, dbeta = aten.native_batch_norm_backward.default(
                    d, self.affine[i], norm.gamma, norm.running_mean, norm.running_var,
                    *statistics[i], True, norm.eps, [True, True, True],
                )  # fmt: skip
                norm.gamma.add_(dgamma, alpha=-self.lr)
                norm.beta.add_(dbeta, alpha=-self.lr)
            d = self._backward_affine(i, inputs[i], d)
        return loss

    def set_rate(self, rate: float) -> None:
        assert rate == self.lr, "the rate of the fused step is constant"

    def tensors(self) -> list[Tensor]:
        return []  # plain SGD remembers nothing

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def _forward_affine(self, i: int, u: Tensor) -> Tensor:
        bias, transposed = self.biases[i], self.weights[i].t()
        if bias is None:
            return torch.mm(u, transposed, out=self.affine[i])
        return torch.addmm(bias, u, transposed, out=self.affine[i])

    def _backward_affine(self, i: int, u: Tensor, d: Tensor) -> Tensor:
        """dl/du, then the update of W and b; the first layer's dl/du is needed by nobody."""
        du = torch.mm(d, self.weights[i], out=self.input_gradients[i]) if i else d
        transposed = d.t()
        self.weights[i].addmm_(transposed, u, beta=self.keep, alpha=-self.lr)
        bias = self.biases[i]
        if bias is not None:
            bias.addmv_(transposed, self.ones, alpha=-self.lr)
        return du


def _tensors(norm: BatchNorm) -> _Norm:
    return _Norm(
        norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var, norm.momentum, norm.eps
    )  # fmt: skip
