"""A Hydra launcher for SLURM that submits with submitit and follows members in their run directories.

submitit submits the members as one job array. Two of its parts are replaced: waiting, since it needs SLURM's
accounting, which may be absent, and reports failures only when all jobs have ended; and requeueing
(bn/cluster/requeue.py), since it interrupts a program at any point.
"""

import contextlib
import io
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bn import cli
from bn.cluster.slurm import queue
from bn.errors import UserError
from bn.files import REPOSITORY
from bn.run.code_state import code_state
from bn.run.commands import listing
from bn.run.directory import RunDirectory
from bn.run.submission import record_job, record_submission, submission, withdraw_submission

if TYPE_CHECKING:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Submitit
else:
    try:
        from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Submitit
    except ImportError:  # the extra is not installed; Hydra imports all plugins
        from hydra.plugins.launcher import Launcher as Submitit

# Keys of configs/hydra/launcher/slurm.yaml that are not options of sbatch.
OWN = ("submitit_folder", "max_num_timeout", "changed")
# Parameters of all submitit executors; submitit prefixes those of SLURM's with slurm_.
SHARED = ("name", "nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min")


class SlurmLauncher(Submitit):
    def __init__(self, **params: Any) -> None:
        if not hasattr(Submitit, "checkpoint"):
            raise UserError('hydra/launcher=slurm: needs submitit: pip install -e ".[cluster]"')
        if params["changed"] not in ("stop", "run"):
            raise UserError(f"hydra.launcher.changed={params['changed']}: accepted: stop, run")
        for key in ("nodes", "tasks_per_node"):
            if params[key] != 1:
                raise UserError(
                    f"hydra.launcher.{key}={params[key]}: accepted: 1; to train with several processes, use "
                    "sbatch scripts/slurm/train.sbatch"
                )
        super().__init__(**params)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Submit the members that are not queued yet, and wait until all have ended."""
        from hydra.core.utils import JobReturn, JobStatus

        members = [(list(overrides), cli.planned_run(overrides)) for overrides in job_overrides]
        waiting = queue()
        if waiting is None:
            raise UserError(
                "hydra/launcher=slurm: squeue does not answer: is this a login node of a SLURM cluster?"
            )
        queued = [run for _, run in members if submission(run).get("job") in waiting]
        new = [(overrides, run) for overrides, run in members if run not in queued]
        if queued:
            print(f"train.py: {len(queued)} of them are already in the queue", flush=True)
        if new:
            self._submit(new)
        from bn.cluster.jobs import Member, wait_for_jobs  # Hydra imports this module for --help too

        outcomes = wait_for_jobs(
            [Member(run, submission(run)["job"]) for _, run in members],
            job_overrides,
            [state for state, _ in cli.outcomes],
        )
        results = [JobReturn(status=JobStatus.COMPLETED) for _ in outcomes]
        for result, outcome in zip(results, outcomes, strict=True):
            result.return_value = outcome
        return results

    def _submit(self, members: Sequence[tuple[list[str], RunDirectory]]) -> None:
        from hydra.core.singleton import Singleton
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError

        code = code_state()
        for _, run in members:
            record_submission(run, code)
        setup = [
            # Jobs use this code, wherever the sweep was started and whatever is installed.
            f"export PYTHONPATH={shlex.quote(str(REPOSITORY))}:$PYTHONPATH",
            # srun no longer inherits it from the job, and would bind everything to one core.
            '[ -z "$SLURM_CPUS_PER_TASK" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK',
            *self.params["setup"],
        ]
        # Some clusters requeue only jobs that request it.
        others = {"requeue": True, **self.params["additional_parameters"]}
        chosen = {**self.params, "setup": setup, "additional_parameters": others}
        chosen = {key: value for key, value in chosen.items() if key not in OWN}
        folder = Path(self.params["submitit_folder"])  # shared by all jobs: SLURM creates no folders for logs
        columns = [
            [overrides for overrides, _ in members],
            ["hydra.sweep.dir"] * len(members),
            list(range(len(members))),
            [run.name for _, run in members],
            [Singleton.get_state()] * len(members),
        ]
        try:
            executor = AutoExecutor(folder, cluster="slurm")
            executor.update_parameters(
                **{key if key in SHARED else f"slurm_{key}": value for key, value in chosen.items()}
            )
            with contextlib.redirect_stderr(io.StringIO()), _without_inherited_memory():
                jobs = executor.map_array(self, *columns)
        except (FailedJobError, subprocess.CalledProcessError, OSError, RuntimeError, ValueError) as error:
            for _, run in members:
                withdraw_submission(run)
            raise UserError(f"hydra/launcher=slurm: {_message_of(error)}") from error
        for (_, run), job in zip(members, jobs, strict=True):
            record_job(run, job.job_id, job.paths.stdout)
        array = jobs[0].job_id.partition("_")[0]
        shown = listing(members[0][1].config.output, "--watch")
        print(
            f"train.py: {len(jobs)} submitted as job {array}; `{shown}` shows them; logs: {folder}/{array}*",
            flush=True,
        )


@contextlib.contextmanager
def _without_inherited_memory() -> Iterator[None]:
    """Hide the memory variables of a surrounding job, such as salloc's: srun rejects conflicting requests."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith("SLURM_MEM_PER_")}
    for name in inherited:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inherited)


def _message_of(error: Exception) -> str:
    """The first error line of sbatch, which submitit puts into the exception."""
    lines = str(error).splitlines()
    errors = [line.removeprefix("sbatch: error: ") for line in lines if line.startswith("sbatch: error: ")]
    return (errors or lines or [type(error).__name__])[0]
