"""The one typed schema of everything that can be chosen, in the notation of `bn.schema`.

`config_from` turns a mapping (such as a composed YAML) into a `Config` or raises a UserError of one line that
names the key and what is accepted.

Runs outlive the schema. A key that is added later has a default here, the value that earlier runs had without
it; a key that is removed goes into `REMOVED` with the default it had. `recorded` reads a saved config so.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bn.choices import NONLINEARITIES, NORMALIZATIONS, OBSERVATIONS, OPTIMIZERS
from bn.data.idx_sets import IDX_SETS
from bn.errors import UserError
from bn.schema import checked, defaults

# What is larger ends the process, by its memory or by overflow, and is no experiment.
Positive = Annotated[float, "> 0, <= 1e30"]
Count = Annotated[int, ">= 1, <= 1e9"]
Natural = Annotated[int, ">= 0, <= 1e9"]
Side = Annotated[int, ">= 8, <= 4096"]  # pixels
Group = Annotated[int, ">= 2, <= 1e9"]
Batch = Annotated[int, ">= 2, <= 65536"]
Momentum = Annotated[float, "> 0, <= 1"]  # in torch's sense: the weight of the newest mini-batch
Workers = Annotated[int, ">= 0, <= 1024"]
Threads = Annotated[int, ">= 1, <= 1024"]
Path = Annotated[str, "not empty, path"]
Text = Annotated[str, "not empty"]
MOST_WEIGHTS = 1 << 28  # of an MLP's matrices: 1 GiB
MOST_EVALUATIONS = 1_000_000


REMOVED: dict[str, Any] = {}  # keys that are gone, such as "optim.lr", with the default they had


@dataclass(frozen=True)
class Schedule:
    """The steps `early`, and every `every` steps, and the last one."""

    early: Annotated[tuple[Natural, ...], "distinct"]
    every: Count

    def steps(self, last: int) -> frozenset[int]:
        early = (step for step in self.early if step <= last)
        return frozenset((*early, *range(self.every, last + 1, self.every), last))


@dataclass(frozen=True)
class MnistData:
    """MNIST, or another data set of its form."""

    name: Annotated[str, IDX_SETS]
    root: Path  # relative to the repository
    threshold: Annotated[float, ">= 0, < 1"]  # a pixel is 1 where gray / 255 exceeds it
    validation: Annotated[int, ">= 0, <= 50000"]  # examples held out of the 60,000


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """A data set of photographs (section 4.2 and its smaller stand-ins)."""

    name: Literal["imagenet", "tiny_imagenet", "cifar10", "smoke"]
    root: Annotated[str, "path"]  # of an ImageFolder tree, {train,val}/<class>/*; relative to the repository
    classes: Annotated[int, ">= 2, <= 1e6"]
    resize: Side  # length of the shorter side from which the central validation crop is cut
    crop: Side  # side of the square that the network sees
    area: Annotated[float, "> 0, <= 1"]  # least share of an image that a training crop takes
    aspect: Annotated[float, ">= 1, <= 1000"]  # training crops have an aspect ratio of 1 / aspect to aspect
    distortion: Literal["none", "reduced", "googlenet"]
    shuffle: Literal["by_shard", "within_shards", "complete"]
    shard_size: Count  # examples
    validation: Natural = 0  # training images held out, and validated on in place of the validation images
    feed: Literal["auto", "resident", "stream"]  # on the device as bytes | from JPEG by workers
    workers: (
        Annotated[int, ">= 0, <= 1024"] | None
    )  # processes that decode, where the data stream; null: by the cores there are
    max_broken: Natural  # a run fails when more images than this cannot be read


@dataclass(frozen=True, kw_only=True)
class MlpModel:
    name: Literal["mlp"]
    hidden: tuple[Annotated[int, ">= 1, <= 65536"], ...]
    norm: Annotated[str, NORMALIZATIONS]
    norm_group: Group = 20  # examples in a group of norm=ghost
    norm_groups: Count = 10  # of the features, with norm=group
    nonlinearity: Annotated[str, NONLINEARITIES]
    init_std: Positive  # of the Gaussian that W is drawn from
    bn_eps: Positive
    bn_momentum: Momentum


Module = Literal["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]  # the rows of Figure 5
_UNIT = re.compile(
    r"conv1|conv2|conv2_reduce|inception_(3[abc]|4[a-e]|5[ab])\.(conv_3x3_reduce|conv_3x3|double_3x3_reduce"
    r"|double_3x3_1|double_3x3_2)|inception_(3[ab]|4[a-d]|5[ab])\.(conv_1x1|pool_proj)"
)


@dataclass(frozen=True, kw_only=True)
class InceptionModel:
    name: Literal["inception"]
    norm: Annotated[str, NORMALIZATIONS]
    norm_group: Group  # examples in a group of norm=ghost
    norm_groups: Literal[1, 2, 4, 8] = 8  # of the channels, with norm=group (filters come in eights)
    nonlinearity: Annotated[str, NONLINEARITIES]
    lrn: bool  # local response normalization, in GoogLeNet's two places
    dropout: Annotated[float, ">= 0, < 1"]  # before the classifier
    stem: Literal["separable", "dense"]
    stem_stride: Literal[1, 2]  # of the first convolution; the paper's is 2
    stem_pools: Literal[0, 1, 2]  # max pools before 3a; the paper's are 2
    pool_proj: Literal[96, 128]  # of 4c and 4d
    width: Annotated[float, "> 0, <= 8"]  # multiplies the number of filters of each convolution
    per_activation: Annotated[tuple[Module, ...], "distinct"]  # whose BN is per activation, such as [5b]
    init_scale: Positive  # multiplies the initial weights of the convolutions
    bn_eps: Positive
    bn_momentum: Momentum


@dataclass(frozen=True)
class Decay:
    """The rate after n steps: initial rate * factor ** (speed * n / every). A factor of 1 keeps it."""

    factor: Annotated[float, "> 0, <= 1"]
    every: Count  # steps of `lr_batch` examples: with a larger mini-batch it decays in fewer steps
    speed: Annotated[float, "> 0, <= 1e6"]  # 6: "decay the rate 6x faster" (section 4.2.1)


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimizer. The scale says the base's numbers; an experiment multiplies them by its factors."""

    name: Annotated[str, OPTIMIZERS] = "sgd"
    lr: Positive  # the initial rate
    lr_factor: Positive
    lr_batch: Count | None  # the mini-batch that `lr` is for: it is scaled by batch / lr_batch; null: not
    decay: Decay
    batch: Batch
    momentum: Annotated[float, ">= 0, < 1"]  # of sgd
    weight_decay: Annotated[float, ">= 0, <= 1000"]
    weight_decay_factor: Annotated[float, ">= 0, <= 1000"]

    @property
    def initial_rate(self) -> float:
        return self.lr * self.lr_factor * (self.batch / self.lr_batch if self.lr_batch else 1.0)

    @property
    def l2(self) -> float:
        return self.weight_decay * self.weight_decay_factor


