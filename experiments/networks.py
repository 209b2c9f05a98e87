"""The trained networks of section 4.2: each run's validation accuracy, and the numbers of Figures 2 and 3.

Validation accuracy is top-1, single crop, with moving averages. Steps are counted in mini-batches of
`optim.lr_batch` examples (32, as in the paper), whatever the mini-batch of the run: what counts is the number
of examples seen. Decisions (D):
- a run's maximum is the highest of its evaluations, and the base network's is the mean of its seeds' maxima
  (the paper shows one run of each);
- a run is at chance if its best evaluation does not exceed what a guessing network exceeds in 0.1% of runs:
  p + z sqrt(p (1 - p) / n), p the share of one class, n the validation images, z the normal quantile of
  0.1% over the number of its evaluations (Bonferroni);
- a run that diverged before its first evaluation counts as chance;
- seeds of a network that end more than ten points of accuracy apart are listed: a mean would describe none;
- two networks are compared seed by seed, over the seeds for which both have ended. A seed fixes the initial
  weights and the images, but on a GPU not the rounding, so two trainings of a seed drift apart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bn.config import flatten, to_dict
from bn.data import smoke
from bn.errors import UserError
from bn.run.directory import RunDirectory, read_lines
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
TRAINING = {"imagenet": 1_281_167, "tiny_imagenet": 100_000, "cifar10": 50_000, "smoke": smoke.TRAIN}
APART = 10.0  # points of accuracy
LEVEL = 0.001  # share of guessing runs that are not recognized as at chance
AT_CHANCE = "A run is at chance if it is not better than guessing, at a significance level of 0.1%."
FILTERS = {0.25: "a quarter of the filters", 0.5: "half of the filters", 1: "all filters"}  # by width


class Training(NamedTuple):
    """One run. Steps are `counted`; accuracies are between 0 and 1."""

    network: str
    seed: int
    state: str  # done | diverged
    end: int  # the last step
    classes: int
    images: int  # in the validation set
    steps: np.ndarray  # (T,), of the evaluations; empty if it diverged before the first
    accuracy: np.ndarray  # (T,)
    population: float | None  # at the end, with Algorithm 2's statistics; None without BN or if it diverged

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
        return not self.diverged and self.maximum <= self.chance_level(len(self.accuracy))

    def chance_level(self, evaluations: int) -> float:
        """The accuracy that a guessing network's best of so many evaluations exceeds in 0.1% of runs."""
        p = 1 / self.classes
        z = NormalDist().inv_cdf(1 - LEVEL / max(1, evaluations))
        return p + z * (p * (1 - p) / self.images) ** 0.5

    @property
    def final(self) -> float | None:
        """The accuracy at the end, with BN by Algorithm 2's statistics; None if the run diverged."""
        if self.diverged:
            return None
        return float(self.accuracy[-1]) if self.population is None else self.population

    def reached(self, level: float) -> float | None:
        """The step, between evaluations, at which it first reaches `level`; None if it never does."""
        return (
            collected.crossing(self.steps, self.accuracy, level) if (self.accuracy >= level).any() else None
        )


class Final(NamedTuple):
    """The numbers of a run in the tables."""

    network: str
    seed: int
    state: str
    end: int  # the last step, counted
    maximum: float
    at_chance: bool
    matched: float | None  # the step of `matched`
    accuracy: float | None  # at the end, `Training.final`

    @property
    def diverged(self) -> bool:
        return self.state == "diverged"


Run = TypeVar("Run", Training, Final)


def ended(runs: Sequence[RunDirectory], interrupted: bool = False) -> list[RunDirectory]:
    """`collected.ended` for runs of one scale. UserError if there are several scales."""
    check_one_scale(runs)
    return collected.ended(runs, interrupted=interrupted)


def check_one_scale(runs: Sequence[RunDirectory]) -> None:
    scales = sorted({str(run.config.scale) for run in runs})
    if len(scales) > 1:
        raise UserError(f"scale={','.join(scales)}: accepted: one scale, because a figure shows one")


def trainings(runs: Sequence[RunDirectory]) -> list[Training]:
    """The trainings of ended runs, in order."""
    return [_training(run) for run in runs]


class Gathered(NamedTuple):
    """Ended runs in the planned order, with the training and the provenance of each."""

    runs: list[RunDirectory]
    trainings: list[Training]
    entries: list[dict[str, Any]]  # `collected.provenance`


