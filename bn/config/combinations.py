"""Checks of values that are accepted alone but not in combination."""

import itertools
from collections.abc import Iterator

from bn.config.choices import NONLINEARITIES
from bn.config.idx_sets import IDX_SETS
from bn.config.schema import UNIT, Config, ImageData, InceptionModel, MlpModel, MnistData
from bn.errors import UserError

MOST_WEIGHTS = 1 << 28  # in an MLP's matrices: 1 GiB
MOST_EVALUATIONS = 1_000_000  # the step numbers of all evaluations are held in memory
UNPROFILED = 10  # steps before the profiled ones


def check_combinations(config: Config) -> None:
    """UserError, in one line, for the first invalid combination."""
    if isinstance(config.model, InceptionModel):
        errors = _inception_errors(config, config.model)
    else:
        errors = _mlp_errors(config, config.model)
    for line in itertools.chain(_common_errors(config), errors):
        raise UserError(line)


def _common_errors(config: Config) -> Iterator[str]:
    model, optim, observed = config.model, config.optim, config.observe
    if 0 in config.evaluate.at.early:
        yield "evaluate.at.early=0: accepted: steps from 1 (before it there are no moving averages)"
    for key, schedule in (("evaluate.at.every", config.evaluate.at), ("probe.at.every", config.probe.at)):
        if schedule.every < (least := -(-config.length // MOST_EVALUATIONS)):
            yield f"{key}={schedule.every}: accepted with {config.length} steps: at least {least}"
    if config.profile and config.profile > (most := max(0, config.length - UNPROFILED)):
        yield (
            f"profile={config.profile}: accepted with {config.length} steps: at most {most} (the first "
            f"{UNPROFILED} are not profiled)"
        )
    if optim.momentum and optim.name != "sgd":
        yield f"optim.momentum={optim.momentum:g}: accepted with optim.name={optim.name}: 0"
    if "saturation" in observed and NONLINEARITIES[model.nonlinearity].saturated is None:
        accepted = ", ".join(name for name, one in NONLINEARITIES.items() if one.saturated)
        yield f"model.nonlinearity={model.nonlinearity}: accepted with observe=[saturation]: {accepted}"
    if "population_gap" in observed and model.norm not in ("batch", "ghost"):
        yield f"model.norm={model.norm}: accepted with observe=[population_gap]: batch, ghost"
    if model.norm == "ghost" and optim.batch % model.norm_group:
        multiples = f"multiples of model.norm_group={model.norm_group}"
        yield f"optim.batch={optim.batch}: accepted with model.norm=ghost: {multiples}"
    if (config.member is None) != (config.experiment != "ensemble"):
        accepted = "1 to 6" if config.member is None else "null (only experiment=ensemble has members)"
        yield f"member={config.member}: accepted with experiment={config.experiment}: {accepted}"


def _mlp_errors(config: Config, model: MlpModel) -> Iterator[str]:
    data = config.data
    if not isinstance(data, MnistData):
        takes = " or ".join(IDX_SETS)
        yield f"data={data.name}: model=mlp takes data={takes}; for images, model=inception"
        return
    sizes = (784, *model.hidden, 10)
    weights = sum(inputs * outputs for inputs, outputs in itertools.pairwise(sizes))
    if weights > MOST_WEIGHTS:
        yield f"model.hidden={list(model.hidden)}: {weights} weights; accepted: at most {MOST_WEIGHTS} in all"
    if config.precision == "bf16":
        yield "precision=bf16: accepted with model=mlp: auto, float32"
    if config.compile == "always":
        yield "compile=always: accepted with model=mlp: auto, never"
    if config.probe.layers:
        yield "probe.layers: accepted with model=mlp: [] (all of its layers are observed)"
    if model.norm == "none" and model.norm_place != "before":
        yield f"model.norm_place={model.norm_place}: accepted with model.norm=none: before"
    if model.norm == "group":
        for features in sizes[:-2] if model.norm_place == "input" else model.hidden:
            if features % model.norm_groups or features == model.norm_groups:
                accepted = f"accepted with a layer of {features} features: its divisors less than itself"
                yield f"model.norm_groups={model.norm_groups}: {accepted}"
    kept = 60_000 - data.validation
    if data.examples is not None and data.examples > kept:
        yield f"data.examples={data.examples}: accepted: at most the {kept} not held out"
    examples = kept if data.examples is None else data.examples
    for key, value in (("optim.batch", config.optim.batch), ("probe.examples", config.probe.examples)):
        if value > examples:
            yield f"{key}={value}: accepted: at most the {examples} training examples"
    if config.step_path == "fused":
        from bn.fused_mlp import unsupported  # imports torch, which other configs are checked without

        if reason := unsupported(config):
            yield f"step_path=fused: {reason} needs step_path=autograd or auto"


def _inception_errors(config: Config, model: InceptionModel) -> Iterator[str]:
    data = config.data
    if not isinstance(data, ImageData):
        yield f"data={data.name}: model=inception takes images: choose a scale"
        return
    if config.step_path == "fused":
        yield "step_path=fused: accepted with model=inception: auto, autograd"
    if config.evaluate.population == "always":  # drawing its mini-batches would delay the training
        yield "evaluate.population=always: accepted with model=inception: end"
    if "jacobians" in config.observe:
        yield "model=inception: accepted with observe=[jacobians]: mlp"
    if data.crop > data.resize:
        yield f"data.crop={data.crop}: accepted: at most data.resize={data.resize}"
    if model.per_activation and model.norm not in ("batch", "ghost"):
        yield f"model.per_activation: accepted with model.norm={model.norm}: []"
    for layer in config.probe.layers:
        if not UNIT.fullmatch(layer):
            accepted = "names such as conv2 or inception_4c.conv_3x3 (bn/models/inception.py)"
            yield f"probe.layers={layer}: accepted: {accepted}"
