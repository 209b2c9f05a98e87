"""One training step, in two forms that compute the same numbers.

`AutogradStep` is the readable path: any model, any optimizer, torch's autograd. `FusedStep` is the fast path
for the MLP under plain SGD: forward, the paper's backward and the update written out on torch's own kernels.
What it saves is not arithmetic but everything around it: the autograd graph, the gradients' memory (the
update W - lr dW happens inside the matrix product that makes dW) and the allocations. Either can be
replayed as a CUDA graph (`CudaGraphStep`).

A step takes the (batch,) indices of its mini-batch and returns the loss, a scalar on the device, without
waiting for it.
"""

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.data.mnist import Split
from bn.models.mlp import MLP
from bn.norm import BatchNorm

aten = torch.ops.aten


class Step(Protocol):
    def __call__(self, indices: Tensor) -> Tensor: ...

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the model: the optimizer's state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class AutogradStep:
    """Forward, backward and optimizer, as everybody writes them."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, data: Split) -> None:
        self.model = model
        self.optimizer = optimizer
        self.data = data

    def __call__(self, indices: Tensor) -> Tensor:
        images = self.data.images[indices].to(next(self.model.parameters()).dtype)
        loss = F.cross_entropy(self.model(images), self.data.labels[indices])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


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
    """The MLP's step under SGD without momentum, written out; in place on the model's own tensors.

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
    def __call__(self, indices: Tensor) -> Tensor:
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

    def state_dict(self) -> dict[str, Any]:
        return {}  # plain SGD remembers nothing

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


class CudaGraphStep:
    """Replays a step as a CUDA graph: one launch from the host for all its kernels.

    Capturing needs a few real steps first; what they changed of the model and of the optimizer's momentum is
    put back, so that training starts from where it was. Load the step's state before, not after.
    """

    def __init__(self, step: Step, model: nn.Module, batch: int) -> None:
        def tensors() -> list[Tensor]:
            state = step.state_dict().get("state", {})  # of torch's optimizers, by parameter
            momenta = [tensor for entry in state.values() for tensor in entry.values()]
            return [*model.parameters(), *model.buffers(), *(m for m in momenta if m is not None)]

        self.step = step
        saved = [tensor.clone() for tensor in tensors()]
        self.indices = torch.arange(batch, device=saved[0].device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step(self.indices)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = step(self.indices)
        with torch.no_grad():
            for i, tensor in enumerate(tensors()):
                # A momentum buffer that the first step made starts at 0, which is what no buffer means.
                tensor.copy_(saved[i]) if i < len(saved) else tensor.zero_()

    def __call__(self, indices: Tensor) -> Tensor:
        self.indices.copy_(indices)
        self.graph.replay()
        return self.loss

    def state_dict(self) -> dict[str, Any]:
        return self.step.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise RuntimeError("the graph is captured: load the step's state before")