@dataclass(frozen=True)
class Evaluate:
    at: Schedule
    population_batches: Count  # mini-batches that Algorithm 2 takes at the end


@dataclass(frozen=True)
class Probe:
    at: Schedule
    examples: Annotated[int, ">= 1, <= 60000"]  # rounded up to whole mini-batches
    layers: Annotated[
        tuple[str, ...], "distinct"
    ]  # whose inputs to the nonlinearity are observed; of the MLP always all
    percentiles: Annotated[tuple[Annotated[float, ">= 0, <= 100"], ...], "not empty, distinct"]


@dataclass(frozen=True)
class NoLogger:
    name: Literal["none"]


@dataclass(frozen=True)
class WandbLogger:
    name: Literal["wandb"]
    mode: Literal["offline", "online", "disabled"]
    project: Text
    entity: Text | None
    group: Text | None  # null: experiment and what differs from it, so that seeds form a group
    tags: Annotated[tuple[Text, ...], "distinct"]


@dataclass(frozen=True, kw_only=True)
class Config:
    experiment: str
    scale: str | None  # the base of an image experiment: its data, sizes, rate and length
    member: Annotated[int, ">= 1, <= 6"] | None  # of experiment=ensemble
    seed: Annotated[int, ">= 0"]
    steps: Count  # the scale's length
    steps_factor: Annotated[float, "> 0, <= 1000"] = 1.0  # an experiment's change of it
    device: Literal["auto", "cpu", "cuda"]
    threads: Threads  # CPU threads; part of the config because the bits depend on it
    step_path: Literal["auto", "fused", "autograd"]
    precision: Literal["auto", "float32", "bf16", "fp16"]  # of the forward pass; weights are float32
    channels_last: bool
    compile: Literal["auto", "always", "never"]  # torch.compile; auto: on a GPU
    cuda_graph: bool  # on a GPU, replay a step as one CUDA graph
    data: MnistData | ImageData
    model: MlpModel | InceptionModel
    optim: Optim
    evaluate: Evaluate
    probe: Probe
    observe: Annotated[tuple[Annotated[str, OBSERVATIONS], ...], "distinct"] = (
        "percentiles",
    )  # what is observed
    log_every: Annotated[int, ">= 1, <= 1e6"]
    checkpoint_every: Count
    checkpoint_minutes: Positive = 10.0  # a checkpoint comes no later than this after the last
    rank_timeout_s: Annotated[float, "> 0, <= 1e6"] = (
        600.0  # of several processes: how long one may keep the others waiting
    )
    output: Path  # where run directories go, relative to the repository
    logger: NoLogger | WandbLogger

    @property
    def length(self) -> int:
        """How many steps the run has."""
        return max(1, round(self.steps * self.steps_factor))


