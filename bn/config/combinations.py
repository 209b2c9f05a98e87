"""Values that are each accepted, but not together."""

import itertools

from bn.config.choices import NONLINEARITIES
from bn.config.schema import UNIT, Config, ImageData, InceptionModel, MlpModel, MnistData
from bn.data.idx_sets import IDX_SETS
from bn.errors import UserError

MOST_WEIGHTS = 1 << 28  # of an MLP's matrices: 1 GiB
MOST_EVALUATIONS = 1_000_000
UNPROFILED = 10  # steps before those that torch.profiler looks at


def check_combinations(config: Config) -> None:
    """UserError, of one line, for the first that do not go together."""
    if 0 in config.evaluate.at.early:
        raise UserError(
            "evaluate.at.early=0: accepted: steps from 1 (before it there are no moving averages)"
        )
    model, batch, optim = config.model, config.optim.batch, config.optim
    for key, schedule in (("evaluate.at.every", config.evaluate.at), ("probe.at.every", config.probe.at)):
        if config.length > MOST_EVALUATIONS * schedule.every:
            least = -(-config.length // MOST_EVALUATIONS)
            raise UserError(f"{key}={schedule.every}: accepted with {config.length} steps: at least {least}")
    if config.profile and config.profile > config.length - UNPROFILED:
        most = max(0, config.length - UNPROFILED)
        raise UserError(
            f"profile={config.profile}: accepted with {config.length} steps: at most {most} (the first "
            f"{UNPROFILED} are not profiled)"
        )
    if optim.initial_rate * max(1.0, optim.l2) > 1e30:
        raise UserError(f"optim.lr={optim.lr:g}: accepted: a rate of at most 1e30 with its factors")
    if optim.momentum and optim.name != "sgd":
        raise UserError(f"optim.momentum={optim.momentum:g}: accepted with optim.name={optim.name}: 0")
    if "saturation" in config.observe and NONLINEARITIES[model.nonlinearity].saturated is None:
        accepted = ", ".join(name for name, one in NONLINEARITIES.items() if one.saturated)
        raise UserError(
            f"model.nonlinearity={model.nonlinearity}: accepted with observe=[saturation]: {accepted}"
        )
    if "population_gap" in config.observe and model.norm not in ("batch", "ghost"):
        raise UserError(f"model.norm={model.norm}: accepted with observe=[population_gap]: batch, ghost")
    if "jacobians" in config.observe and not isinstance(model, MlpModel):
        raise UserError(f"model={model.name}: accepted with observe=[jacobians]: mlp")
    if model.norm == "ghost" and batch % model.norm_group:
        raise UserError(
            f"optim.batch={batch}: accepted with model.norm=ghost: "
            f"multiples of model.norm_group={model.norm_group}"
        )
    if isinstance(model, InceptionModel):
        _check_image_run(config, model)
    else:
        _check_mnist_run(config, model)
    if config.step_path == "fused":
        from bn.fused_mlp import why_not  # imports torch, which other configs are checked without

        if reason := why_not(config):
            raise UserError(f"step_path=fused: {reason} needs step_path=autograd or auto")


def _check_mnist_run(config: Config, model: MlpModel) -> None:
    if not isinstance(config.data, MnistData):
        raise UserError(
            f"data={config.data.name}: model=mlp takes data={' or '.join(IDX_SETS)}; "
            "for images, model=inception"
        )
    sizes = (784, *model.hidden, 10)
    weights = sum(inputs * outputs for inputs, outputs in itertools.pairwise(sizes))
    if weights > MOST_WEIGHTS:
        raise UserError(
            f"model.hidden={list(model.hidden)}: {weights} weights; accepted: at most {MOST_WEIGHTS} in all"
        )
    if config.member is not None:
        raise UserError(f"member={config.member}: accepted: null (only experiment=ensemble has members)")
    if config.precision not in ("auto", "float32"):
        raise UserError(f"precision={config.precision}: accepted with model=mlp: auto, float32")
    if config.compile == "always":
        raise UserError("compile=always: accepted with model=mlp: auto, never")
    if config.probe.layers:
        raise UserError("probe.layers: accepted with model=mlp: [] (all of its layers are observed)")
    if model.norm == "none" and model.norm_place != "before":
        raise UserError(f"model.norm_place={model.norm_place}: accepted with model.norm=none: before")
    if model.norm == "group":
        for features in sizes[:-2] if model.norm_place == "input" else model.hidden:
            if features % model.norm_groups or features == model.norm_groups:
                raise UserError(
                    f"model.norm_groups={model.norm_groups}: accepted with a layer of {features} features: "
                    "its divisors less than itself"
                )
    examples = 60_000 - config.data.validation
    if config.data.examples is not None:
        if config.data.examples > examples:
            raise UserError(
                f"data.examples={config.data.examples}: accepted: at most the {examples} not held out"
            )
        examples = config.data.examples
    if config.optim.batch > examples:
        raise UserError(
            f"optim.batch={config.optim.batch}: accepted: at most the {examples} training examples"
        )
    if config.probe.examples > examples:
        raise UserError(
            f"probe.examples={config.probe.examples}: accepted: at most the {examples} training examples"
        )


def _check_image_run(config: Config, model: InceptionModel) -> None:
    data = config.data
    if not isinstance(data, ImageData):
        raise UserError(f"data={data.name}: model=inception takes images: choose a scale")
    if config.evaluate.population == "always":  # mini-batches drawn ahead would delay those of the training
        raise UserError("evaluate.population=always: accepted with model=inception: end")
    if data.crop > data.resize:
        raise UserError(f"data.crop={data.crop}: accepted: at most data.resize={data.resize}")
    if model.per_activation and model.norm not in ("batch", "ghost"):
        raise UserError(f"model.per_activation: accepted with model.norm={model.norm}: []")
    if (config.member is None) != (config.experiment != "ensemble"):
        accepted = "1 to 6" if config.member is None else "null (only experiment=ensemble has members)"
        raise UserError(f"member={config.member}: accepted with experiment={config.experiment}: {accepted}")
    for layer in config.probe.layers:
        if not UNIT.fullmatch(layer):
            raise UserError(
                f"probe.layers={layer}: accepted: names such as conv2 or inception_4c.conv_3x3 "
                "(bn/models/inception.py)"
            )
