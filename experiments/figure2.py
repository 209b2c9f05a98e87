"""Figure 2 (section 4.2.2): with batch normalization Inception reaches its accuracy in fewer steps, in fewer
still at a higher learning rate, and it trains even with sigmoids.

    python scripts/reproduce.py figure2                    7 networks, some seeds (configs/sweep/figure2.yaml)
    python scripts/reproduce.py figure2 scale=imagenet     the same at the paper's scale
    python scripts/reproduce.py figure2 --collect          the runs that have ended, without training

Single-crop validation accuracy (top-1, moving averages) against training steps and epochs: mean and range of
the seeds whose runs have ended. Steps are counted in mini-batches of 32, as in the paper, whatever the run's
own size. The networks of 4.2.1, whose learning rate decays faster, train for fewer steps. The line is the
maximum of Inception (the mean of its seeds' maxima). A diamond marks where a network reaches it, if all its
seeds do: the mean of the steps at which they first do, interpolated between evaluations; for Inception
itself, the mean of the steps of its seeds' own maxima. The paper's numbers and ours, with n:
experiments/figure3.py.

Deviations and assumptions: the paper shows one run of each of five networks; the two that it reports as
failing are drawn too. Seeds that end more than ten points apart are drawn one by one. So are the runs of a
network of which a seed diverged (a parameter, a statistic or the loss became NaN or inf) or never left
chance; the legend counts these. A diverged run ends with an x, at its last accuracy and the step by which the
divergence was noticed. A run never left chance if its best evaluation does not exceed what 0.1% of guessing
runs exceed: p + z sqrt(p (1 - p) / n), with p the share of one class, n the number of validation images, z
corrected for the number of evaluations. The title gives the scale of the committed records, which is not
ImageNet.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bn.run.directory import RunDirectory
from experiments import collected, networks, style
from experiments.networks import Training

SWEEPS = {"figure2": ()}
DIAMOND = {"marker": "D", "ms": 5.5, "mec": "black", "mew": 0.8}
CROSS = {"marker": "x", "ms": 7, "mew": 2, "linestyle": "none"}


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv (one row per evaluation), final.csv (one row per ended run) and runs.json.

    These records are the archive of section 4.2: they keep runs whose directories are gone.
    """
    networks.write_trainings(folder, networks.gather(runs, folder, needed=(networks.BASE,)))


def draw(folder: Path, out: Path) -> None:
    """Write figure2 (png, svg, pdf)."""
    config = collected.read_json(folder / "runs.json")["config"]
    _draw([training for training, _ in networks.read_trainings(folder)], config, out / "figure2")


def _draw(found: Sequence[Training], config: Mapping[str, Any], stem: Path) -> None:
    fig, axis = style.figure(9.0, 4.2)
    level = networks.base_maximum(found)
    axis.axhline(level, color="0.5", lw=0.8, zorder=0)
    for network, group in networks.by_network(found).items():
        look = style.STYLE[network]
        failures = networks.failures(
            [training.end for training in group if training.diverged],
            sum(training.at_chance for training in group),
            len(group),
        )
        label = "\n".join((f"{style.LABEL[network]} (n = {len(group)})", *failures))
        ends = [100 * training.accuracy[-1] for training in group if len(training.accuracy)]
        if failures or max(ends) - min(ends) > networks.APART:
            _draw_one_by_one(axis, group, label, look)
        else:
            steps, values = group[0].steps, np.stack([training.accuracy for training in group])
            axis.plot(steps, values.mean(0), label=label, **look)
            axis.fill_between(steps, values.min(0), values.max(0), color=look["color"], alpha=0.2, lw=0)
        at = [networks.matched(training, level) for training in group]
        steps = [step for step in at if step is not None]
        if len(steps) == len(group):
            axis.plot(np.mean(steps), level, **DIAMOND, mfc=look["color"], zorder=5, clip_on=False)
    label = f"Inception's maximum, {100 * level:.1f}%,\nand the step that reaches it"
    axis.plot([], [], color="0.5", lw=0.8, **DIAMOND, mfc="white", label=label)
    if any(training.diverged for training in found):
        axis.plot([], [], **CROSS, color="0.3", label="diverged")
    axis.set(
        xlim=(0, networks.counted(config["steps"], config)), ylim=(0, None),
        xlabel=f"training step, in mini-batches of {networks.mini_batch(config)}",
        ylabel="validation accuracy", title=networks.setting(config),
    )  # fmt: skip
    style.thousands(axis.xaxis)
    an_epoch = 1 / networks.epochs(1, config)  # in steps
    top = axis.secondary_xaxis("top", functions=(lambda step: step / an_epoch, lambda n: n * an_epoch))
    top.set_xlabel("epoch")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=3.2, labelspacing=0.8)
    style.save(fig, stem)


def _draw_one_by_one(axis: Any, group: Sequence[Training], label: str, look: Mapping[str, Any]) -> None:
    for training in group:
        steps, values = training.steps, training.accuracy
        if training.diverged:
            last = values[-1] if len(values) else training.maximum
            steps, values = np.append(steps, training.end), np.append(values, last)
            axis.plot(training.end, last, **CROSS, color=look["color"], zorder=4, clip_on=False)
        axis.plot(steps, values, **look, label=label)
        label = "_"  # only the first appears in the legend
