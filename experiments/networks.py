"""The seven networks of section 4.2 as trained: each run's validation accuracy, and what Figures 2 and 3 ask
of it.

Validation accuracy is top-1, single crop, with the moving averages. Steps are counted in mini-batches of
`optim.lr_batch` examples, 32 as the paper's are, whatever the mini-batch of the run: a run is as far as the
examples it has seen. Decisions (D):
- a network's maximum is the highest of a run's evaluations, and the base network's the mean of its seeds'
  maxima: one run is one seed in the paper;
- a run is at chance if its best evaluation is not above what a network that guesses exceeds in 0.1% of runs:
  p + z sqrt(p (1 - p) / n), p the share of one class, n the validation pictures, z the normal quantile of
  0.1% over the number of its evaluations (Bonferroni);
- a run that diverged before its first evaluation counts as chance.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from bn.config import flatten, to_dict
from bn.data import smoke
from bn.errors import UserError
from bn.records import RunDirectory
from experiments import collected

BASE = "inception"
NETWORKS = (
    BASE, "bn_baseline", "bn_x5", "bn_x30", "bn_x5_sigmoid",
    "inception_x5", "inception_sigmoid",
)  # fmt: skip
SCALE = {
    "imagenet": "ImageNet",
    "tiny_imagenet": "Tiny ImageNet",
    "cifar10": "CIFAR-10",
    "smoke": "images made for tests",
}
VALIDATION = {"imagenet": 50_000, "tiny_imagenet": 10_000, "cifar10": 10_000, "smoke": smoke.VALIDATION}
LEVEL = 0.001  # share of the runs that guess and are not taken to be at chance


class Training(NamedTuple):
    """One run. Steps are `counted`, `end` is the last it made; accuracies are shares of 1."""

    network: str
    seed: int
    state: str  # done | diverged
    end: int
    classes: int
    pictures: int  # of the validation set
    steps: np.ndarray  # (T,), of the evaluations; none where it diverged before the first
    accuracy: np.ndarray  # (T,)
    population: float | None  # at the end, with Algorithm 2's statistics; None without BN or an end

    @property
    def diverged(self) -> bool:
        return self.state == "diverged"

    @property
    def maximum(self) -> float:
        return float(self.accuracy.max()) if len(self.accuracy) else 1 / self.classes

    @property
    def maximum_step(self) -> int | None:
        """The first step of its maximum; None without an evaluation."""
        return int(self.steps[self.accuracy.argmax()]) if len(self.accuracy) else None

    @property
    def at_chance(self) -> bool:
        p = 1 / self.classes
        z = NormalDist().inv_cdf(1 - LEVEL / max(1, len(self.accuracy)))
        return not self.diverged and self.maximum <= p + z * (p * (1 - p) / self.pictures) ** 0.5

    def reached(self, level: float) -> float | None:
        """The step, between evaluations, at which it first reaches `level`; None if it never does."""
        return (
            collected.crossing(self.steps, self.accuracy, level) if (self.accuracy >= level).any() else None
        )


def trainings(runs: Sequence[RunDirectory]) -> list[Training]:
    """The ended runs of one scale. UserError if one has not ended, or if there are several scales."""
    check_scale(runs)
    return [_training(run) for run in runs]


def check_scale(runs: Sequence[RunDirectory]) -> None:
    """UserError unless the runs are of one scale."""
    scales = sorted({str(run.config.scale) for run in runs})
    if len(scales) > 1:
        raise UserError(f"scale={','.join(scales)}: accepted: one scale, since one figure shows it")


def _training(run: RunDirectory) -> Training:
    lines = collected.metrics(run)
    evaluated = [line for line in lines if "validation/accuracy" in line]
    status, config = run.status, flatten(to_dict(run.config))
    return Training(
        run.config.experiment, run.config.seed, status["state"], counted(status["step"], config),
        config["data.classes"], VALIDATION[config["data.name"]],
        np.array([counted(line["step"], config) for line in evaluated], dtype=int),
        np.array([line["validation/accuracy"] for line in evaluated], dtype=float),
        lines[-1].get("validation/accuracy_population") if lines else None,
    )  # fmt: skip


def counted(step: int, config: Mapping[str, Any]) -> int:
    """A step of a run of this flattened config, in mini-batches of the size `mini_batch` says."""
    return round(step * config["optim.batch"] / mini_batch(config))


def mini_batch(config: Mapping[str, Any]) -> int:
    """How many examples are in the mini-batches that steps are counted in."""
    return config["optim.lr_batch"] or config["optim.batch"]


def by_network(found: Sequence[Training]) -> dict[str, list[Training]]:
    """In the order of the paper's table; networks without a run are left out."""
    groups = {name: [training for training in found if training.network == name] for name in NETWORKS}
    return {name: group for name, group in groups.items() if group}


def base_maximum(found: Sequence[Training]) -> float:
    """The accuracy that the networks are to reach (72.2% in the paper)."""
    maxima = [training.maximum for training in found if training.network == BASE]
    return sum(maxima) / len(maxima)


def setting(config: Mapping[str, Any]) -> str:
    """Scale and size in words, of the flattened config that the runs share."""
    side, width = config["data.crop"], config["model.width"]
    batch, counts = config["optim.batch"], mini_batch(config)
    return (
        f"{SCALE[config['scale']]}, {side} x {side} crops, width {width:g}, "
        f"{counted(config['steps'], config):,} mini-batches of {counts}"
        f"{f' in steps of {batch}' if batch != counts else ''}"
    )


def matched(training: Training, level: float) -> float | None:
    """The step at which a run first reaches `level`, the base network's maximum; None if it never does.

    Of the base network the step of the run's own maximum: `level` is the mean of these, which some of its
    runs do not reach.
    """
    return training.maximum_step if training.network == BASE else training.reached(level)


def failures(diverged: Sequence[int], at_chance: int, runs: int) -> list[str]:
    """How a network's runs failed: "diverged by step 40 to 60 (2 of 3)", "at chance (1 of 3)".

    `diverged`: the last step of each run that did; `at_chance`: how many runs never left it.
    """
    found = []
    if diverged:
        first, last = min(diverged), max(diverged)
        span = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        found.append(f"diverged by step {span} ({len(diverged)} of {runs})")
    if at_chance:
        found.append(f"at chance ({at_chance} of {runs})")
    return found
