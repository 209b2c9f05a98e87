"""Tables of everything that the config chooses by name; add new choices here (docs/extending.md).

The schema takes its accepted names from these tables. Constructors are given as "module.name" and imported on
use, so that --help and a refused config do not import torch.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Nonlinearity(NamedTuple):
    constructor: str  # takes no arguments
    # Maps outputs to a mask: the derivative is below a tenth of its maximum. None: not defined.
    saturated: Callable[[Any], Any] | None


NONLINEARITIES = {
    "relu": Nonlinearity("torch.nn.ReLU", lambda z: z == 0),
    "sigmoid": Nonlinearity("torch.nn.Sigmoid", lambda z: z * (1 - z) < 0.025),  # the maximum is 1/4
    "tanh": Nonlinearity("torch.nn.Tanh", lambda z: 1 - z * z < 0.1),
    "gelu": Nonlinearity("torch.nn.GELU", None),
}

# Constructors take the number of features (for BN per activation, the shape of an example) and the model's
# config, and return a module that maps (N, C) or (N, C, H, W) to the same shape.
NORMALIZATIONS = {
    "none": "bn.norm.build.none",
    "batch": "bn.norm.build.batch",
    "ghost": "bn.norm.build.ghost",
    "layer": "bn.norm.build.layer",
    "group": "bn.norm.build.group",
    "population": "bn.norm.build.population",
}

# Constructors take the network, the learning rate and `weight_decay`; sgd also takes `momentum`.
OPTIMIZERS = {
    "sgd": "bn.tasks.optim.sgd",
    "adagrad": "bn.tasks.optim.adagrad",
    "adam": "bn.tasks.optim.adam",
}

# Constructors take a `bn.observe.observation.Subject`.
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

# Input transformations of the MLP. Each takes the training images (N, 784) in 0..1 and returns a function
# that maps images (N, 784) and the name of their split to float32 (N, 784).
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

# Input transformations of the Inception networks: functions of images (N, 3, H, W) in 0..1 and a random
# number generator.
IMAGE_INPUTS = {
    "original": "bn.data.image_inputs.original",
    "inverted": "bn.data.image_inputs.inverted",
    "blurred": "bn.data.image_inputs.blurred",
    "noisy": "bn.data.image_inputs.noisy",
    "shifted": "bn.data.image_inputs.shifted",
    "low_contrast": "bn.data.image_inputs.low_contrast",
}


def load(constructor: str) -> Any:
    """Import the object at "module.name"."""
    module, _, name = constructor.rpartition(".")
    return getattr(importlib.import_module(module), name)
