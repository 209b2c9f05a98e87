"""Report running out of memory in one line."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from bn.config import Config
from bn.errors import OutOfMemory, is_out_of_memory, reason_of

P = ParamSpec("P")


def report_out_of_memory(
    work: Callable[Concatenate[Config, P], None],
) -> Callable[Concatenate[Config, P], None]:
    """Wrap `work`, so that running out of memory raises OutOfMemory and names the mini-batch size."""

    @functools.wraps(work)
    def wrapper(config: Config, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            work(config, *args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error) or isinstance(error, OutOfMemory):
                raise
            raise OutOfMemory(
                f"{reason_of(error)}; reduce optim.batch={config.optim.batch} or share it among more "
                "processes (torchrun)"
            ) from error

    return wrapper
