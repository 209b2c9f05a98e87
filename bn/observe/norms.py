"""Norms of each layer's weights W, and of the gradient of the loss with respect to them and to its input.

Section 3.3: with BN the scale of W does not change what the layer puts out, and "larger weights lead to
smaller gradients": dBN((aW)u)/d(aW) = 1/a * dBN(Wu)/dW.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bn.models.weights import weights
from bn.observe.observation import Observation, Place, kept_at, undisturbed


class _Norms(Observation):
    """Euclidean norms, at the steps whose losses are logged, and before the first."""

    def steps(self) -> frozenset[int]:
        config = self.subject.config
        return frozenset((*range(0, config.length + 1, config.log_every), config.length))

    def norms(self, name: str, tensors: dict[str, list[Tensor]]) -> dict[str, float]:
        """`observe/<name>/<layer>` of each layer's tensors together; the device is waited for once."""
        if not tensors:
            return {}
        norms = torch.stack([torch.stack(torch._foreach_norm(each)).norm() for each in tensors.values()])
        return {f"observe/{name}/{layer}": norm for layer, norm in zip(tensors, norms.tolist(), strict=True)}


class WeightNorms(_Norms):
    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        return self.norms("weight_norm", {name: weights(m) for name, m in self.subject.layers.items()})


class GradientNorms(_Norms):
    """Of the mean cross-entropy, in nats, of the first mini-batch of the observed examples.

    Computed on its own, in training mode and float32, with the weights as they are after the step: so it is
    the same whatever step trains the network, and on a CUDA graph.
    """

    def observe(self, step: int) -> dict[str, float]:
        model, layers = self.subject.model, self.subject.layers
        if not layers:
            return {}
        images, labels = self.subject.batches[0]
        observed = {name: weights(layer) for name, layer in layers.items()}
        with undisturbed(model), torch.enable_grad():
            loss = F.cross_entropy(model(images), labels)
            gradients = iter(torch.autograd.grad(loss, [w for each in observed.values() for w in each]))
        return self.norms(
            "gradient_norm", {name: [next(gradients) for _ in each] for name, each in observed.items()}
        )


class InputGradients(_Norms):
    """The same, with respect to the input u of each layer: what is left of the gradient that reaches it.

    At the steps of `probe.at`.
    """

    def steps(self) -> frozenset[int]:
        return Observation.steps(self)

    def observe(self, step: int) -> dict[str, float]:
        model, layers = self.subject.model, self.subject.layers
        if not layers:
            return {}
        images, labels = self.subject.batches[0]
        places: dict[str, Place] = {name: (layer, "input") for name, layer in layers.items()}
        with kept_at(places, lambda u: u) as inputs, undisturbed(model), torch.enable_grad():
            loss = F.cross_entropy(model(images.clone().requires_grad_()), labels)
            gradients = torch.autograd.grad(loss, [u for (u,) in inputs.values()])
        return self.norms("input_gradient", {name: [du] for name, du in zip(inputs, gradients, strict=True)})
