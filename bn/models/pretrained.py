"""Convert BN-Inception weights from the layout of the `pretrainedmodels` package.

That layout differs from ours in four ways:

- Names: `inception_4c_double_3x3_reduce.weight`, its BN `inception_4c_double_3x3_reduce_bn.*`, `last_linear`.
- Its convolutions keep a bias b before BN. BN(Wu + b) with mean E equals BN(Wu) with mean E - b exactly.
- Its input is BGR, 0 to 255, minus (104, 117, 128); ours is RGB minus the same color, divided by STD. The
  first convolution absorbs the difference: its input channels are reversed and its weights multiplied by STD.
  A padding pixel is 0 in both, so borders agree too.
- Older files hold BN tensors of shape [1, C] and no `num_batches_tracked`.

The network is Figure 5's with a dense first convolution and 128 filters in the pool projections of 4c and 4d.
Its pools equal ours at the sizes that follow from an input of 224. They differ at odd sides, which our
strided pools pad and its pools do not.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bn.data.photometric import STD
from bn.errors import UserError, listed
from bn.models.inception import Inception, inception

STEM = {"conv1": "conv1_7x7_s2", "conv2_reduce": "conv2_3x3_reduce", "conv2": "conv2_3x3"}
NORM = ("weight", "bias", "running_mean", "running_var")
NAMED = 3  # keys of each kind that an error message lists


def from_public(state: Mapping[str, Any]) -> Inception:
    """Return the network with the public weights `state`, in evaluation mode.

    The number of classes is taken from `state`. Raises UserError if keys or shapes do not fit the layout.
    """
    last = state.get("last_linear.bias")
    classes = last.numel() if isinstance(last, Tensor) else 1000
    network = inception(classes, stem="dense", pool_proj=128)
    own = network.state_dict()
    units = {unit: STEM.get(unit) or unit.replace(".conv_", "_").replace(".", "_") for unit in network.units}
    names = {f"classifier.{part}": f"last_linear.{part}" for part in ("weight", "bias")}
    for unit, name in units.items():
        names[f"{unit}.conv.weight"] = f"{name}.weight"
        names |= {f"{unit}.norm.{part}": f"{name}_bn.{part}" for part in NORM}
    shapes = {name: own[key].shape for key, name in names.items()}
    shapes |= {f"{name}.bias": own[f"{unit}.norm.bias"].shape for unit, name in units.items()}
    tensors = _checked(state, shapes)

    converted = {key: tensors[name] for key, name in names.items()}
    converted["conv1.conv.weight"] = converted["conv1.conv.weight"].flip(1) * STD
    for unit, name in units.items():
        converted[f"{unit}.norm.running_mean"] = tensors[f"{name}_bn.running_mean"] - tensors[f"{name}.bias"]
        converted[f"{unit}.norm.num_batches_tracked"] = torch.tensor(1)  # marks the statistics as present
    network.load_state_dict(converted)
    return network.eval()


def _checked(state: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Return the tensors of `state`, [1, C] as [C]. Raises UserError unless they match `shapes`."""
    flat = {
        key: value[0] if isinstance(value, Tensor) and value.shape == (1, *shapes.get(key, ())) else value
        for key, value in state.items()
        if not key.endswith(".num_batches_tracked")
    }
    missing = [key for key, shape in shapes.items() if getattr(flat.get(key), "shape", None) != shape]
    unexpected = [str(key) for key in flat if key not in shapes]
    if missing or unexpected:
        raise UserError(
            "not BN-Inception weights in the layout of pretrainedmodels: missing or of another shape: "
            f"{listed(missing, NAMED) or 'none'}; unexpected: {listed(unexpected, NAMED) or 'none'}"
        )
    return flat
