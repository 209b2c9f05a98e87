"""The one typed schema of everything that can be chosen, and its checker.

Plain frozen dataclasses. A range is written where the field is (`Annotated[float, "> 0"]`), a choice as a
`Literal`, a choice between schemas as a union told apart by `name`. `build` turns a mapping (such as a
composed YAML) into a `Config` or raises a UserError of one line that names the key and what is accepted.
"""

import dataclasses
import math
import operator
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from bn.errors import UserError

Positive = Annotated[float, "> 0"]
Count = Annotated[int, ">= 1"]
Natural = Annotated[int, ">= 0"]


@dataclass(frozen=True)
class Schedule:
    """The steps `early`, and every `every` steps, and the last one."""

    early: tuple[Natural, ...]
    every: Count

    def steps(self, last: int) -> frozenset[int]:
        early = (step for step in self.early if step <= last)
        return frozenset((*early, *range(self.every, last + 1, self.every), last))


@dataclass(frozen=True)
class MnistData:
    name: Literal["mnist"]
    root: str  # relative to the repository
    threshold: Annotated[float, ">= 0, < 1"]  # a pixel is 1 where gray / 255 exceeds it
    validation: Annotated[int, ">= 0, <= 50000"]  # examples held out of the 60,000


@dataclass(frozen=True)
class ImageData:
    """A data set of photographs (section 4.2 and its smaller stand-ins)."""

    name: Literal["imagenet", "tiny_imagenet", "cifar10", "smoke"]
    root: str  # of an ImageFolder tree, {train,val}/<class>/*; relative to the repository
    classes: Annotated[int, ">= 2"]
    resize: Count  # length of the shorter side from which the central validation crop is cut
    crop: Count  # side of the square that the network sees
    area: Annotated[float, "> 0, <= 1"]  # least share of an image that a training crop takes
    aspect: Annotated[float, ">= 1"]  # training crops have an aspect ratio of 1 / aspect to aspect
    distortion: Literal["none", "reduced", "googlenet"]
    shuffle: Literal["by_shard", "within_shards", "complete"]
    shard_size: Count  # examples
    feed: Literal["auto", "resident", "stream"]  # on the device as bytes | from JPEG by workers
    workers: Natural  # processes that decode, where the data stream
    max_broken: Natural  # a run fails when more images than this cannot be read


@dataclass(frozen=True)
class MlpModel:
    name: Literal["mlp"]
    hidden: tuple[Count, ...]
    norm: Literal["none", "batch"]
    nonlinearity: Literal["sigmoid", "tanh", "relu"]
    init_std: Positive  # of the Gaussian that W is drawn from
    bn_eps: Positive
    bn_momentum: Annotated[float, "> 0, <= 1"]  # torch's sense: the weight of the newest mini-batch


@dataclass(frozen=True)
class InceptionModel:
    name: Literal["inception"]
    norm: Literal["none", "batch", "ghost", "sync"]  # over a mini-batch | groups of it | all ranks
    norm_group: Annotated[int, ">= 2"]  # examples in a group of norm=ghost
    nonlinearity: Literal["relu", "sigmoid"]
    lrn: bool  # local response normalization, in GoogLeNet's two places
    dropout: Annotated[float, ">= 0, < 1"]  # before the classifier
    stem: Literal["separable", "dense"]
    stem_stride: Literal[1, 2]  # of the first convolution; the paper's is 2
    stem_pools: Literal[0, 1, 2]  # max pools before 3a; the paper's are 2
    pool_proj: Literal[96, 128]  # of 4c and 4d
    width: Positive  # multiplies the number of filters of each convolution
    per_activation: tuple[str, ...]  # modules whose BN is per activation, such as [5b]
    init_scale: Positive  # multiplies the initial weights of the convolutions
    bn_eps: Positive
    bn_momentum: Annotated[float, "> 0, <= 1"]  # torch's sense: the weight of the newest mini-batch


@dataclass(frozen=True)
class Decay:
    """rate(step) = initial rate * factor ** (speed * step / every): exponential, smooth; factor 1: constant."""

    factor: Annotated[float, "> 0, <= 1"]
    every: Count  # steps
    speed: Positive  # 6: "decay the rate 6x faster" (section 4.2.1)


@dataclass(frozen=True)
class Optim:
    """SGD. The scale says the base's numbers; an experiment multiplies them by its factors."""

    lr: Positive  # the initial rate
    lr_factor: Positive
    lr_batch: Count | None  # the mini-batch that `lr` is for: it is scaled by batch / lr_batch; null: not
    decay: Decay
    batch: Annotated[int, ">= 2"]
    momentum: Annotated[float, ">= 0, < 1"]
    weight_decay: Annotated[float, ">= 0"]
    weight_decay_factor: Annotated[float, ">= 0"]

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
    examples: Count  # rounded up to whole mini-batches
    layers: tuple[str, ...]  # whose inputs to the nonlinearity are observed; of the MLP always all
    percentiles: tuple[Annotated[float, ">= 0, <= 100"], ...]


