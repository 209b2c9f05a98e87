"""The one typed schema of everything that can be chosen, in the notation of `bn.config.notation`."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from bn.config.choices import NONLINEARITIES, NORMALIZATIONS, OBSERVATIONS, OPTIMIZERS
from bn.data.idx_sets import IDX_SETS

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
UNIT = re.compile(
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
    seed: Annotated[int, ">= 0, <= 4294967295"]
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
    overfit: bool = False  # train on the first mini-batch alone
    profile: Annotated[int, ">= 0, <= 1000"] = 0  # steps that torch.profiler looks at; 0: none
    rank_timeout_s: Annotated[float, "> 0, <= 1e6"] = (
        600.0  # of several processes: how long one may keep the others waiting
    )
    output: Path  # where run directories go, relative to the repository
    start: Path | None = None  # a run or a checkpoint, whose weights are the initial ones
    extend: Path | None = None  # a shorter run that is done, of which this one is the continuation
    logger: NoLogger | WandbLogger

    @property
    def length(self) -> int:
        """How many steps the run has."""
        return max(1, round(self.steps * self.steps_factor))
