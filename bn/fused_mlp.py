"""The fused training step of the MLP: forward, the paper's backward and the update, on torch's own kernels.

It computes the same numbers as the readable step, `bn.tasks.steps.AutogradStep`, in about half the time: with
BN 0.556 ms against 1.003 ms a step, without BN 0.443 ms against 0.843 ms, on one core (medians of 15 rounds;
results/benchmark/cpu.md). The arithmetic is the same. It saves the autograd graph, the memory of the
gradients (the update W - lr dW happens inside the matrix product that computes dW) and allocations.

`unsupported` names what it cannot train; the readable step trains everything else.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bn.config import Config, MlpModel
from bn.models.mlp import MLP, HiddenLayer
from bn.norm import BatchNorm
from bn.norm.layers import is_plain

aten = torch.ops.aten


class _Nonlinearity(NamedTuple):
    module: type[nn.Module]
    forward: Callable[[Tensor], Tensor]  # z = g(x), in place
    backward: Callable[[Tensor, Tensor], Tensor]  # dl/dx from dl/dz and z, in place of dl/dz


NONLINEARITIES = {
    "sigmoid": _Nonlinearity(
        nn.Sigmoid, Tensor.sigmoid_, lambda dz, z: aten.sigmoid_backward.grad_input(dz, z, grad_input=dz)
    ),
    "tanh": _Nonlinearity(
        nn.Tanh, Tensor.tanh_, lambda dz, z: aten.tanh_backward.grad_input(dz, z, grad_input=dz)
    ),
    "relu": _Nonlinearity(
        nn.ReLU, Tensor.relu_, lambda dz, z: aten.threshold_backward.grad_input(dz, z, 0, grad_input=dz)
    ),
}
NORMS = ("none", "batch")


def unsupported(config: Config) -> str | None:
    """Return a setting that `FusedStep` does not support, such as "optim.momentum=0.9", or None."""
    model, optim = config.model, config.optim
    assert isinstance(model, MlpModel)
    settings = {
        f"model.norm={model.norm}": model.norm not in NORMS,
        f"model.norm_place={model.norm_place}": model.norm_place != "before",
        f"model.dropout={model.dropout:g}": model.dropout > 0,
        f"model.nonlinearity={model.nonlinearity}": model.nonlinearity not in NONLINEARITIES,
        f"optim.name={optim.name}": optim.name != "sgd",
        f"optim.momentum={optim.momentum:g}": optim.momentum > 0,
        f"optim.decay.factor={optim.decay.factor:g}": optim.decay.factor < 1,
    }
    return next((setting for setting, is_unsupported in settings.items() if is_unsupported), None)


class _Norm(NamedTuple):
    """The tensors of a BatchNorm, so that a step does not look up its attributes."""

    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float
    eps: float


class FusedStep:
    """A step of SGD on an MLP, at a constant learning rate without momentum, in place on the model's tensors.

    Takes images (batch, inputs), with the dtype of the weights, and labels (batch,) int64. Weight decay, on
    the matrices W but not on gamma, beta and b, costs nothing: W <- (1 - lr decay) W - lr dW. Raises
    ValueError for a network that it cannot compute.
    """

    def __init__(self, model: MLP, *, batch: int, lr: float, decay: float = 0.0) -> None:
        _check(model)
        layers = model.layers
        linears = [*(layer.linear for layer in layers), model.classifier]
        self.lr = lr
        self.keep = 1.0 - lr * decay
        self.weights = [linear.weight.data for linear in linears]
        self.biases = [None if linear.bias is None else linear.bias.data for linear in linears]
        norms = [layer.norm if isinstance(layer.norm, BatchNorm) else None for layer in layers]
        self.norms = [norm and _tensors(norm) for norm in norms]
        by_type = {one.module: one for one in NONLINEARITIES.values()}
        self.nonlinearities = [by_type[type(layer.nonlinearity)] for layer in layers]
        self.batch_counts = [norm.num_batches_tracked for norm in norms if norm]

        # Buffers for each affine output and the gradient of each layer's input.
        new = self.weights[0].new_empty
        self.affine = [new(batch, len(weight)) for weight in self.weights]
        self.input_gradients = [new(batch, weight.shape[1]) for weight in self.weights]
        self.ones = self.weights[0].new_ones(batch)
        self.one = self.weights[0].new_ones(())

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        inputs = [images]  # u of each layer
        statistics = []  # mu_B and 1 / sqrt(sigma2_B + eps) of each BN
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
            inputs.append(self.nonlinearities[i].forward(x))
        if self.batch_counts:
            torch._foreach_add_(self.batch_counts, 1)

        log_p = aten._log_softmax.default(self._forward_affine(-1, inputs[-1]), 1, False)
        loss, count = aten.nll_loss_forward.default(log_p, labels, None, 1, -100)
        d = aten.nll_loss_backward.default(self.one, log_p, labels, None, 1, -100, count)
        d = aten._log_softmax_backward_data.default(d, log_p, 1, log_p.dtype)

        # In turn, d is the gradient with respect to the logits and to z, y = BN(x) and x of each layer.
        d = self._backward_affine(len(self.norms), inputs[-1], d)
        for i in reversed(range(len(self.norms))):
            self.nonlinearities[i].backward(d, inputs[i + 1])
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

    def set_lr(self, lr: float) -> None:
        assert lr == self.lr, "the learning rate of the fused step is constant"

    def state_tensors(self) -> list[Tensor]:
        return []  # plain SGD has no state

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
        """Return dl/du, which the first layer does not need, and update W and b."""
        du = torch.mm(d, self.weights[i], out=self.input_gradients[i]) if i else d
        transposed = d.t()
        self.weights[i].addmm_(transposed, u, beta=self.keep, alpha=-self.lr)
        bias = self.biases[i]
        if bias is not None:
            bias.addmv_(transposed, self.ones, alpha=-self.lr)
        return du


def _check(model: MLP) -> None:
    """Raise ValueError unless `model` is as `bn.models.mlp.mlp` builds it: the step calls no modules."""
    nonlinearities = [one.module for one in NONLINEARITIES.values()]
    parts = [(model, [MLP]), (model.hidden, [nn.Sequential]), (model.classifier, [nn.Linear])]
    parts += [(layer, [HiddenLayer]) for layer in model.hidden]
    for layer in model.layers:
        if layer.place != "before":
            raise ValueError(f"the fused step cannot compute a layer with place={layer.place}")
        parts += [
            (layer.linear, [nn.Linear]),
            (layer.norm, [nn.Identity, BatchNorm]),
            (layer.nonlinearity, nonlinearities),
            (layer.dropout, [nn.Identity]),
        ]
    for part, types in parts:
        if type(part) not in types or getattr(part, "group", None) is not None:
            raise ValueError(f"the fused step cannot compute {type(part).__name__}")
        if not is_plain(part):
            raise ValueError(f"the fused step cannot compute {type(part).__name__} with hooks")
    parameters = [parameter for _, parameter in model.named_parameters(remove_duplicate=False)]
    if len({id(parameter) for parameter in parameters}) < len(parameters) or any(
        parameter._backward_hooks or parameter._post_accumulate_grad_hooks or not parameter.requires_grad
        for parameter in parameters
    ):
        raise ValueError("the fused step cannot compute parameters that are shared, frozen or have hooks")


def _tensors(norm: BatchNorm) -> _Norm:
    return _Norm(
        norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var, norm.momentum, norm.eps
    )  # fmt: skip
