"""Why does BN-x30 fail at scale=cifar10? The networks at the paper's own base learning rate.

    python scripts/reproduce.py paper_rate     4 networks, some seeds (configs/sweep/paper_rate.yaml)

In the paper BN-x30 reaches the highest accuracy of all single networks (74.8%). At scale=cifar10 it falls
behind BN-x5, and a seed may never leave chance (results/figure3). Here the base's best learning rate is 0.016
instead of 0.0015, so 30 times that is 0.48 instead of 0.045. If that is the reason, BN-x30 trains well at the
paper's 0.045. Measured, with n: results/paper_rate/table.md. This cannot show that a factor of 30 serves BN
at this scale: 0.045 is less than three times the base's best learning rate.

Deviations and assumptions: those of experiments/figure3.py. The runs may come from another kind of device
than those of Figure 2; the compared numbers are far apart. Steps are counted to the level of Figure 2, the
maximum of Inception at its best learning rate.
"""

from collections.abc import Sequence
from pathlib import Path

from bn.run.directory import RunDirectory
from experiments import collected, networks, style
from experiments.networks import Training

SWEEPS = {"paper_rate": ()}


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv, final.csv and runs.json, as Figure 2 has them."""
    networks.write_trainings(folder, networks.gather(runs, folder))


def draw(folder: Path, out: Path) -> None:
    """Write table.md."""
    here, there = networks.read_trainings(folder), networks.read_trainings(folder.parent / "figure2")
    level = networks.base_maximum([training for training, _ in there])
    config = collected.read_json(folder / "runs.json")["config"]
    other = collected.read_json(folder.parent / "figure2" / "runs.json")["config"]
    lines = [
        "| network | the base's learning rate | the network's learning rate | seeds | maximum (%) | at the "
        f"end (%) | steps to {100 * level:.1f}% |",
        "|---|---|--:|--:|---|---|---|",
    ]
    for network, group in networks.by_network([training for training, _ in here]).items():
        factor = next(
            entry["config"]["optim.lr_factor"] for training, entry in here if training.network == network
        )
        best = [training for training, _ in there if training.network == network]
        for base, of_base, runs in (("the paper's", config, group), ("the best here", other, best)):
            reached = [networks.final(run, level)._replace(matched=run.reached(level)) for run in runs]
            rate = of_base["optim.lr"]
            cells = (
                f"{rate:g}, {base}", f"{rate * factor:g}", len(runs), *_accuracies(runs),
                networks.steps_text(reached) if reached else "-",
            )  # fmt: skip
            lines.append(f"| {style.LABEL[network]} | {' | '.join(map(str, cells))} |")
    text = collected.document(
        lines,
        f"{networks.trained(config)} Learning rates are initial ones. The rows with {other['optim.lr']:g}, "
        "the base's best learning rate at this scale, are the runs of Figures 2 and 3.",
        "Accuracy is top-1 on the validation images, on a single crop. The maximum is over the evaluations, "
        "which use moving averages; at the end, networks with BN use Algorithm 2's statistics. Steps are "
        f"those to the maximum of Inception in Figure 2. {collected.means('the seeds')} Seeds are listed "
        f"where they lie more than {networks.APART:g} points apart.",
        collected.origin(
            {"runs": [entry for _, entry in here]}, f"The numbers at the paper's {config['optim.lr']:g}"
        ),
    )
    (out / "table.md").write_text(text)


def _accuracies(group: Sequence[Training]) -> tuple[str, str]:
    """Maximum and final accuracy; a run that diverged has no final accuracy."""
    maxima = [100 * training.maximum for training in group]
    ends = [100 * training.final for training in group if training.final is not None]
    return (
        collected.summary(maxima, networks.APART) if maxima else "-",
        collected.summary(ends, networks.APART) if ends else "-",
    )
