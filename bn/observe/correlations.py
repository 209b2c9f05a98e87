"""Correlations between the normalized inputs of a layer's units, which BN does not remove.

Section 3 normalizes each unit by itself, "even when the features are not decorrelated"; their joint
distribution may still change during training.
"""

import torch
from torch import Tensor

from bn.observe.observation import Observation, Subject, nonlinearity_inputs


class Correlations(Observation):
    """Correlations between the inputs to each layer's nonlinearity, divided by the sign of gamma.

    - `observe/correlation/<layer>`: the mean absolute correlation over all pairs of units and all examples.
    - `observe/correlation_change/<layer>`: the root mean square over pairs of the change of the correlation
      since a tenth of the training, on the first half of the examples.
    - `observe/correlation_sampling/<layer>`: the same difference between the two halves of the examples at
      one step, for comparison.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.reference_at = max(1, subject.config.length // 10)
        self.reference: dict[str, Tensor] = {}  # the correlations at that step

    def steps(self) -> frozenset[int]:
        return super().steps() | {self.reference_at}

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        numbers, halves = {}, {}
        for name, inputs in nonlinearity_inputs(self.subject).items():
            gamma = getattr(self.subject.layers[name].norm, "weight", None)
            xhat = inputs.double()
            if gamma is not None and gamma.shape == inputs.shape[1:]:  # one per unit
                xhat = xhat * gamma.sign()
            one, other = (correlations(half) for half in xhat.tensor_split(2))
            numbers[f"observe/correlation/{name}"] = correlations(xhat).abs().mean().item()
            numbers[f"observe/correlation_sampling/{name}"] = root_mean_square(one - other)
            halves[name] = one
        if step == self.reference_at:
            self.reference = halves
        for name, reference in self.reference.items():
            numbers[f"observe/correlation_change/{name}"] = root_mean_square(halves[name] - reference)
        return numbers

    def state_dict(self) -> dict[str, Tensor]:
        return self.reference

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.reference = state


def correlations(values: Tensor) -> Tensor:
    """Return the correlation of each pair of columns of (N, units), as a vector.

    These are the entries above the diagonal of the correlation matrix. A constant column has correlation 0.
    """
    units = values.shape[1]
    above = torch.triu_indices(units, units, offset=1)
    return torch.corrcoef(values.t()).nan_to_num(0.0).view(units, units)[above[0], above[1]]


def root_mean_square(values: Tensor) -> float:
    return values.square().mean().sqrt().item()
