"""The learning rate of Inception and its decay, chosen on held-out training images.

    python scripts/reproduce.py base_rate     Inception alone at some learning rates and decays, one seed
                                              (configs/sweep/base_rate.yaml)

Figure 3 compares steps with those of Inception, so a base with too small a learning rate would flatter batch
normalization. The paper used GoogLeNet's learning rate, tuned on ImageNet; the small scales have none. So
Inception is trained on all but 5,000 of the training images over a grid of learning rates and decays, and one
setting is chosen by its accuracy on those 5,000. The networks with BN then multiply it by the paper's
factors, untuned. Measured numbers: results/base_rate/table.md.

Deviations and assumptions: the setting with the highest accuracy on the held-out images at the end of the
training is chosen. A run that diverged or was stopped early is listed and cannot be chosen. There is one
seed: an accuracy has a standard error of about 0.7 points from the 5,000 images, and more from the seed, so
neighbors of the chosen setting may be as good.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bn.run.directory import RunDirectory
from bn.tasks.optim import lr_schedule
from experiments import collected, networks

SWEEPS = {"base_rate": ()}
HEADER = ("lr", "decay_every", "seed", "state", "step", "rate_left", "accuracy")

Setting = tuple[float, int]  # learning rate, steps between decays


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write final.csv (one row per run, including interrupted ones) and runs.json.

    `rate_left` is the final learning rate as a share of the initial one.
    """
    runs = networks.ended(runs, interrupted=True)
    rows = []
    for run, training in zip(runs, networks.trainings(runs), strict=True):
        optim = run.config.optim
        left = lr_schedule(optim)(run.config.length) / optim.initial_rate
        accuracy = None if training.diverged else float(training.accuracy[-1])
        rows.append((
            optim.lr, optim.decay.every, training.seed, training.state, training.end, f"{left:.3g}", accuracy,
        ))  # fmt: skip
    collected.write_csv(folder / "final.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def draw(folder: Path, out: Path) -> None:
    """Write table.md."""
    document = collected.read_json(folder / "runs.json")
    rows = collected.read_csv(folder / "final.csv")
    (out / "table.md").write_text(_table(rows, document))


def chosen(accuracy: Mapping[Setting, float | None]) -> Setting | None:
    """The setting with the highest accuracy, at the lower learning rate in a tie; None if all diverged."""
    ended = {setting: value for setting, value in sorted(accuracy.items()) if value is not None}
    return max(ended, key=lambda setting: ended[setting]) if ended else None


def _table(rows: Sequence[Mapping[str, str]], document: Mapping[str, Any]) -> str:
    config = document["config"]
    accuracy: dict[Setting, float | None] = {}
    left, ends, stopped = {}, {}, {}
    for row in rows:
        setting = float(row["lr"]), int(row["decay_every"])
        accuracy[setting] = float(row["accuracy"]) if row["accuracy"] else None
        left[setting[1]], ends[setting] = float(row["rate_left"]), int(row["step"])
        if row["state"] == "interrupted":
            stopped[setting] = accuracy.pop(setting)
    best = chosen(accuracy)

    def cell(setting: Setting) -> str:
        if setting in stopped:
            return f"{100 * stopped[setting]:.2f} (stopped at step {ends[setting]:,})"
        if setting not in accuracy:
            return "-"
        value = accuracy[setting]
        if value is None:
            return f"diverged by step {ends[setting]:,}"
        return f"**{100 * value:.2f}**" if setting == best else f"{100 * value:.2f}"

    rates, decays = {rate for rate, _ in ends}, {decay for _, decay in ends}
    lines = [
        "| initial learning rate | "
        + " | ".join(
            f"x {config['optim.decay.factor']:g} every {decay} steps, down to {left[decay]:.2g} of it"
            for decay in sorted(decays, reverse=True)
        )
        + " |",
        "|--:|" + "--:|" * len(decays),
    ]
    for rate in sorted(rates):
        cells = [cell((rate, decay)) for decay in sorted(decays, reverse=True)]
        lines.append(f"| {rate:g} | {' | '.join(cells)} |")
    if best is None:
        found = "None can be chosen, because all diverged."
    else:
        edges = [
            name
            for name, value, tried in (("learning rates", best[0], rates), ("decays", best[1], decays))
            if value in (min(tried), max(tried))
        ]
        edge = f", at the edge of the {' and of the '.join(edges)} tried" if edges else ""
        found = (
            f"The setting with the highest accuracy is chosen (bold): learning rate {best[0]:g}, decay every "
            f"{best[1]} steps{edge}."
        )
    early = " A run that was stopped early is listed and cannot be chosen." if stopped else ""
    return collected.document(
        lines,
        f"{networks.trained(config, 'Inception trains')} The table has its accuracy (%) at the last "
        f"evaluation, with one seed, on {config['data.validation']:,} training images that are held out. "
        "The columns are the decays of the learning rate.",
        f"{found}{early} Its neighbors may be as good: an "
        f"accuracy has a standard error of about {_standard_error(accuracy, best, config):.1f} points from "
        "the images alone, and seeds differ more (Figure 3).",
        collected.origin(document),
    )


def _standard_error(
    accuracy: Mapping[Setting, float | None], best: Setting | None, config: Mapping[str, Any]
) -> float:
    """The standard error of the chosen accuracy (or of chance) on the held-out images, in points."""
    p = (accuracy[best] if best else None) or 1 / config["data.classes"]
    return 100 * (p * (1 - p) / networks.evaluated_images(config)) ** 0.5