@dataclass(frozen=True)
class NoLogger:
    name: Literal["none"]


@dataclass(frozen=True)
class WandbLogger:
    name: Literal["wandb"]
    mode: Literal["offline", "online", "disabled"]
    project: str
    entity: str | None
    group: str | None  # null: experiment and what differs from it, so that seeds form a group
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    experiment: str
    scale: str | None  # the base of an image experiment: its data, sizes, rate and length
    member: Annotated[int, ">= 1, <= 6"] | None  # of experiment=ensemble
    seed: Natural
    steps: Count
    device: Literal["auto", "cpu", "cuda"]
    threads: Count  # CPU threads; part of the config because the bits depend on it
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
    log_every: Count
    checkpoint_every: Count
    output: str  # where run directories go, relative to the repository
    logger: NoLogger | WandbLogger


def config_from(mapping: Mapping[str, Any]) -> Config:
    """The checked `Config` of a mapping of plain values. UserError with one line if anything is wrong."""
    config = _build(Config, mapping, "")
    _check_combinations(config)
    return config


def _check_combinations(config: Config) -> None:
    if config.step_path == "fused" and config.optim.momentum:
        raise UserError(
            f"step_path=fused: optim.momentum={config.optim.momentum:g} needs step_path=autograd or auto"
        )
    examples = 60_000 - config.data.validation
    if 0 in config.evaluate.at.early:
        raise UserError(
            "evaluate.at.early=0: accepted: steps from 1 (before it there are no moving averages)"
        )
    if config.optim.batch > examples:
        raise UserError(
            f"optim.batch={config.optim.batch}: accepted: at most the {examples} training examples"
        )
    if config.probe.examples > examples:
        raise UserError(
            f"probe.examples={config.probe.examples}: accepted: at most the {examples} training examples"
        )


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values, as YAML and JSON write them."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value

    return plain(dataclasses.asdict(config))


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim": {"lr": 0.1}} -> {"optim.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


# The checker: one function for each way of writing a type.

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def _build(schema: Any, value: Any, key: str) -> Any:
    origin = get_origin(schema)
    if dataclasses.is_dataclass(schema):
        return _build_dataclass(schema, value, key)
    if origin is Annotated:
        base, bounds = get_args(schema)
        return _within(_build(base, value, key), bounds, base, key)
    if origin is Literal:
        accepted = get_args(schema)
        if value not in accepted or isinstance(value, bool):
            raise _wrong(key, value, ", ".join(map(str, accepted)))
        return value
    if origin in (Union, types.UnionType):
        return _build_union(get_args(schema), value, key)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(key, value, "a list, such as [1,2]")
        item = get_args(schema)[0]
        return tuple(_build(item, part, f"{key}[{i}]") for i, part in enumerate(value))
    return _build_scalar(schema, value, key)


def _build_dataclass(schema: Any, value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(key, value, "a group of keys")
    hints = get_type_hints(schema, include_extras=True)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise UserError(f"{prefix}{name}: unknown key; accepted: {', '.join(hints)}")
    for name in hints:
        if name not in value:
            raise UserError(f"{prefix}{name}: missing")
    return schema(**{name: _build(hint, value[name], prefix + name) for name, hint in hints.items()})


def _build_union(options: tuple[Any, ...], value: Any, key: str) -> Any:
    if type(None) in options:
        (schema,) = (option for option in options if option is not type(None))
        return None if value is None else _build(schema, value, key)
    by_name = {get_args(get_type_hints(option)["name"])[0]: option for option in options}
    name = value.get("name") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or name not in by_name:
        raise _wrong(f"{key}.name", name, ", ".join(by_name))
    return _build(by_name[name], value, key)


def _build_scalar(schema: type, value: Any, key: str) -> Any:
    if schema is float and type(value) is int:
        value = float(value)
    if type(value) is not schema:
        raise _wrong(key, value, schema.__name__)
    if schema is float and not math.isfinite(value):
        raise _wrong(key, value, "a finite float")
    return value


def _within(value: Any, bounds: str, base: type, key: str) -> Any:
    for bound in bounds.split(", "):
        compare, limit = bound.split()
        if not _COMPARE[compare](value, float(limit)):
            raise _wrong(key, value, f"{base.__name__} {bounds}")
    return value


def _wrong(key: str, value: Any, accepted: str) -> UserError:
    shown = repr(value) if isinstance(value, str) else str(value)
    return UserError(f"{key}={shown}: accepted: {accepted}")
