"""Out of memory on a GPU, in one line."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import torch

from bn.config import Config
from bn.errors import UserError

P = ParamSpec("P")


def names_memory(work: Callable[Concatenate[Config, P], None]) -> Callable[Concatenate[Config, P], None]:
    """`work` on a config, where running out of a GPU's memory is a UserError that names batch and memory."""

    @functools.wraps(work)
    def named(config: Config, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            work(config, *args, **kwargs)
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(
                f"optim.batch={config.optim.batch}: {first_sentences(error)}: "
                "accepted: a smaller mini-batch, or more processes (torchrun), which share it"
            ) from error

    return named


def first_sentences(error: torch.cuda.OutOfMemoryError) -> str:
    """What was asked for and what there is; torch goes on with advice about its allocator."""
    said = " ".join(str(error).split())
    return said.split(" Of the allocated memory")[0].rstrip(".")