def config_from(mapping: Mapping[str, Any]) -> Config:
    """The checked `Config` of a mapping of plain values. UserError with one line if anything is wrong."""
    config = checked(Config, mapping)
    _check_combinations(config)
    return config


def recorded(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config, nested as it was, in today's keys: less those of `REMOVED` that had their default.

    `config_from` gives the keys that it lacks the default that they had when they came.
    """

    def kept(mapping: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            name: kept(value, f"{prefix}{name}.") if isinstance(value, Mapping) else value
            for name, value in mapping.items()
            if REMOVED.get(f"{prefix}{name}", _NEVER) != value
        }

    return kept(saved, "")


def changes(saved: Mapping[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """The flattened keys in which a saved config is not `config`: (the value there, the value here).

    "absent" where one of them lacks a key that has no default.
    """
    there = {**_later(config), **flatten(recorded(saved))}
    here = flatten(to_dict(config))
    return {
        key: (there.get(key, "absent"), here.get(key, "absent"))
        for key in sorted(there.keys() | here.keys())
        if there.get(key, _NEVER) != here.get(key, _NEVER)
    }


_NEVER = object()  # equal to no value


def _later(config: Any, prefix: str = "") -> dict[str, Any]:
    """The defaults of all keys of `config` that have one, flattened."""
    found = {f"{prefix}{name}": _plain(value) for name, value in defaults(type(config)).items()}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= _later(value, f"{prefix}{field.name}.")
    return found


def _check_combinations(config: Config) -> None:
    """UserError for values that are each accepted, but not together."""
    if 0 in config.evaluate.at.early:
        raise UserError(
            "evaluate.at.early=0: accepted: steps from 1 (before it there are no moving averages)"
        )
    model, batch, optim = config.model, config.optim.batch, config.optim
    for key, schedule in (("evaluate.at.every", config.evaluate.at), ("probe.at.every", config.probe.at)):
        if config.length > MOST_EVALUATIONS * schedule.every:
            least = -(-config.length // MOST_EVALUATIONS)
            raise UserError(f"{key}={schedule.every}: accepted with {config.length} steps: at least {least}")
    if optim.initial_rate * max(1.0, optim.l2) > 1e30:
        raise UserError(f"optim.lr={optim.lr:g}: accepted: a rate of at most 1e30 with its factors")
    if optim.momentum and optim.name != "sgd":
        raise UserError(f"optim.momentum={optim.momentum:g}: accepted with optim.name={optim.name}: 0")
    if "saturation" in config.observe and NONLINEARITIES[model.nonlinearity].saturated is None:
        accepted = ", ".join(name for name, one in NONLINEARITIES.items() if one.saturated)
        raise UserError(
            f"model.nonlinearity={model.nonlinearity}: accepted with observe=[saturation]: {accepted}"
        )
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
    if model.norm == "group":
        for features in model.hidden:
            if features % model.norm_groups or features == model.norm_groups:
                raise UserError(
                    f"model.norm_groups={model.norm_groups}: accepted with a hidden layer of {features}: "
                    "its divisors less than itself"
                )
    examples = 60_000 - config.data.validation
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
    if data.crop > data.resize:
        raise UserError(f"data.crop={data.crop}: accepted: at most data.resize={data.resize}")
    if model.per_activation and model.norm not in ("batch", "ghost"):
        raise UserError(f"model.per_activation: accepted with model.norm={model.norm}: []")
    if (config.member is None) != (config.experiment != "ensemble"):
        accepted = "1 to 6" if config.member is None else "null (only experiment=ensemble has members)"
        raise UserError(f"member={config.member}: accepted with experiment={config.experiment}: {accepted}")
    for layer in config.probe.layers:
        if not _UNIT.fullmatch(layer):
            raise UserError(
                f"probe.layers={layer}: accepted: names such as conv2 or inception_4c.conv_3x3 "
                "(bn/models/inception.py)"
            )


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values, as YAML and JSON write them."""

    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim": {"lr": 0.1}} -> {"optim.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
