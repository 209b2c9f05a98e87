"""Fake run directories, as training writes them."""

import dataclasses
import functools
import json
import os
import time

import numpy as np
import yaml

from bn.config import to_dict
from tests.conftest import composed

ELSEWHERE = "process 7 on x\n7 elsewhere/pid:[1] 99\n"  # the content of a lock


def make_run(path, *, config="steps: 400\n", first=(), hours_ago=3.5, **contents):
    """Create a run directory with these `contents`: status, submitted, metrics, lock, env.

    Files in `first` are older than the others.
    """
    path.mkdir(parents=True, exist_ok=True)
    files = {"config.yaml": config, "metrics.jsonl": contents.get("metrics"), "lock": contents.get("lock")}
    files |= {f"{name}.json": contents.get(name) for name in ("status", "submitted", "env")}
    for second, file in enumerate(sorted(files, key=lambda file: file not in first)):
        content = files[file]
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (path / file).write_text(text)
            then = time.time() - hours_ago * 3600 + second
            os.utime(path / file, (then, then))
    return path


def stat(state, step, reason=None, **more):
    """The content of status.json."""
    return {"state": state, "step": step, "steps": 400, "reason": reason, "job": None, **more}


def line(step, **values):
    """A row of metrics.jsonl: `line(100, test_accuracy=0.9)`."""
    numbers = {"train/images_per_second": 1234.5, **{k.replace("_", "/", 1): v for k, v in values.items()}}
    return json.dumps({"step": step, "wall_s": 1.0, **numbers}) + "\n"


def curve(values, every=100, name="test/accuracy"):
    """A metrics.jsonl with these values, `every` steps and one second apart."""
    rows = ({"step": every * i, "wall_s": float(i), name: value} for i, value in enumerate(values, start=1))
    return "".join(json.dumps(row) + "\n" for row in rows)


@functools.cache
def config_text(experiment="mnist_bn", seed=0, **optim):
    """The config.yaml of this experiment and seed, with changes of `optim`."""
    config = composed((f"experiment={experiment}",)).config
    changed = dataclasses.replace(config.optim, **optim)
    return yaml.safe_dump(to_dict(dataclasses.replace(config, seed=seed, optim=changed)), sort_keys=False)


def x_of(line):
    """The x coordinates of a line: (N,)."""
    return np.asarray(line.get_xdata(), float)


def y_of(line):
    return np.asarray(line.get_ydata(), float)


def corners_of(band):
    """The corners of a band of `fill_between`: (N, 2)."""
    return np.asarray(band.get_paths()[0].vertices)
