"""Norms of each layer's weights W, and of the loss's gradients with respect to W and to the layer's input.

Section 3.3: with BN the scale of W does not affect the layer's output, and "larger weights lead to smaller
gradients": dBN((aW)u)/d(aW) = 1/a * dBN(Wu)/dW.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bn.models.weights import weights
from bn.observe.observation import Observation, Place, recorded_at, training_mode


def norms(name: str, tensors: dict[str, list[Tensor]]) -> dict[str, float]:
    """Return `observe/<name>/<layer>`, the Euclidean norm of each layer's tensors, with one device sync."""
    if not tensors:
        return {}
    values = torch.stack([torch.stack(torch._foreach_norm(each)).norm() for each in tensors.values()])
    return {f"observe/{name}/{layer}": value for layer, value in zip(tensors, values.tolist(), strict=True)}


class _AtLoggedSteps(Observation):
    """Observes before the first step and at the steps whose losses are logged."""

    def steps(self) -> frozenset[int]:
        config = self.subject.config
        return frozenset((*range(0, config.length + 1, config.log_every), config.length))


class WeightNorms(_AtLoggedSteps):
    """`observe/weight_norm/<layer>`: the norm of a layer's weights."""

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        return norms("weight_norm", {name: weights(m) for name, m in self.subject.layers.items()})


class GradientNorms(_AtLoggedSteps):
    """`observe/gradient_norm/<layer>`: the norm of the gradient with respect to a layer's weights.

    The loss is the mean cross-entropy, in nats, of the first mini-batch of the observed examples, in training
    mode and float32, with the weights after the step. It is computed separately from training, so it is the
    same for every step implementation and on a CUDA graph.
    """

    def observe(self, step: int) -> dict[str, float]:
        model, layers = self.subject.model, self.subject.layers
        if not layers:
            return {}
        images, labels = self.subject.batches[0]
        observed = {name: weights(layer) for name, layer in layers.items()}
        with training_mode(model), torch.enable_grad():
            loss = F.cross_entropy(model(images), labels)
            gradients = iter(torch.autograd.grad(loss, [w for each in observed.values() for w in each]))
        return norms(
            "gradient_norm", {name: [next(gradients) for _ in each] for name, each in observed.items()}
        )


class InputGradients(Observation):
    """`observe/input_gradient/<layer>`: the norm of the same gradient with respect to a layer's input u.

    It shows how much of the gradient is left when it has passed through the layer.
    """

    def observe(self, step: int) -> dict[str, float]:
        model, layers = self.subject.model, self.subject.layers
        if not layers:
            return {}
        images, labels = self.subject.batches[0]
        places: dict[str, Place] = {name: (layer, "input") for name, layer in layers.items()}
        with recorded_at(places, lambda u: u) as inputs, training_mode(model), torch.enable_grad():
            loss = F.cross_entropy(model(images.clone().requires_grad_()), labels)
            gradients = torch.autograd.grad(loss, [u for (u,) in inputs.values()])
        return norms("input_gradient", {name: [du] for name, du in zip(inputs, gradients, strict=True)})
