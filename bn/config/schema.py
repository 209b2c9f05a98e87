"""The typed schema of the config, in the notation of `bn.config.notation`.

`--help` prints the `Doc` of each key and the first paragraph of each group's docstring.
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
from bn.config.idx_sets import IDX_SETS
from bn.config.notation import Doc

# Upper bounds exclude values that would exhaust the memory or overflow.
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
    """The steps in `early`, every `every` steps, and the last step."""

    early: Annotated[tuple[Natural, ...], "distinct", Doc("additional single steps", "steps")]
    every: Annotated[Count, Doc("interval between evaluations or observations", "steps")]

    def steps(self, last: int) -> frozenset[int]:
        early = (step for step in self.early if step <= last)
        return frozenset((*early, *range(self.every, last + 1, self.every), last))


@dataclass(frozen=True)
class MnistData:
    """MNIST, or another data set in its format."""

    name: Annotated[str, IDX_SETS, Doc("set by data=NAME")]
    root: Annotated[Path, Doc("folder with the four files, relative to the repository")]
    threshold: Annotated[float, ">= 0, < 1", Doc("a pixel becomes 1 if gray / 255 exceeds it, else 0")]
    validation: Annotated[int, ">= 0, <= 50000", Doc("training examples held out of the 60,000", "examples")]
    examples: Annotated[Examples | None, Doc("the first N not held out; null: all", "examples")] = None
    inputs: Annotated[str, INPUTS, Doc("transformation of the binary images")] = "binary"


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """A data set of color images: ImageNet (section 4.2) or a smaller one."""

    name: Annotated[Literal["imagenet", "tiny_imagenet", "cifar10", "smoke"], Doc("set by data=NAME")]
    root: Annotated[str, "path", Doc("folder with {train,val}/<class>/*, relative to the repository")]
    classes: Annotated[int, ">= 2, <= 1e6", Doc("number of classes")]
    resize: Annotated[Side, Doc("shorter side before the central validation crop", "pixels")]
    crop: Annotated[Side, Doc("side of the network's square input", "pixels")]
    area: Annotated[float, "> 0, <= 1", Doc("smallest share of an image's area in a training crop")]
    aspect: Annotated[float, ">= 1, <= 1000", Doc("training crops: width / height from 1/aspect to aspect")]
    distortion: Annotated[Literal["none", "reduced", "googlenet"], Doc("photometric distortion in training")]
    shuffle: Annotated[
        Literal["by_shard", "within_shards", "complete"],
        Doc("what is shuffled in each epoch: shards; shards and the examples in them; all examples"),
    ]
    shard_size: Annotated[Count, Doc("size of a shard", "examples")]
    validation: Annotated[Natural, Doc("training images held out; 0: validate on val/", "images")] = 0
    inputs: Annotated[str, IMAGE_INPUTS, Doc("transformation of the images")] = "original"
    feed: Annotated[
        Literal["auto", "resident", "stream"],
        Doc("resident: all images on the device, as bytes; stream: decoded by worker processes"),
    ]
    workers: Annotated[
        Workers | None, Doc("decoding processes, with feed=stream; null: according to the cores")
    ] = None


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
        Doc("place of the normalization: before or after the nonlinearity, or on the layer's input u"),
    ] = "before"
    nonlinearity: Annotated[str, NONLINEARITIES, Doc("nonlinearity of each hidden layer")]
    dropout: Annotated[float, ">= 0, < 1", Doc("dropout probability after each hidden layer")] = 0.0
    init_std: Annotated[Positive, Doc("standard deviation of the Gaussian initial weights W")]
    bn_eps: Annotated[Positive, Doc("epsilon, added to the variance")]
    bn_momentum: Annotated[Momentum, Doc("weight of the newest mini-batch in the moving averages")]


Module = Literal["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]  # the rows of Figure 5
UNIT = re.compile(
    r"conv1|conv2|conv2_reduce|inception_(3[abc]|4[a-e]|5[ab])\.(conv_3x3_reduce|conv_3x3|double_3x3_reduce"
    r"|double_3x3_1|double_3x3_2)|inception_(3[ab]|4[a-d]|5[ab])\.(conv_1x1|pool_proj)"
)


@dataclass(frozen=True, kw_only=True)
class InceptionModel:
    """The network of section 4.2 and its variants."""

    name: Annotated[Literal["inception"], Doc("set by model=NAME")]
    norm: Annotated[str, NORMALIZATIONS, Doc("normalization before each nonlinearity")]
    norm_group: Annotated[Group, Doc("size of a group, with norm=ghost", "examples")]
    norm_groups: Annotated[Literal[1, 2, 4, 8], Doc("number of groups of channels, with norm=group")] = 8
    nonlinearity: Annotated[str, NONLINEARITIES, Doc("nonlinearity after each convolution")]
    lrn: Annotated[bool, Doc("local response normalization, in GoogLeNet's two places")]
    dropout: Annotated[float, ">= 0, < 1", Doc("dropout probability before the classifier")]
    stem: Annotated[Literal["separable", "dense"], Doc("first convolution; the paper's is separable")]
    stem_stride: Annotated[Literal[1, 2], Doc("stride of the first convolution; the paper's is 2")]
    stem_pools: Annotated[Literal[0, 1, 2], Doc("max pools before module 3a; the paper's are 2")]
    pool_proj: Annotated[Literal[96, 128], Doc("filters of the pool projections of modules 4c and 4d")]
    width: Annotated[float, "> 0, <= 8", Doc("factor of the number of filters of each convolution")]
    per_activation: Annotated[tuple[Module, ...], "distinct", Doc("modules with BN per activation")]
    init_scale: Annotated[Positive, Doc("factor of the initial weights of the convolutions")]
    bn_eps: Annotated[Positive, Doc("epsilon, added to the variance")]
    bn_momentum: Annotated[Momentum, Doc("weight of the newest mini-batch in the moving averages")]


@dataclass(frozen=True)
class Decay:
    """Learning rate after n steps: initial value * factor ** (speed * n / every)."""

    factor: Annotated[float, "> 0, <= 1", Doc("multiplies the rate every `every` steps; 1: constant")]
    every: Annotated[Count, Doc("with lr_batch, counted in mini-batches of lr_batch examples", "steps")]
    speed: Annotated[float, "> 0, <= 1e6", Doc("speed-up of the decay; the paper's is 6 (section 4.2.1)")]


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimizer. The scale sets the base values; experiments set factors of them."""

    name: Annotated[str, OPTIMIZERS, Doc("set by optim=NAME")] = "sgd"
    lr: Annotated[Positive, Doc("initial learning rate, before lr_factor and lr_batch")]
    lr_factor: Annotated[Positive, Doc("multiplies lr; set by experiments")]
    lr_batch: Annotated[Count | None, Doc("scale lr by batch / lr_batch; null: do not", "examples")]
    decay: Decay
    batch: Annotated[Batch, Doc("size of a mini-batch", "examples")]
    momentum: Annotated[float, ">= 0, < 1", Doc("momentum, for optim.name=sgd only")]
    weight_decay: Annotated[float, ">= 0, <= 1000", Doc("L2 on all W, not on gamma, beta and biases")]
    weight_decay_factor: Annotated[float, ">= 0, <= 1000", Doc("multiplies weight_decay; set by experiments")]

    @property
    def initial_rate(self) -> float:
        return self.lr * self.lr_factor * (self.batch / self.lr_batch if self.lr_batch else 1.0)

    @property
    def l2(self) -> float:
        return self.weight_decay * self.weight_decay_factor


