"""Figure 4 (section 4.2.3): an ensemble of six networks based on BN-x30 beats a single network, and 144 crops
beat one crop.

    python scripts/reproduce.py figure4     6 members (configs/sweep/ensemble.yaml), the seeds of BN-x30
                                            (the runs of figure2), 4 evaluations

The paper, on ImageNet, top-1 and top-5 error: single crop 25.2%, 7.82%; 144 crops 21.99%, 5.82%; six
networks with 144 crops 20.1%, 4.9%. Ours, with n: results/figure4/table.md.

Deviations and assumptions: the paper's rows of one network are taken to be BN-x30 (25.2 = 100 - 74.8); the
crops are exactly GoogLeNet's; configs/experiment/ensemble.yaml assigns the changes to the six members.
Networks are evaluated at the end of their training with Algorithm 2's statistics, not at their best step. The
rows of one network are means over the seeds that have ended, or lists if they lie more than ten points apart;
there is one ensemble, of all six. GoogLeNet's left, center and right squares of a square image coincide, so
only 48 of its 144 crops differ. The table's header gives the scale.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bn.errors import UserError
from bn.evaluate.records import SHAPE, interval, read_record
from bn.files import REPOSITORY, write_atomically
from bn.run.checkpoint import list_checkpoints
from bn.run.directory import RunDirectory
from experiments import collected, networks

SWEEPS = {"ensemble": (), "figure2": ("experiment=bn_x30",)}
BATCH = 720  # crops in a forward pass: those of five images
EVALUATIONS = (("bn_x30", 1), ("bn_x30", 144), ("ensemble", 1), ("ensemble", 144))  # experiment, crops


class PaperRow(NamedTuple):
    model: str
    resolution: str
    crops: str
    models: str
    top1: str  # error, %
    top5: str


PAPER = (  # the paper's own rows, without GoogLeNet and Deep Image
    PaperRow("BN-Inception single crop", "224", "1", "1", "25.2", "7.82"),
    PaperRow("BN-Inception multicrop", "224", "144", "1", "21.99", "5.82"),
    PaperRow("BN-Inception ensemble", "224", "144", "6", "20.1", "4.9"),
)


def evaluations(runs: Sequence[RunDirectory]) -> list[list[str]]:
    """The arguments of each evaluate.py command. UserError if a run diverged, or a member has not ended."""
    return [evaluation(_networks(runs, experiment), crops) for experiment, crops in EVALUATIONS]


def evaluation(runs: Sequence[RunDirectory], crops: int) -> list[str]:
    """The arguments of the evaluate.py command for the networks of these runs together."""
    return [
        f"checkpoint=[{','.join(run.name for run in runs)}]", f"crops={crops}", "statistics=population",
        "precision=float32", f"batch={BATCH}", f"output={_evaluated(runs)}",
    ]  # fmt: skip


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write evaluations.json, the records of evaluate.py without their configs, and runs.json."""
    ended = networks.ended(runs)
    found = [
        {"experiment": experiment, **record_of(runs, experiment, crops)} for experiment, crops in EVALUATIONS
    ]
    for record in found:
        for key in ("precision", "torch"):
            if record[key] != found[0][key]:
                raise UserError(
                    f"{_evaluated(runs)}: {key} of the evaluations is {found[0][key]} and {record[key]}: "
                    "accepted: one of them"
                )
        for network in record["checkpoints"]:
            del network["config"]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "evaluations.json", json.dumps(found, indent=1) + "\n")
    collected.write_provenance(folder / "runs.json", ended)


def _networks(runs: Sequence[RunDirectory], experiment: str) -> list[RunDirectory]:
    """The runs to evaluate: the ended seeds of BN-x30, or all six members of the ensemble."""
    own = [run for run in runs if run.config.experiment == experiment]
    if experiment == "ensemble":
        collected.check_all_ended(own)
    found = collected.ended(own)
    for run in found:
        if run.status["state"] == "diverged":
            raise UserError(f"{run.name}: diverged: it has no network to evaluate")
    return found


def _evaluated(runs: Sequence[RunDirectory]) -> str:
    """The folder of evaluate.py's records, next to the runs."""
    return f"{runs[0].config.output}/evaluations"


