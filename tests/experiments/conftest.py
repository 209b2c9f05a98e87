"""Run directories with made-up metrics: as a run leaves them, without training one."""

import dataclasses
import functools
from pathlib import Path

import pytest

from bn.launch import planned_run
from bn.records import RunDirectory


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
    accuracy with Algorithm 2's statistics. Besides, `member`, `scale` and `batch` can be given.
    """

    def make(experiment, seed, accuracy, *, end=None, diverged=False, population=None, **which):
        end = max(accuracy, default=0) if end is None else end
        output = str(tmp_path / "runs")
        member, scale = which.get("member"), which.get("scale", "cifar10")
        config = config_of(experiment, member, scale, which.get("batch", 32))
        config = dataclasses.replace(config, seed=seed, steps=300, output=output)
        run = RunDirectory(Path(output) / experiment / f"member_{member}" / f"seed_{seed}", config)
        run.open()
        run.start(0, {"type": "cpu", "name": "made up", "threads": 1})
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
