"""Functions that the tests of parts run on each rank, in a process of its own."""

import contextlib
import functools
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bn.config import ImageData, config_from
from bn.data.images import Plan, open_loader
from bn.data.seeds import generator
from bn.distributed.ranks import ranks_from_env
from bn.distributed.team import join_team, mean_statistics
from bn.errors import UserError
from bn.evaluate.accuracy import image_metrics
from bn.models.build import build_model
from bn.norm import population_statistics
from bn.run.directory import NoRunDirectory
from bn.tasks import build_task
from bn.tasks.images import ImageTask
from bn.tasks.optim import sgd
from bn.tasks.steps import AutogradStep

CPU = torch.device("cpu")


@contextlib.contextmanager
def team_of(mapping):
    """The config in a mapping, and the team given by the environment (else a single process)."""
    torch.set_num_threads(1)
    config = config_from(mapping)
    with join_team(config, NoRunDirectory(Path("nowhere"), config), ranks_from_env(), lambda: None) as team:
        yield config, team


def tensors(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def trained_task(mapping, steps):
    """The task's tensors after these steps, then with mean statistics, then again without."""
    with team_of(mapping) as (config, team):
        task = build_task(config, CPU, 0, team)
        for n in range(1, steps + 1):
            task.step.set_lr(task.lr(n))
            task.step(*task.draw(n))
        own = tensors(task.model)
        with mean_statistics(task.model, team):
            mean = tensors(task.model)
        return own, mean, tensors(task.model)


def float64_steps(mapping, steps):
    """The same network and steps in float64."""
    with team_of(mapping) as (config, team):
        assert isinstance(config.data, ImageData)
        plan = Plan(steps, batch=config.optim.batch, seed=0, rank=team.rank, ranks=team.size)
        images = open_loader(config.data, plan, CPU)
        model = build_model(config).double()
        step = AutogradStep(team.data_parallel(model), sgd(model, 0.05, 0.9, 1e-3))
        for n in range(steps):
            batch = images.batch(n)
            step(batch.images.double(), batch.labels)
        return tensors(model)


def evaluated(mapping):
    """The task's evaluation of the untrained network with statistics of one mini-batch."""
    with team_of(mapping) as (config, team):
        task = build_task(config, CPU, 0, team)
        assert isinstance(task, ImageTask)
        x = torch.randn(32, 3, 28, 28, generator=generator(0, "x"))
        task.model.train()(x)
        return task.evaluate()


def classified(mapping, count):
    """Classify `count` points, divided among ranks, with a linear network."""
    with team_of(mapping) as (_, team):
        points = torch.randn(count, 8, generator=generator(0, "points"))
        labels = torch.randint(6, (count,), generator=generator(0, "labels"))
        model = nn.Linear(8, 6)
        nn.init.normal_(model.weight, generator=generator(0, "weight"))
        nn.init.zeros_(model.bias)
        share = np.array_split(np.arange(count), team.size)[team.rank]
        batches = [(points[chosen], labels[chosen]) for chosen in np.array_split(share, 2) if len(chosen)]
        return image_metrics(model, batches, team.sum)


def population(mapping, batches):
    """Algorithm 2 over the ranks' shares of `batches` mini-batches, in float64."""
    with team_of(mapping) as (config, team):
        model = build_model(config).double()
        size = config.optim.batch // team.size
        shares = [
            torch.randn(config.optim.batch, 3, 28, 28, generator=generator(i, "x"), dtype=torch.float64)
            [team.rank * size :][:size] for i in range(batches)
        ]  # fmt: skip
        population_statistics(model, shares, team.sum)
        return tensors(model)


def trouble(kind, rank, step):
    """Let rank `rank` raise, run out of memory or hang in step `step`."""
    if int(os.environ["RANK"]) != rank:
        return
    draw = ImageTask.draw

    @functools.wraps(draw)
    def troubled(self, n):
        if n == step and kind == "raise":
            raise UserError("a disk is broken")
        if n == step and kind == "allocate":
            torch.empty(1 << 50)
        if n == step:
            time.sleep(1000)
        return draw(self, n)

    ImageTask.draw = troubled
