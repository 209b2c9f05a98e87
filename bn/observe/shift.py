"""Internal covariate shift, in two definitions: the effect of one training step on the inputs of a layer.

The paper (section 2): "the change in the distribution of network activations due to the change in network
parameters during training". Santurkar et al. 2018 (arXiv 1805.11604, definition 2.1): the change of a layer's
gradient when the layers before it have taken the step and the layer itself has not.
"""

from abc import abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from bn.models.weights import weights
from bn.observe.observation import Observation, Subject, nonlinearity_inputs, training_mode

Tensors = dict[str, Tensor]


class _OneStep(Observation):
    """Compares the network before and after the training step that follows each step n of `probe.at`.

    The result is logged at step n + 1.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        last = subject.config.length
        self.before_at = {n for n in super().steps() if n < last}
        self.before: Tensors = {}  # the snapshot before the step; empty at most steps

    def steps(self) -> frozenset[int]:
        return frozenset(step for n in self.before_at for step in (n, n + 1))

    def observe(self, step: int) -> dict[str, float]:
        now = self.snapshot()
        numbers = self.compare(self.before, now) if step - 1 in self.before_at else {}
        self.before = now if step in self.before_at else {}
        return numbers

    def state_dict(self) -> Tensors:
        return self.before

    def load_state_dict(self, state: Tensors) -> None:
        self.before = state

    @abstractmethod
    def snapshot(self) -> Tensors:
        """Return copies of the network's values that `compare` needs."""

    @abstractmethod
    def compare(self, before: Tensors, after: Tensors) -> dict[str, float]: ...


class InputShift(_OneStep):
    """`observe/shift/<layer>`: how far the distribution of the inputs to a nonlinearity moves in one step.

    It is the 1-Wasserstein distance between a unit's inputs before and after the step, over all examples,
    averaged over the layer's units and divided by their mean standard deviation before the step.
    """

    def snapshot(self) -> Tensors:
        """Return the inputs of each layer, (units, values), sorted for each unit."""
        return {
            name: torch.from_numpy(np.sort(inputs.t().cpu().numpy(), axis=1))
            for name, inputs in nonlinearity_inputs(self.subject).items()
        }

    def compare(self, before: Tensors, after: Tensors) -> dict[str, float]:
        return {f"observe/shift/{name}": relative_shift(before[name], after[name]) for name in after}


def relative_shift(before: Tensor, after: Tensor) -> float:
    """Return the mean distance between sorted samples (units, N), over the mean spread of `before`.

    The 1-Wasserstein distance between two samples of equal size is the mean distance between the values of
    equal rank.
    """
    distance = (after.double() - before.double()).abs().mean(1)
    return (distance.mean() / before.double().std(1, correction=0).mean()).item()


class GradientShift(_OneStep):
    """The change of a layer's gradient due to the step of the layers before it (Santurkar et al. 2018).

    G is the gradient of the loss with respect to the layer's weights W before the step. G' is the same after
    all layers before it have taken the step. `observe/gradient_shift/<layer>` is |G' - G| / |G|, with
    Euclidean norms, and `observe/gradient_cosine/<layer>` the cosine between G' and G. The loss is the mean
    cross-entropy of the first mini-batch of the observed examples, in training mode and float32. A layer
    comes before another if its parameters do. The first layer has no value.
    """

    def snapshot(self) -> Tensors:
        return {name: parameter.detach().clone() for name, parameter in self.subject.model.named_parameters()}

    def compare(self, before: Tensors, after: Tensors) -> dict[str, float]:
        names = [name for name, _ in self.subject.model.named_parameters()]
        own = {id(p): name for name, p in self.subject.model.named_parameters()}
        numbers = {}
        for layer, module in self.subject.layers.items():
            of_layer = [own[id(weight)] for weight in weights(module)]
            first = min(map(names.index, of_layer))
            if first == 0:
                continue
            earlier = {name: after[name] for name in names[:first]}
            old, new = self.gradient(before, of_layer), self.gradient({**before, **earlier}, of_layer)
            numbers[f"observe/gradient_shift/{layer}"] = ((new - old).norm() / old.norm()).item()
            numbers[f"observe/gradient_cosine/{layer}"] = F.cosine_similarity(new, old, dim=0).item()
        return numbers

    def gradient(self, parameters: Tensors, wanted: list[str]) -> Tensor:
        """Return the gradient of the loss with respect to the `wanted` parameters, as one float64 vector."""
        images, labels = self.subject.batches[0]
        parameters = {
            name: value.clone().requires_grad_(name in wanted) for name, value in parameters.items()
        }
        with training_mode(self.subject.model), torch.enable_grad():
            loss = F.cross_entropy(functional_call(self.subject.model, parameters, images), labels)
            gradients = torch.autograd.grad(loss, [parameters[name] for name in wanted])
        return torch.cat([gradient.flatten() for gradient in gradients]).double()
