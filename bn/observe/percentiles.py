"""Percentiles of the inputs to the nonlinearities over training, as in Figure 1(b, c).

The paper shows "the {15, 50, 85}th percentiles of the input to the sigmoid". With BN that input is BN's
output, gamma * xhat + beta.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bn.config import Loggers
from bn.files import atomic_file
from bn.observe.observation import Histogram, Observation, Subject, Views, nonlinearity_inputs
from bn.observe.typical import typical_unit as typical_unit

BINS = 64  # of a histogram


class Percentiles(Observation):
    """Percentiles of each unit's input to its nonlinearity, over all examples.

    The network runs in training mode, in mini-batches of the training size. A convolution's unit is a feature
    map at all its locations. `paths` holds, for each layer, one array (percentiles, units) float32 per
    observation. All is saved in `activations.npz`, nothing in metrics.jsonl.

    Loggers show, for each layer, the percentiles of the unit that is typical so far, each percentile's median
    over the units, and a histogram of all inputs to the nonlinearity.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.percentiles = subject.config.probe.percentiles
        self.observed_at: list[int] = []
        self.paths: dict[str, list[np.ndarray]] = {name: [] for name in subject.layers}
        self._histograms: dict[str, Histogram] = {}  # of the latest observation, by layer

    def observe(self, step: int) -> dict[str, float]:
        inputs = nonlinearity_inputs(self.subject)
        self.observed_at.append(step)
        self._histograms = {}
        for name, path in self.paths.items():
            values = inputs.pop(name)
            if self.subject.config.logger != Loggers() and (histogram := histogram_of(values)):
                self._histograms[name] = histogram
            path.append(percentiles_of_columns(values, self.percentiles))
        return {}

    def views(self) -> Views:
        numbers = {}
        for name, path in self.paths.items():
            typical = typical_unit(np.array(path))
            for which, of_units in zip(self.percentiles, path[-1], strict=True):
                numbers[f"percentiles/{name}/typical_{which:g}"] = float(of_units[typical])
                numbers[f"percentiles/{name}/median_{which:g}"] = float(np.median(of_units))
        return Views(
            {name: number for name, number in numbers.items() if math.isfinite(number)},
            {f"inputs/{name}": histogram for name, histogram in self._histograms.items()},
        )

    def state_dict(self) -> dict[str, Tensor]:
        paths = {name: torch.from_numpy(np.array(path, np.float32)) for name, path in self.paths.items()}
        return {"steps": torch.tensor(self.observed_at, dtype=torch.int64), **paths}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.observed_at = state["steps"].tolist()
        self.paths = {name: list(state[name].numpy()) for name in self.paths}

    def save(self, folder: Path) -> None:
        """Write `activations.npz`: steps (T,), percentiles (P,), and for each name (T, P, units) float32."""
        arrays: dict[str, Any] = {name: array.numpy() for name, array in self.state_dict().items()}
        with atomic_file(folder / "activations.npz") as file:
            np.savez(file, **arrays, percentiles=np.array(self.percentiles))


def percentiles_of_columns(values: Tensor, percentiles: Sequence[float]) -> np.ndarray:
    """Return the percentiles of each column of (N, columns), as numpy.percentile does.

    Interpolation is linear, and a column that contains NaN has only NaN. One sort, on the device of `values`,
    serves all percentiles; numpy selects for each.
    """
    last = len(values) - 1  # a NaN is sorted to the end
    position = np.asarray(percentiles) / 100 * last
    below = position.astype(np.int64)
    places = np.stack([below, np.minimum(below + 1, last), np.full_like(below, last)])
    low, high, largest = order_statistics(values.t().clone(memory_format=torch.contiguous_format), places)
    weight = (position - below).astype(low.dtype)
    with np.errstate(invalid="ignore"):  # the inputs of a diverging network may be infinite
        found = np.where(np.isnan(largest), largest, low + (high - low) * weight)
    return np.ascontiguousarray(found.T)


def order_statistics(rows: Tensor, places: np.ndarray) -> np.ndarray:
    """Sort each row, in place, and return the values at `places` (K, P): (K, len(rows), P)."""
    if rows.is_cuda:
        return order_statistics_on_device(rows, places).cpu().numpy()
    ordered = rows.numpy()
    ordered.sort(axis=1)  # several times faster than torch's on a CPU
    return np.stack([ordered[:, at] for at in places])


def order_statistics_on_device(rows: Tensor, places: np.ndarray, at_once: int = 1 << 25) -> Tensor:
    """Sort about `at_once` values at a time, since a sort takes several times the memory of its input."""
    index = torch.from_numpy(places).to(rows.device)
    parts = rows.split(max(1, at_once // rows.shape[1]))
    return torch.cat([part.sort(1).values[:, index] for part in parts]).movedim(1, 0)


def histogram_of(values: Tensor) -> Histogram | None:
    """Count the finite values in bins of equal width, from minimum to maximum. None if no value is finite."""
    finite = values[values.isfinite()]
    if not len(finite):
        return None
    low, high = (edge.item() for edge in finite.aminmax())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = torch.histc(finite, BINS, low, high)
    return Histogram(counts.cpu().numpy(), np.linspace(low, high, BINS + 1))
