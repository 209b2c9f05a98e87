"""The one typed schema of everything that can be chosen, in the notation of `bn.config.notation`.

What `--help` says of a key is its `Doc` here, and of a group the first paragraph of its docstring.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from bn.config.choices import (
    IMAGE_INPUTS,
    INPUTS,
    NONLINEARITIES,
    NORMALIZATIONS,
    OBSERVATIONS,
    OPTIMIZERS,
)
from bn.config.notation import Doc
from bn.data.idx_sets import IDX_SETS

# What is larger ends the process, by its memory or by overflow, and is no experiment.
Positive = Annotated[float, "> 0, <= 1e30"]
Count = Annotated[int, ">= 1, <= 1e9"]
Natural = Annotated[int, ">= 0, <= 1e9"]
Side = Annotated[int, ">= 8, <= 4096"]  # pixels
Group = Annotated[int, ">= 2, <= 1e9"]
Workers = Annotated[int, ">= 0, <= 1024"]
Examples = Annotated[int, ">= 2, <= 60000"]  # of MNIST
Batch = Annotated[int, ">= 2, <= 65536"]
Momentum = Annotated[float, "> 0, <= 1"]  # in torch's sense: the weight of the newest mini-batch
Percent = Annotated[float, ">= 0, <= 100"]
Threads = Annotated[int, ">= 1, <= 1024"]
Path = Annotated[str, "not empty, path"]
Text = Annotated[str, "not empty"]


@dataclass(frozen=True)
class Schedule:
    """The steps `early`, and every `every` steps, and the last one."""

    early: Annotated[tuple[Natural, ...], "distinct", Doc("single steps", "steps")]
    every: Annotated[Count, Doc("and then every so many", "steps")]

    def steps(self, last: int) -> frozenset[int]:
        early = (step for step in self.early if step <= last)
        return frozenset((*early, *range(self.every, last + 1, self.every), last))


@dataclass(frozen=True)
class MnistData:
    """MNIST, or another data set of its form."""

    name: Annotated[str, IDX_SETS, Doc("set by data=NAME")]
    root: Annotated[Path, Doc("folder of the four files; relative to the repository")]
    threshold: Annotated[float, ">= 0, < 1", Doc("a pixel is 1 where gray / 255 exceeds it, else 0")]
    validation: Annotated[int, ">= 0, <= 50000", Doc("training examples held out of the 60,000", "examples")]
    examples: Annotated[Examples | None, Doc("the first so many of the others; null: all", "examples")] = None
    inputs: Annotated[str, INPUTS, Doc("what the network sees of the binary images")] = "binary"


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """A data set of photographs (section 4.2 and its smaller stand-ins)."""

    name: Annotated[Literal["imagenet", "tiny_imagenet", "cifar10", "smoke"], Doc("set by data=NAME")]
    root: Annotated[str, "path", Doc("folder of {train,val}/<class>/*; relative to the repository")]
    classes: Annotated[int, ">= 2, <= 1e6", Doc("number of classes")]
    resize: Annotated[Side, Doc("shorter side, from which the central validation crop is cut", "pixels")]
    crop: Annotated[Side, Doc("side of the square that the network sees", "pixels")]
    area: Annotated[float, "> 0, <= 1", Doc("least share of an image that a training crop takes")]
    aspect: Annotated[float, ">= 1, <= 1000", Doc("training crops are 1/aspect to aspect as wide as high")]
    distortion: Annotated[Literal["none", "reduced", "googlenet"], Doc("of the colors of training images")]
    shuffle: Annotated[
        Literal["by_shard", "within_shards", "complete"],
        Doc("order of an epoch: shards shuffled; their examples too; all examples"),
    ]
    shard_size: Annotated[Count, Doc("size of a shard", "examples")]
    validation: Annotated[Natural, Doc("training images held out and validated on instead", "images")] = 0
    inputs: Annotated[str, IMAGE_INPUTS, Doc("what the network sees of the images")] = "original"
    feed: Annotated[
        Literal["auto", "resident", "stream"],
        Doc("resident: all images on the device, as bytes; stream: decoded by worker processes"),
    ]
    workers: Annotated[Workers | None, Doc("processes that decode, with feed=stream; null: by the cores")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class MlpModel:
    """The fully connected network of section 4.1."""

    name: Annotated[Literal["mlp"], Doc("set by model=NAME")]
    hidden: Annotated[tuple[Annotated[int, ">= 1, <= 65536"], ...], Doc("size of each hidden layer", "units")]
    norm: Annotated[str, NORMALIZATIONS, Doc("normalization of each hidden layer")]
    norm_group: Annotated[Group, Doc("size of a group, with norm=ghost", "examples")] = 20
    norm_groups: Annotated[Count, Doc("number of groups of features, with norm=group")] = 10
    norm_place: Annotated[
        Literal["before", "after", "input"],
        Doc("where the normalization is: before or after the nonlinearity, or on the layer's input u"),
    ] = "before"
    nonlinearity: Annotated[str, NONLINEARITIES, Doc("nonlinearity of each hidden layer")]
    dropout: Annotated[float, ">= 0, < 1", Doc("probability of a zero, after each hidden layer")] = 0.0
    init_std: Annotated[Positive, Doc("standard deviation of the Gaussian that W is drawn from")]
    bn_eps: Annotated[Positive, Doc("epsilon, added to the variance")]
    bn_momentum: Annotated[Momentum, Doc("weight of the newest mini-batch in the moving averages")]


Module = Literal["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]  # the rows of Figure 5
UNIT = re.compile(
    r"conv1|conv2|conv2_reduce|inception_(3[abc]|4[a-e]|5[ab])\.(conv_3x3_reduce|conv_3x3|double_3x3_reduce"
    r"|double_3x3_1|double_3x3_2)|inception_(3[ab]|4[a-d]|5[ab])\.(conv_1x1|pool_proj)"
)


@dataclass(frozen=True, kw_only=True)
class InceptionModel:
    """The network of section 4.2, and its variants."""

    name: Annotated[Literal["inception"], Doc("set by model=NAME")]
    norm: Annotated[str, NORMALIZATIONS, Doc("normalization before each nonlinearity")]
    norm_group: Annotated[Group, Doc("size of a group, with norm=ghost", "examples")]
    norm_groups: Annotated[Literal[1, 2, 4, 8], Doc("number of groups of channels, with norm=group")] = 8
    nonlinearity: Annotated[str, NONLINEARITIES, Doc("nonlinearity after each convolution")]
    lrn: Annotated[bool, Doc("local response normalization, in GoogLeNet's two places")]
    dropout: Annotated[float, ">= 0, < 1", Doc("probability of a zero, before the classifier")]
    stem: Annotated[Literal["separable", "dense"], Doc("first convolution; the paper's is separable")]
    stem_stride: Annotated[Literal[1, 2], Doc("stride of the first convolution; the paper's is 2")]
    stem_pools: Annotated[Literal[0, 1, 2], Doc("max pools before module 3a; the paper's are 2")]
    pool_proj: Annotated[Literal[96, 128], Doc("filters of the pool projections of modules 4c and 4d")]
    width: Annotated[float, "> 0, <= 8", Doc("multiplies the number of filters of each convolution")]
    per_activation: Annotated[tuple[Module, ...], "distinct", Doc("modules with BN per activation: [5b]")]
    init_scale: Annotated[Positive, Doc("multiplies the initial weights of the convolutions")]
    bn_eps: Annotated[Positive, Doc("epsilon, added to the variance")]
    bn_momentum: Annotated[Momentum, Doc("weight of the newest mini-batch in the moving averages")]


@dataclass(frozen=True)
class Decay:
    """The rate after n steps: initial rate * factor ** (speed * n / every). A factor of 1 keeps it."""

    factor: Annotated[float, "> 0, <= 1", Doc("what the rate is multiplied by every so often")]
    every: Annotated[Count, Doc("how often; with lr_batch, in steps of lr_batch examples", "steps")]
    speed: Annotated[float, "> 0, <= 1e6", Doc('6: "decay the rate 6x faster" (section 4.2.1)')]


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimizer. The scale says the base's numbers; an experiment multiplies them by its factors."""

    name: Annotated[str, OPTIMIZERS, Doc("set by optim=NAME")] = "sgd"
    lr: Annotated[Positive, Doc("initial learning rate, before its factors")]
    lr_factor: Annotated[Positive, Doc("an experiment multiplies lr by it")]
    lr_batch: Annotated[Count | None, Doc("lr is scaled by batch / lr_batch; null: it is not", "examples")]
    decay: Decay
    batch: Annotated[Batch, Doc("size of a mini-batch", "examples")]
    momentum: Annotated[float, ">= 0, < 1", Doc("momentum, of optim.name=sgd alone")]
    weight_decay: Annotated[float, ">= 0, <= 1000", Doc("L2 on all W; not on gamma, beta and biases")]
    weight_decay_factor: Annotated[float, ">= 0, <= 1000", Doc("an experiment multiplies weight_decay by it")]

    @property
    def initial_rate(self) -> float:
        return self.lr * self.lr_factor * (self.batch / self.lr_batch if self.lr_batch else 1.0)

    @property
    def l2(self) -> float:
        return self.weight_decay * self.weight_decay_factor


