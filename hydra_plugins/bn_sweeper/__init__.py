"""A Hydra sweeper that checks all members first, skips finished ones, and prints a table at the end."""

import contextlib
import time
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from bn import cli
from bn.compare.sweep import SweepMember, sweep_summary
from bn.compare.sweep_progress import show_sweep
from bn.errors import UserError
from bn.files import REPOSITORY
from bn.signals import stop_signal


class CheckedSweeper(BasicSweeper):
    def __init__(self, failed: str, **params: Any) -> None:
        super().__init__(**params)
        self.failed = failed

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        # Relative to the repository, like run directories, not to the current directory.
        config.hydra.sweep.dir = str(REPOSITORY / config.hydra.sweep.dir)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None
        members = cli.members(self.params, arguments)
        here = self.config.hydra.runtime.choices["hydra/launcher"] != "slurm"
        to_start, cli.outcomes[:] = cli.members_to_start(members, self.failed, here)
        all_members = [SweepMember(overrides, cli.planned_run(overrides)) for overrides in members]
        ended, results = list(cli.outcomes), []
        start = time.monotonic()
        if to_start:
            new = [SweepMember(overrides, cli.planned_run(overrides)) for overrides in to_start]
            with show_sweep(new, [state for state, _ in ended]) if here else contextlib.nullcontext():
                results = self._launch(to_start, len(ended))
            cli.outcomes[:] = [*ended, *(result.return_value for result in results)]
        if stop_signal() is None:
            duration_s = time.monotonic() - start if to_start else None
            print(*sweep_summary(all_members, duration_s), sep="\n", flush=True)
        return [results]

    def _launch(self, to_start: list[list[str]], ended: int) -> Any:
        """Run the members in `to_start` and return their results; `ended` others have ended before."""
        assert self.launcher is not None
        try:
            return self.launcher.launch(to_start, initial_job_idx=ended)
        except BrokenProcessPool as error:
            if stop_signal() is None:
                raise UserError("a process of the sweep was killed: the same command completes it") from error
            return []  # stopped too early for an orderly exit
        except OSError as error:  # Hydra's folder for the sweep
            if error.filename is None:
                raise
            raise UserError(f"{error.filename}: cannot be written ({error.strerror})") from error
