"""Run directories with synthetic metrics, made without training; helpers for tables and verdicts."""

import dataclasses
import functools
import json
from pathlib import Path

import pytest

from bn.cli import planned_run
from bn.config import Schedule
from bn.run.directory import RunDirectory
from experiments import claims, style
from tests.conftest import changed


@functools.cache
def config_of(experiment, member, scale, batch):
    members = () if member is None else (f"member={member}",)
    width = "0.25" if scale == "cifar10" else "0.05"
    sizes = (f"model.width={width}", f"optim.batch={batch}", "evaluate.population_batches=2")
    return planned_run((f"experiment={experiment}", f"scale={scale}", *members, *sizes)).config


@pytest.fixture
def ended_run(tmp_path):
    """`ended_run("bn_x5", 0, {100: 0.3, 200: 0.5})`: a run of CIFAR-10 with these validation accuracies.

    It ended at `end` (the last evaluation if not given), as done unless `diverged`, with `population` as its
    accuracy with Algorithm 2's statistics. Evaluations are every 100 steps of 300. Besides, `member`,
    `scale`, `batch`, `device` and `torch` can be given, and values of the config as `changes`.
    """

    def make(experiment, seed, accuracy, *, end=None, diverged=False, population=None, **which):
        end = max(accuracy, default=0) if end is None else end
        output = str(tmp_path / "runs")
        member, scale = which.get("member"), which.get("scale", "cifar10")
        config = config_of(experiment, member, scale, which.get("batch", 32))
        evaluate = dataclasses.replace(config.evaluate, at=Schedule((), 100))
        config = dataclasses.replace(
            config, seed=seed, steps=300, steps_factor=1.0, evaluate=evaluate, output=output
        )
        config = changed(config, which.get("changes", {}))
        name = "__".join((f"member_{member}", *(f"{k}-{v}" for k, v in which.get("changes", {}).items())))
        run = RunDirectory(Path(output) / experiment / name / f"seed_{seed}", config)
        run.open()
        run.start(0, {"type": which.get("device", "cpu"), "name": "made up", "threads": 1})
        if "torch" in which:
            env = json.loads((run.path / "env.json").read_text())
            (run.path / "env.json").write_text(json.dumps({**env, "torch": which["torch"]}))
        for step, value in accuracy.items():
            record = {"step": step, "wall_s": step / 10, "train/loss": 1.0, "validation/accuracy": value}
            if step == end and population is not None:
                record["validation/accuracy_population"] = population
            run.log({**record, "validation/accuracy_top5": 0.99})
        if diverged:
            run.set_status("diverged", end, f"train/loss is inf at step {end - 1}")
        else:
            run.set_status("done", end)
        run.close()
        return run

    return make


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, of which no file is written."""
    drawn = []
    monkeypatch.setattr(style, "save", lambda fig, stem: drawn.append(fig))
    return drawn


def cells_of(folder: Path, table: str = "table.md") -> dict[str, list[str]]:
    """The cells of a table by the first cell of each row."""
    found = {}
    for line in (folder / table).read_text().splitlines():
        if line.startswith("| "):
            name, *cells = [cell.strip() for cell in line.replace(r"\|", "").strip("|").split("|")]
            found[name if name not in found else f"{name} {cells[0]}"] = cells
    return found


def verdict(number: int, results: Path) -> str:
    (claim,) = [claim for claim in claims.read_claims() if claim["number"] == number]
    return claims.judge(claim, results).verdict
