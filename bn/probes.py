"""What is observed inside a network while it trains: percentiles of the inputs to the nonlinearities.

Figure 1(b, c) shows "the {15, 50, 85}th percentiles of the input to the sigmoid" over training. With BN that
input is BN's output, gamma * xhat + beta.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bn.models.mlp import MLP


class PercentileProbe:
    """Percentiles, over a fixed set of examples, of each unit's input to its nonlinearity.

    The network is observed in training mode (N_BN^tr: normalized by the statistics of each mini-batch) in
    mini-batches of the size it trains with, and left as it was: the forward passes do not touch the moving
    averages. `paths` collects what each call observed.
    """

    def __init__(self, model: MLP, images: Tensor, batch: int, percentiles: Sequence[float]) -> None:
        """`images` (N, inputs): whole mini-batches of `batch` are used, so N is rounded up by the caller."""
        self.model = model
        self.percentiles = tuple(percentiles)
        self.batches = images.split(batch)
        self.steps: list[int] = []
        self.paths: list[list[np.ndarray]] = [[] for _ in model.layers]  # per layer: (percentile, unit)
        self._inputs = [
            layer.linear.weight.new_empty(len(images), layer.linear.out_features) for layer in model.layers
        ]

    @torch.no_grad()
    def observe(self, step: int) -> None:
        """Append the percentiles at `step`."""
        was_training = self.model.training
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        row = 0

        def keep(index: int):
            def hook(_module, inputs) -> None:
                self._inputs[index][row : row + len(inputs[0])] = inputs[0]

            return hook

        hooks = [
            layer.nonlinearity.register_forward_pre_hook(keep(i)) for i, layer in enumerate(self.model.layers)
        ]
        try:
            self.model.train()
            for images in self.batches:
                self.model(images)
                row += len(images)
        finally:
            for hook in hooks:
                hook.remove()
            for buffer, saved in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(saved)
            self.model.train(was_training)
        self.steps.append(step)
        for path, inputs in zip(self.paths, self._inputs, strict=True):
            path.append(percentiles_of_columns(inputs, self.percentiles))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything observed so far, for a checkpoint."""
        state = {f"layer{i + 1}": torch.from_numpy(self._path(i)) for i in range(len(self.paths))}
        return {"steps": torch.tensor(self.steps, dtype=torch.int64), **state}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.steps = state["steps"].tolist()
        self.paths = [list(state[f"layer{i + 1}"].numpy()) for i in range(len(self.paths))]

    def save(self, path: Path) -> None:
        """Write `activations.npz`: steps (T,), percentiles (P,), layer1... (T, P, units) float32."""
        part = path.with_suffix(".part.npz")
        arrays: dict[str, Any] = {name: array.numpy() for name, array in self.state_dict().items()}
        try:
            np.savez(part, **arrays, percentiles=np.array(self.percentiles))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _path(self, layer: int) -> np.ndarray:
        units = self._inputs[layer].shape[1]
        return np.array(self.paths[layer], np.float32).reshape(-1, len(self.percentiles), units)


def percentiles_of_columns(values: Tensor, percentiles: Sequence[float]) -> np.ndarray:
    """(len(percentiles), columns) of values (N, columns), interpolated linearly as numpy.percentile does.

    One sort serves all percentiles, where numpy selects for each.
    """
    ordered = values.t().clone(memory_format=torch.contiguous_format).cpu().numpy()
    ordered.sort(axis=1)
    position = np.asarray(percentiles) / 100 * (ordered.shape[1] - 1)
    below = position.astype(np.int64)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    weight = (position - below).astype(ordered.dtype)
    low, high = ordered[:, below], ordered[:, above]
    with np.errstate(invalid="ignore"):  # the inputs of a diverging network may be infinite
        return np.ascontiguousarray((low + (high - low) * weight).T)


def typical_unit(path: np.ndarray) -> int:
    """The declared rule for "one typical activation" (the paper does not say how it was chosen).

    `path` (T, P, units): the percentile paths of a layer. The unit whose paths are nearest, in the sum of
    squares over steps and percentiles, to the layer's median paths (the median over units at each step).
    """
    median = np.median(path, axis=2, keepdims=True)
    return int(((path - median) ** 2).sum(axis=(0, 1)).argmin())