@dataclass(frozen=True)
class Evaluate:
    """Evaluation during training, with moving averages, and at the end."""

    at: Schedule
    population_batches: Annotated[Count, Doc("training mini-batches for Algorithm 2", "mini-batches")]
    population: Annotated[
        Literal["end", "always"], Doc("run Algorithm 2 at the end only, or at each evaluation (MLP only)")
    ] = "end"


@dataclass(frozen=True)
class Probe:
    """When and where observations are made. Percentiles are of nonlinearity inputs in training mode."""

    at: Schedule
    examples: Annotated[
        int, ">= 1, <= 60000", Doc("same in every run; rounded up to whole mini-batches", "examples")
    ]
    layers: Annotated[
        tuple[str, ...], "distinct", Doc("Inception only, such as [inception_4c.conv_3x3]; the MLP has all")
    ]
    percentiles: Annotated[tuple[Percent, ...], "not empty, distinct", Doc("percentiles to record", "%")]


@dataclass(frozen=True)
class WandbLogger:
    """Weights & Biases, with logger=wandb."""

    mode: Annotated[Literal["offline", "online", "disabled"], Doc("offline: upload later with `wandb sync`")]
    project: Annotated[Text, Doc("W&B project")]
    entity: Annotated[Text | None, Doc("user or team; null: W&B's default")]
    group: Annotated[Text | None, Doc("W&B group; null: one per setting, so that it holds all seeds")]
    tags: Annotated[tuple[Text, ...], "distinct", Doc("tags besides the experiment and the prepared sweep")]


