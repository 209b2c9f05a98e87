"""The header that a run prints first: its network, data, step, device and run directory."""

from bn.config import Config, MlpModel, Optim
from bn.models.counts import multiply_adds
from bn.run.directory import RunDirectory
from bn.tasks.task import Task


def run_header(config: Config, run: RunDirectory, device: str, task: Task, first: int) -> str:
    """Return the header of a run that starts after step `first` (0 for a new run) on the named `device`."""
    start = f"from step {first:,} of" if first else "for"
    factor = f" (steps={config.steps} x {config.steps_factor:g})" if config.steps_factor != 1 else ""
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    counts = f"{parameters:,} parameters, {_rounded(multiply_adds(task.model))} multiply-adds per image"
    threads = f"{config.threads} thread{'s' * (config.threads > 1)}"
    weights = [f"  weights  initialized from {config.start}"] if config.start and not first else []
    return "\n".join((
        f"{config.experiment}: seed {config.seed}, {start} {config.length:,} steps{factor} -> {run.name}",
        f"  network  {network(config)}",
        f"  size     {counts}",
        *weights,
        f"  data     {task.describe_data()}; mini-batches of {config.optim.batch}",
        f"  step     {config.optim.name}, {learning_rate(config.optim)}; {task.describe()}",
        f"  device   {device} ({threads})",
    ))  # fmt: skip


def network(config: Config) -> str:
    model = config.model
    if isinstance(model, MlpModel):
        shape = f"MLP 784-{'-'.join(map(str, (*model.hidden, 10)))}"
    else:
        shape = "Inception" + f" of width {model.width:g}" * (model.width != 1)
    norm = {"none": "no normalization", "batch": "batch normalization", "ghost": "batch normalization"}
    groups = f" in groups of {model.norm_group}" * (model.norm == "ghost")
    return f"{shape}, {model.nonlinearity}, {norm.get(model.norm, f'{model.norm} normalization')}{groups}"


def learning_rate(optim: Optim) -> str:
    """Format the initial learning rate, with its scaling by the size of the mini-batch if there is one."""
    text = f"learning rate {optim.initial_rate:g}"
    if optim.lr_batch not in (None, optim.batch):
        scaled = f"{optim.lr * optim.lr_factor:g} x {optim.batch}/{optim.lr_batch}"
        text += f" = {scaled}, scaled with the mini-batch"
    return text


def _rounded(count: int) -> str:
    for size, unit in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"
