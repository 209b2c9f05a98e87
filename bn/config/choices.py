"""What can be chosen by name in the config, and what each name stands for: the one place to add another.

The schema takes its accepted names from these tables. A constructor is named by where it is, "module.name",
and imported when it is used: this file imports no torch, which --help and a refused config do without.
docs/extending.md adds one of each.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Nonlinearity(NamedTuple):
    constructor: str  # of the module, without arguments
    # Of its outputs, those where its derivative is below a tenth of its maximum; None: it has no such part.
    saturated: Callable[[Any], Any] | None


NONLINEARITIES = {
    "relu": Nonlinearity("torch.nn.ReLU", lambda z: z == 0),
    "sigmoid": Nonlinearity("torch.nn.Sigmoid", lambda z: z * (1 - z) < 0.025),  # its maximum is 1/4
    "tanh": Nonlinearity("torch.nn.Tanh", lambda z: 1 - z * z < 0.1),
    "gelu": Nonlinearity("torch.nn.GELU", None),
}

# The constructor takes the number of features, or the shape of an example for BN per activation, and the
# model's config; it gives a module from (N, C) or (N, C, H, W) to the same shape.
NORMALIZATIONS = {
    "none": "bn.norm.build.none",
    "batch": "bn.norm.build.batch",
    "ghost": "bn.norm.build.ghost",
    "layer": "bn.norm.build.layer",
    "group": "bn.norm.build.group",
}

# The constructor takes the network, the rate and `weight_decay`, sgd `momentum` too.
OPTIMIZERS = {
    "sgd": "bn.tasks.optim.sgd",
    "adagrad": "bn.tasks.optim.adagrad",
    "adam": "bn.tasks.optim.adam",
}

# The constructor takes what there is to look at, a `bn.observe.observation.Subject`.
OBSERVATIONS = {
    "percentiles": "bn.observe.percentiles.Percentiles",
    "gradient_norms": "bn.observe.norms.GradientNorms",
    "weight_norms": "bn.observe.norms.WeightNorms",
    "input_gradients": "bn.observe.norms.InputGradients",
    "saturation": "bn.observe.saturation.Saturation",
    "shift": "bn.observe.shift.InputShift",
    "gradient_shift": "bn.observe.shift.GradientShift",
    "amplification": "bn.observe.amplification.Amplification",
    "correlations": "bn.observe.correlations.Correlations",
    "jacobians": "bn.observe.jacobians.Jacobians",
}


def load(constructor: str) -> Any:
    """What stands at "module.name"."""
    module, _, name = constructor.rpartition(".")
    return getattr(importlib.import_module(module), name)