@dataclass(frozen=True)
class Evaluate:
    """Accuracy while it trains, with moving averages, and at the end."""

    at: Schedule
    population_batches: Annotated[Count, Doc("training mini-batches that Algorithm 2 takes", "mini-batches")]
    population: Annotated[
        Literal["end", "always"], Doc("Algorithm 2 at the end, or at each evaluation too (of the MLP)")
    ] = "end"


@dataclass(frozen=True)
class Probe:
    """Where it is observed. Percentiles are of the inputs to the nonlinearities, in training mode."""

    at: Schedule
    examples: Annotated[
        int, ">= 1, <= 60000", Doc("the same in every run; rounded up to whole mini-batches", "examples")
    ]
    layers: Annotated[
        tuple[str, ...], "distinct", Doc("of the Inception networks: [inception_4c.conv_3x3]; of the MLP all")
    ]
    percentiles: Annotated[tuple[Percent, ...], "not empty, distinct", Doc("which are taken", "%")]


@dataclass(frozen=True)
class WandbLogger:
    """Weights & Biases, with logger=wandb."""

    mode: Annotated[Literal["offline", "online", "disabled"], Doc("offline: `wandb sync` sends it later")]
    project: Annotated[Text, Doc("project that the run is shown in")]
    entity: Annotated[Text | None, Doc("user or team; null: W&B's default")]
    group: Annotated[Text | None, Doc("null: experiment and what differs from it, so that seeds form one")]
    tags: Annotated[tuple[Text, ...], "distinct", Doc("tags besides the experiment and the prepared sweep")]