def gather(runs: Sequence[RunDirectory], *archives: Path, needed: Sequence[str] = ()) -> Gathered:
    """The `runs` that have ended, from their directories or else from an archive.

    `archives`: folders of `write_trainings`, such as results/figure2, which may be missing; the first one
    that has a run is used. So collecting never loses a run whose directory is gone. Raises the UserErrors of
    `collected.ended`.
    """
    check_one_scale(runs)
    here = [run for run in runs if run.finished]
    collected.check(here)
    found = {run.path: (_training(run), collected.provenance(run)) for run in here}
    for archive in archives:
        for training, entry in read_trainings(archive):
            for run in runs:
                if run.path not in found and collected.is_of(entry, run.config):
                    found[run.path] = (training._replace(network=run.config.experiment), entry)
    gathered = [run for run in runs if run.path in found]
    collected.check_needed(runs, gathered, needed)
    entries = [found[run.path][1] for run in gathered]
    names = [run.name for run in gathered]
    collected.check_numerics([*zip(names, map(collected.numerics_of, entries), strict=True)])
    return Gathered(gathered, [found[run.path][0] for run in gathered], entries)


def write_trainings(folder: Path, gathered: Gathered) -> None:
    """Write accuracy.csv (one row per evaluation), final.csv (one row per ended run) and runs.json."""
    rows = [
        (t.network, t.seed, step, value)
        for t in gathered.trainings
        for step, value in zip(t.steps, t.accuracy, strict=True)
    ]
    collected.write_csv(folder / "accuracy.csv", ("network", "seed", "step", "validation_accuracy"), rows)
    final = [(t.network, t.seed, t.state, t.end, t.population) for t in gathered.trainings]
    header = ("network", "seed", "state", "step", "validation_accuracy_population")
    collected.write_csv(folder / "final.csv", header, final)
    collected.write_entries(folder / "runs.json", gathered.entries)


def read_trainings(folder: Path) -> list[tuple[Training, dict[str, Any]]]:
    """Read the records of `write_trainings`: each run's training and provenance; [] if there are none."""
    entries = collected.read_entries(folder / "runs.json")
    if not entries:
        return []
    curves: dict[tuple[str, str], list[dict[str, str]]] = {}
    for line in collected.read_csv(folder / "accuracy.csv"):
        curves.setdefault((line["network"], line["seed"]), []).append(line)
    found = []
    for row, entry in zip(collected.read_csv(folder / "final.csv"), entries, strict=True):
        config, who = entry["config"], (row["network"], row["seed"])
        own = curves.get(who, [])  # empty if it diverged before the first evaluation
        steps = np.array([int(line["step"]) for line in own], dtype=int)
        values = np.array([float(line["validation_accuracy"]) for line in own])
        population = row["validation_accuracy_population"]
        training = Training(
            who[0], int(who[1]), row["state"], int(row["step"]), config["data.classes"],
            evaluated_images(config), steps, values, float(population) if population else None,
        )  # fmt: skip
        found.append((training, entry))
    return found


def final(training: Training, level: float) -> Final:
    """The numbers of a run in the tables, with steps counted to the accuracy `level`."""
    return Final(
        training.network, training.seed, training.state, training.end, training.maximum, training.at_chance,
        matched(training, level), training.final,
    )  # fmt: skip


def _training(run: RunDirectory) -> Training:
    lines = read_lines(run.path / "metrics.jsonl")
    evaluated = [line for line in lines if "validation/accuracy" in line]
    status, config = run.status, flatten(to_dict(run.config))
    return Training(
        run.config.experiment, run.config.seed, status["state"], counted(status["step"], config),
        config["data.classes"], evaluated_images(config),
        np.array([counted(line["step"], config) for line in evaluated], dtype=int),
        np.array([line["validation/accuracy"] for line in evaluated], dtype=float),
        lines[-1].get("validation/accuracy_population") if lines else None,
    )  # fmt: skip


def counted(step: int, config: Mapping[str, Any]) -> int:
    """A step of a run with this flattened config, converted to mini-batches of `mini_batch` examples."""
    return round(step * config["optim.batch"] / mini_batch(config))


def mini_batch(config: Mapping[str, Any]) -> int:
    """The size of the mini-batches in which steps are counted."""
    return config["optim.lr_batch"] or config["optim.batch"]


