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
    "population": "bn.norm.build.population",
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
    "population_gap": "bn.observe.population_gap.PopulationGap",
    "shapes": "bn.observe.shapes.Shapes",
    "training_accuracy": "bn.observe.training_accuracy.TrainingAccuracy",
}

# What the MLP sees of the binary images. The function takes the training images (N, 784) in 0..1; it gives a
# function of images (N, 784) and of the name of their split to float32 of that shape.
INPUTS = {
    "binary": "bn.data.inputs.binary",
    "standardized": "bn.data.inputs.standardized",
    "whitened": "bn.data.inputs.whitened",
    "inverted": "bn.data.inputs.inverted",
    "blurred": "bn.data.inputs.blurred",
    "noisy": "bn.data.inputs.noisy",
    "shifted": "bn.data.inputs.shifted",
    "low_contrast": "bn.data.inputs.low_contrast",
}

# What the Inception networks see of the photographs: functions of images (N, 3, H, W) in 0..1 and of a
# generator of random numbers.
IMAGE_INPUTS = {
    "original": "bn.data.image_inputs.original",
    "inverted": "bn.data.image_inputs.inverted",
    "blurred": "bn.data.image_inputs.blurred",
    "noisy": "bn.data.image_inputs.noisy",
    "shifted": "bn.data.image_inputs.shifted",
    "low_contrast": "bn.data.image_inputs.low_contrast",
}


def load(constructor: str) -> Any:
    """What stands at "module.name"."""
    module, _, name = constructor.rpartition(".")
    return getattr(importlib.import_module(module), name)