@dataclass(frozen=True)
class TensorboardLogger:
    """TensorBoard, with logger=tensorboard."""

    flush_s: Annotated[int, ">= 1, <= 1e6", Doc("after which TensorBoard sees what was logged", "seconds")]


@dataclass(frozen=True)
class Loggers:
    """Where the numbers go besides the run directory; logger=[wandb,tensorboard] chooses both."""

    wandb: WandbLogger | None = None
    tensorboard: TensorboardLogger | None = None


@dataclass(frozen=True, kw_only=True)
class Config:
    experiment: Annotated[str, Doc("the network of the paper that is trained")]
    scale: Annotated[str | None, Doc("base of an image experiment: its data, sizes, rate and length")]
    member: Annotated[Annotated[int, ">= 1, <= 6"] | None, Doc("which network of experiment=ensemble")]
    seed: Annotated[int, ">= 0, <= 4294967295", Doc("everything random descends from it")]
    steps: Annotated[Count, Doc("length of the training, before steps_factor", "steps")]
    steps_factor: Annotated[float, "> 0, <= 1000", Doc("an experiment multiplies steps by it")] = 1.0
    device: Annotated[Literal["auto", "cpu", "cuda"], Doc("where it trains; auto: on a GPU if there is one")]
    threads: Annotated[Threads, Doc("number of CPU threads; the bits of a run depend on it")]
    step_path: Annotated[
        Literal["auto", "fused", "autograd"], Doc("of the MLP, with the same numbers; auto: fused if it can")
    ]
    precision: Annotated[
        Literal["auto", "float32", "bf16"],
        Doc("of the Inception networks' forward pass; auto: bf16 on a GPU"),
    ]
    channels_last: Annotated[bool, Doc("memory layout of images, for the Inception networks")]
    compile: Annotated[
        Literal["auto", "always", "never"], Doc("torch.compile, for the Inception networks; auto: on a GPU")
    ]
    cuda_graph: Annotated[bool, Doc("on a GPU, replay a step as one CUDA graph")]
    data: MnistData | ImageData
    model: MlpModel | InceptionModel
    optim: Optim
    evaluate: Evaluate
    probe: Probe
    observe: Annotated[
        tuple[Annotated[str, OBSERVATIONS], ...], "distinct", Doc("what is observed while it trains")
    ] = ("percentiles",)
    log_every: Annotated[int, ">= 1, <= 1e6", Doc("between two logged losses; makes another run", "steps")]
    checkpoint_every: Annotated[Count, Doc("between two checkpoints; makes no other run", "steps")]
    checkpoint_minutes: Annotated[Positive, Doc("at most, between two checkpoints", "minutes")] = 10.0
    overfit: Annotated[bool, Doc("train on the first mini-batch alone; debug=overfit sets it")] = False
    profile: Annotated[
        int, ">= 0, <= 1000", Doc("steps that torch.profiler looks at; debug=profile sets it", "steps")
    ] = 0
    rank_timeout_s: Annotated[
        float, "> 0, <= 1e6", Doc("how long one of several processes may keep the others waiting", "seconds")
    ] = 600.0
    output: Annotated[Path, Doc("folder of the run directories; relative to the repository")]
    start: Annotated[Path | None, Doc("run or checkpoint whose weights are the initial ones")] = None
    extend: Annotated[Path | None, Doc("shorter run that is done, which this one continues")] = None
    logger: Loggers = Loggers()

    @property
    def length(self) -> int:
        """How many steps the run has."""
        return max(1, round(self.steps * self.steps_factor))
