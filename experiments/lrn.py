"""Does local response normalization help, and is it needed with batch normalization (section 4.2.1)?

    python scripts/reproduce.py lrn     Inception with and without it, 3 seeds (configs/sweep/lrn.yaml)

The paper removes LRN from its networks with BN: other networks benefit from it, it says, and with BN it is
not necessary. The table tests both statements: Inception with LRN minus Inception without it, all trained on
one kind of device, and the same difference for BN-x5 (from results/ablation). Measured, with n:
results/lrn/table.md. Deviations and assumptions: those of experiments/ablation.py.

The first version compared runs without LRN, on a CPU, with Figure 2's runs, on a GPU. The runs with LRN on a
CPU were added later, as a control; the rule of claim 57 (experiments/verdicts/figures.py) did not change.
"""

from collections.abc import Sequence
from pathlib import Path

from bn.config import flatten, to_dict
from bn.errors import UserError
from bn.run.directory import RunDirectory
from experiments import ablation, collected, networks, style
from experiments.ablation import Effect

SWEEPS = {"lrn": ()}
WITHOUT = f"{networks.BASE} without lrn"
HOW = (
    "LRN has GoogLeNet's constants, with alpha in the units of the input. In a network with BN, activations "
    "have unit scale, where LRN is the identity to within 1e-3. So the row of BN-x5 shows the difference "
    "between two trainings of the same seed."
)


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv, final.csv and runs.json in the form of figure2.

    UserError if no run with LRN, or none without it, has ended.
    """
    gathered = networks.gather(runs, folder)
    named = [
        training._replace(network=networks.BASE if has_lrn(run) else WITHOUT)
        for run, training in zip(gathered.runs, gathered.trainings, strict=True)
    ]
    for network in (networks.BASE, WITHOUT):
        if not any(training.network == network for training in named):
            raise UserError(f"{network}: none of its runs has ended")
    networks.write_trainings(folder, gathered._replace(trainings=named))


def has_lrn(run: RunDirectory) -> bool:
    return bool(flatten(to_dict(run.config))["model.lrn"])


def effects(folder: Path) -> dict[str, Effect]:
    """The effect of LRN by network, on the same seeds."""
    chance = 1 / collected.read_json(folder / "runs.json")["config"]["data.classes"]
    groups, level = ablation.read_groups(folder.parent / "ablation")
    found = [networks.final(training, level) for training, _ in networks.read_trainings(folder)]
    base = [run for run in found if run.network == networks.BASE]
    inception = ablation.difference(base, [run for run in found if run.network == WITHOUT], chance)
    # The switch of results/ablation is "no LRN".
    no_lrn, lrn = groups[ablation.WHOLE, "none"], groups[ablation.WHOLE, "lrn"]
    return {networks.BASE: inception, ablation.WHOLE: ablation.difference(lrn, no_lrn, chance)}


def draw(folder: Path, out: Path) -> None:
    """Write table.md."""
    document = collected.read_json(folder / "runs.json")
    lines = [
        "| network | with LRN (%) | without LRN (%) | LRN's gain (points) | seeds |",
        "|---|---|---|---|--:|",
    ]
    for network, effect in effects(folder).items():
        pairs = (effect.with_it, effect.without)
        ends = [[100 * run.accuracy for run in group if run.accuracy is not None] for group in pairs]
        cells = [collected.summary(group, networks.APART) if group else "diverged" for group in ends]
        gain = collected.mean_text(effect.points, 2, "+")
        lines.append(f"| {style.LABEL[network]} | {' | '.join(cells)} | {gain} | {len(effect.points)} |")
    text = collected.document(
        lines,
        f"{networks.trained(document['config'])} The table has their validation accuracy (top-1, single "
        f"crop) at the end, with BN by Algorithm 2's statistics. {collected.means('the seeds')} The gain is "
        "computed seed by seed, and a run that diverged counts as chance in it.",
        HOW,
        collected.origin(document, "The numbers of Inception"),
    )
    (out / "table.md").write_text(text)
