"""Hydra's sweeper: members are checked before the first starts, finished ones dropped; a table comes last."""

import contextlib
import time
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from bn import cli
from bn.errors import UserError
from bn.run.directory import REPOSITORY
from bn.run.signals import stop_signal
from bn.run.sweep import SweepMember, sweep_summary
from bn.run.sweep_progress import show_sweep


class CheckedSweeper(BasicSweeper):
    def __init__(self, failed: str, **params: Any) -> None:
        super().__init__(**params)
        self.failed = failed

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        # Relative to the repository, as the runs themselves, and not to the current directory.
        config.hydra.sweep.dir = str(REPOSITORY / config.hydra.sweep.dir)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None
        members = cli.members(self.params, arguments)
        here = self.config.hydra.runtime.choices["hydra/launcher"] != "slurm"
        to_start, cli.outcomes[:] = cli.members_to_start(members, self.failed, here)
        all_members = [SweepMember(overrides, cli.planned_run(overrides)) for overrides in members]
        over, results = list(cli.outcomes), []
        began = time.monotonic()
        if to_start:
            new = [SweepMember(overrides, cli.planned_run(overrides)) for overrides in to_start]
            with show_sweep(new, [state for state, _ in over]) if here else contextlib.nullcontext():
                results = self._launched(to_start, len(over))
            cli.outcomes[:] = [*over, *(result.return_value for result in results)]
        if stop_signal() is None:
            took_s = time.monotonic() - began if to_start else None
            print(*sweep_summary(all_members, took_s), sep="\n", flush=True)
        return [results]

    def _launched(self, to_start: list[list[str]], before: int) -> Any:
        """What becomes of the members that are started; `before` are over already."""
        assert self.launcher is not None
        try:
            return self.launcher.launch(to_start, initial_job_idx=before)
        except BrokenProcessPool as error:
            if stop_signal() is None:
                raise UserError("a process of the sweep was killed: the same command completes it") from error
            return []  # told to stop so early that it could not leave in order
        except OSError as error:  # the folder that Hydra wants for a sweep
            if error.filename is None:
                raise
            raise UserError(f"{error.filename}: cannot be written ({error.strerror})") from error