def record_of(runs: Sequence[RunDirectory], experiment: str, crops: int) -> dict[str, Any]:
    """The newest record of these runs' last checkpoints, identified by the digest in their names."""
    wanted = {_last_checkpoint(run).name for run in _networks(runs, experiment)}
    folder = REPOSITORY / _evaluated(runs)
    records = [record for path in folder.glob("*.json") if (record := read_record(path))]
    found = [
        record
        for record in records
        if (record["crops"], record["statistics"]) == (crops, "population")
        and {Path(network["path"]).name for network in record["checkpoints"]} == wanted
    ]
    if not found:
        raise UserError(
            f"{folder}: no record of the {len(wanted)} networks of {experiment} with {crops} crops: "
            "the same command without --collect makes it"
        )
    return max(found, key=lambda record: record["time"])


def _last_checkpoint(run: RunDirectory) -> Path:
    found = list_checkpoints(run.checkpoints)
    if not found:
        raise UserError(f"{run.name}/checkpoints: empty: its network cannot be evaluated")
    return found[-1]


def draw(folder: Path, out: Path) -> None:
    """Write table.md, and notes.md about the networks."""
    document = collected.read_json(folder / "runs.json")
    found = collected.read_json(folder / "evaluations.json", [{"experiment": str, **SHAPE}])
    records = {(record["experiment"], record["crops"]): record for record in found}
    (out / "table.md").write_text(_table(records, document))
    notes = (
        f"{networks.trained(document['config'], 'Our networks train')} They are evaluated with Algorithm 2's "
        "statistics. The paper's ensemble has a top-5 error of 4.82% on ImageNet's test server."
    )
    (out / "notes.md").write_text(f"{notes}\n")


def _table(records: dict[tuple[str, int], dict[str, Any]], document: dict[str, Any]) -> str:
    config = document["config"]
    side = config["data.crop"]
    ours = {
        "BN-Inception single crop": _alone(records["bn_x30", 1]),
        "BN-Inception multicrop": _alone(records["bn_x30", 144]),
        "BN-Inception ensemble": _together(records["ensemble", 144]),
    }
    lines = [
        "| classifier | resolution | crops | models | the paper (ImageNet): top-1 error (%) "
        f"| the paper: top-5 error (%) | ours ({networks.SCALE[config['scale']]} at {side}): top-1 error (%) "
        "| ours: top-5 error (%) |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [f"| {' | '.join((*row, *ours.get(row.model, ('-', '-'))))} |" for row in PAPER]
    members = len(records["ensemble", 1]["checkpoints"])
    for name, crops, count, cells in (
        ("each of our six, single crop", 1, 1, _alone(records["ensemble", 1])),
        ("each of our six, multicrop", 144, 1, _alone(records["ensemble", 144])),
        ("our six together, single crop", 1, members, _together(records["ensemble", 1])),
    ):
        lines.append(f"| {name} | {side} | {crops} | {count} | - | - | {' | '.join(cells)} |")
    seeds, examples = len(records["bn_x30", 1]["checkpoints"]), records["ensemble", 1]["n"]
    return collected.document(
        lines,
        "Each of our numbers for single networks is the mean ± the half-width of its 95% confidence "
        f"interval, over {seeds} seed{'s' * (seeds > 1)} of BN-x30 or over the {members} ensemble members. "
        f"Networks are listed where they lie more than {networks.APART:g} points apart. The ensemble is one "
        f"sample, so its 95% interval is over the {examples:,} validation images. A top-1 error of 90% is "
        f"chance. {collected.origin(document)}",
    )


def _alone(record: dict[str, Any]) -> tuple[str, str]:
    """Top-1 and top-5 error of a record's single models: mean and interval, or a list if far apart."""

    def error(key: str) -> str:
        errors = [100 * (1 - network[key] / record["n"]) for network in record["checkpoints"]]
        return collected.summary(errors, networks.APART)

    return error("top1_correct"), error("top5_correct")


def _together(record: dict[str, Any]) -> tuple[str, str]:
    """Top-1 and top-5 error of the models' mean class probabilities, with the interval over the images."""

    def error(key: str) -> str:
        wrong, n = record["n"] - record[key], record["n"]
        low, high = interval(wrong, n)
        return f"{100 * wrong / n:.2f} ({100 * low:.2f} to {100 * high:.2f})"

    return error("top1_correct"), error("top5_correct")
