"""The first lines that a run prints: what is trained, on what, how, and where the records go."""

from bn.config import Config, MlpModel, Optim
from bn.models.counts import multiply_adds
from bn.run.directory import RunDirectory
from bn.tasks.task import Task


def first_lines(config: Config, run: RunDirectory, device: str, task: Task, first: int) -> str:
    """For a run that resumes after step `first`, 0 of a new one; `device` is its name."""
    start = f"from step {first:,} of" if first else "for"
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    counts = f"{parameters:,} parameters, {_rounded(multiply_adds(task.model))} multiply-adds an image"
    threads = f"{config.threads} thread{'s' * (config.threads > 1)}"
    weights = [f"  weights  at first those of {config.start}"] if config.start and not first else []
    return "\n".join((
        f"{config.experiment}: seed {config.seed}, {start} {_steps(config)} -> {run.name}",
        f"  network  {network(config)}",
        f"  size     {counts}",
        *weights,
        f"  data     {task.describe_data()}; mini-batches of {config.optim.batch}",
        f"  step     {config.optim.name} at {rate(config.optim)}; {task.describe()}",
        f"  device   {device} ({threads})",
    ))  # fmt: skip


def _steps(config: Config) -> str:
    """50,000 steps; with a factor also where they come from: 10 steps (steps=20 x 0.5)."""
    factor = config.steps_factor
    return f"{config.length:,} steps" + f" (steps={config.steps} x {factor:g})" * (factor != 1)


def network(config: Config) -> str:
    model = config.model
    if isinstance(model, MlpModel):
        shape = f"MLP 784-{'-'.join(map(str, (*model.hidden, 10)))}"
    else:
        shape = "Inception" + f", {model.width:g} x its filters" * (model.width != 1)
    norm = {"none": "no normalization", "batch": "batch normalization", "ghost": "batch normalization"}
    groups = f" in groups of {model.norm_group}" * (model.norm == "ghost")
    return f"{shape}, {model.nonlinearity}, {norm.get(model.norm, f'{model.norm} normalization')}{groups}"


def rate(optim: Optim) -> str:
    """The initial learning rate, and what of it comes from the size of the mini-batch."""
    text = f"rate {optim.initial_rate:g}"
    if optim.lr_batch not in (None, optim.batch):
        text += (
            f" = {optim.lr * optim.lr_factor:g} x {optim.batch}/{optim.lr_batch}, scaled with the mini-batch"
        )
    return text


def _rounded(count: int) -> str:
    for size, unit in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"
