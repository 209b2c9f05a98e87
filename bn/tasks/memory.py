"""Out of memory, in one line."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from bn.config import Config
from bn.errors import OutOfMemory, is_out_of_memory, reason_of

P = ParamSpec("P")


def names_memory(work: Callable[Concatenate[Config, P], None]) -> Callable[Concatenate[Config, P], None]:
    """`work` on a config, where running out of memory is an OutOfMemory that names the mini-batch."""

    @functools.wraps(work)
    def named(config: Config, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            work(config, *args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error) or isinstance(error, OutOfMemory):
                raise
            raise OutOfMemory(
                f"{reason_of(error)}; less than optim.batch={config.optim.batch}, or more processes "
                "(torchrun), which share it, need less"
            ) from error

    return named
