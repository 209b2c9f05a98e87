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
        f"| | learning rate | seeds | maximum (%) | at the end (%) | steps to {100 * level:.1f}% "
        "| learning rate | seeds | maximum (%) | at the end (%) |",
        "|---|--:|--:|---|---|---|--:|--:|---|---|",
    ]
    for network, group in networks.by_network([training for training, _ in here]).items():
        factor = next(
            entry["config"]["optim.lr_factor"] for training, entry in here if training.network == network
        )
        best = [training for training, _ in there if training.network == network]
        reached = [
            networks.final(training, level)._replace(matched=training.reached(level)) for training in group
        ]
        cells = (
            f"{config['optim.lr'] * factor:g}", len(group), *_accuracies(group), networks.steps_text(reached),
            f"{other['optim.lr'] * factor:g}", len(best), *_accuracies(best),
        )  # fmt: skip
        lines.append(f"| {style.LABEL[network]} | {' | '.join(map(str, cells))} |")
    note = (
        f"{networks.setting(config)}. Left: the base's learning rate is the paper's, {config['optim.lr']:g}. "
        f"Right: it is the best at this scale, {other['optim.lr']:g} (results/base_rate), as in Figures 2 "
        "and 3. Learning rates are initial ones. Validation accuracy (top-1, single crop): maximum over the "
        "evaluations, with moving averages; at the end, with BN by Algorithm 2's statistics; mean ± "
        f"half-width of the 95% confidence interval; seeds are listed where they lie more than "
        f"{networks.APART:g} points apart. Steps: to the maximum of Inception in Figure 2. Left: "
        f"{collected.origin({'runs': [entry for _, entry in here]})}"
    )
    (out / "table.md").write_text("\n".join(lines) + f"\n\n{note}\n")


def _accuracies(group: Sequence[Training]) -> tuple[str, str]:
    """Maximum and final accuracy; a run that diverged has no final accuracy."""
    maxima = [100 * training.maximum for training in group]
    ends = [100 * training.final for training in group if training.final is not None]
    return (
        collected.summary(maxima, networks.APART) if maxima else "-",
        collected.summary(ends, networks.APART) if ends else "-",
    )