def evaluated_images(config: Mapping[str, Any]) -> int:
    """The number of images that accuracy is measured on: the validation set or held-out training images."""
    return config["data.validation"] or VALIDATION[config["data.name"]]


def epochs(step: float, config: Mapping[str, Any]) -> float:
    """The number of epochs in so many `counted` steps."""
    return step * mini_batch(config) / (TRAINING[config["data.name"]] - config["data.validation"])


def by_network(found: Sequence[Training]) -> dict[str, list[Training]]:
    """Group runs by network, in the order of the paper's table, without networks that have no run."""
    groups = {name: [training for training in found if training.network == name] for name in NETWORKS}
    return {name: group for name, group in groups.items() if group}


def base_maximum(found: Sequence["Training | Final"]) -> float:
    """The base network's maximum, which the networks are to reach (72.2% in the paper)."""
    maxima = [run.maximum for run in found if run.network == BASE]
    return sum(maxima) / len(maxima)


def setting(config: Mapping[str, Any]) -> str:
    """Describe scale and size, from the flattened config that the runs share.

    "Up to" if their lengths differ: the networks of section 4.2.1 train for less than the scale's steps.
    """
    side, width = config["data.crop"], config["model.width"]
    return f"{SCALE[config['scale']]}, {side} x {side} crops, width {width:g}, {_length(config)}"


def _length(config: Mapping[str, Any]) -> str:
    batch, counts = config["optim.batch"], mini_batch(config)
    up_to = "" if "steps_factor" in config else "up to "
    steps = counted(config["steps"] * config.get("steps_factor", 1), config)
    return f"{up_to}{steps:,} mini-batches of {counts}{f' in steps of {batch}' if batch != counts else ''}"


def trained(config: Mapping[str, Any], who: str = "The networks train") -> str:
    """`setting` as a sentence about the networks."""
    side, width = config["data.crop"], config["model.width"]
    filters = FILTERS.get(width, f"{width:g} times the filters")
    return (
        f"{who} on {SCALE[config['scale']]}, in crops of {side} x {side} pixels and with {filters}, "
        f"for {_length(config)}."
    )


def matched(training: Training, level: float) -> float | None:
    """The step at which a run first reaches `level`, the base network's maximum; None if it never does.

    For the base network, the step of the run's own maximum: `level` is the mean of its runs' maxima, which
    some do not reach.
    """
    return training.maximum_step if training.network == BASE else training.reached(level)


def steps_text(group: Sequence[Final]) -> str:
    """The mean step to the level if all seeds reach it, else each seed's that does; and the failed runs."""
    steps = [run.matched for run in group if run.matched is not None]
    if len(steps) == len(group):
        reached = collected.mean_text(steps, 0)
    elif steps:
        reached = f"{len(steps)} of {len(group)} seeds: {', '.join(f'{step:,.0f}' for step in steps)}"
    else:
        reached = "never"
    ends = [run.end for run in group if run.diverged]
    return "; ".join((reached, *failures(ends, sum(run.at_chance for run in group), len(group))))


def paired(one: Sequence[Run], other: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Pairs of runs of two networks with the same seed, in the order of the seeds."""
    of_other = {run.seed: run for run in other}
    return [
        (run, of_other[run.seed]) for run in sorted(one, key=lambda run: run.seed) if run.seed in of_other
    ]


def times_fewer(group: Sequence[Final], slower: Sequence[Final]) -> list[float] | None:
    """How many times fewer steps to the level `group` needs than `slower`, by seed.

    None if they share no seed, or if a run of a pair never reaches the level.
    """
    pairs = [(run.matched, other.matched) for run, other in paired(group, slower)]
    if not pairs or not all(step and other for step, other in pairs):
        return None
    return [other / step for step, other in pairs if step and other]


def failures(diverged: Sequence[int], at_chance: int, runs: int) -> list[str]:
    """Describe a network's failed runs: "diverged by step 40 to 60 (2 of 3)", "at chance (1 of 3)".

    `diverged`: the last steps of the diverged runs; `at_chance`: the number of runs that never left chance.
    """
    found = []
    if diverged:
        first, last = min(diverged), max(diverged)
        span = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        found.append(f"diverged by step {span} ({len(diverged)} of {runs})")
    if at_chance:
        found.append(f"at chance ({at_chance} of {runs})")
    return found