@dataclass(frozen=True)
class TensorboardLogger:
    """TensorBoard, with logger=tensorboard."""

    flush_s: Annotated[int, ">= 1, <= 1e6", Doc("longest delay of the event file", "seconds")]


@dataclass(frozen=True)
class Loggers:
    """Loggers besides the run directory; logger=[wandb,tensorboard] chooses both."""

    wandb: WandbLogger | None = None
    tensorboard: TensorboardLogger | None = None


@dataclass(frozen=True, kw_only=True)
class Config:
    experiment: Annotated[str, Doc("network of the paper to train")]
    scale: Annotated[str | None, Doc("base of an image experiment: data, sizes, learning rate and length")]
    member: Annotated[Annotated[int, ">= 1, <= 6"] | None, Doc("network of experiment=ensemble")]
    seed: Annotated[int, ">= 0, <= 4294967295", Doc("seed of all random numbers")]
    steps: Annotated[Count, Doc("length of the training, before steps_factor", "steps")]
    steps_factor: Annotated[float, "> 0, <= 1000", Doc("multiplies steps; set by experiments")] = 1.0
    device: Annotated[Literal["auto", "cpu", "cuda"], Doc("training device; auto: a GPU if available")]
    threads: Annotated[Threads, Doc("number of CPU threads; results differ in the last bits")]
    step_path: Annotated[
        Literal["auto", "fused", "autograd"],
        Doc("implementation of the MLP's step, with the same numbers; auto: fused if possible"),
    ]
    precision: Annotated[
        Literal["auto", "float32", "bf16"],
        Doc("precision of Inception's forward pass; auto: bf16 on a GPU, else float32"),
    ]
    channels_last: Annotated[bool, Doc("channels-last memory format, for Inception")]
    compile: Annotated[Literal["auto", "always", "never"], Doc("torch.compile for Inception; auto: on a GPU")]
    cuda_graph: Annotated[bool, Doc("replay each step as one CUDA graph, on a GPU")]
    data: MnistData | ImageData
    model: MlpModel | InceptionModel
    optim: Optim
    evaluate: Evaluate
    probe: Probe
    observe: Annotated[
        tuple[Annotated[str, OBSERVATIONS], ...], "distinct", Doc("observations made during training")
    ] = ("percentiles",)
    log_every: Annotated[int, ">= 1, <= 1e6", Doc("between logs; changing it makes another run", "steps")]
    checkpoint_every: Annotated[Count, Doc("between checkpoints; changing it keeps the run", "steps")]
    checkpoint_minutes: Annotated[Positive, Doc("longest time between checkpoints", "minutes")] = 10.0
    overfit: Annotated[bool, Doc("train on the first mini-batch only; set by debug=overfit")] = False
    profile: Annotated[int, ">= 0, <= 1000", Doc("steps to profile; set by debug=profile", "steps")] = 0
    rank_timeout_s: Annotated[float, "> 0, <= 1e6", Doc("longest wait for other ranks", "seconds")] = 600.0
    output: Annotated[Path, Doc("folder of the run directories, relative to the repository")]
    start: Annotated[Path | None, Doc("run or checkpoint that provides the initial weights")] = None
    extend: Annotated[Path | None, Doc("shorter, finished run that this one continues")] = None
    logger: Loggers = Loggers()

    @property
    def length(self) -> int:
        """The number of steps of the run."""
        return max(1, round(self.steps * self.steps_factor))
