"""Starts a temporary SLURM cluster on this machine, real except for its GPUs, to try and test sweeps.

    python scripts/slurm/throwaway_cluster.py COMMAND...    run COMMAND in it and exit with its code
    python scripts/slurm/throwaway_cluster.py               open a shell in it, until `exit`

It starts in 2 to 8 seconds, needs root, and leaves nothing behind. It has:

- node1 and node2, each with its own address and two GPUs represented by /dev/null: SLURM allocates them
  (--gres=gpu:1 sets CUDA_VISIBLE_DEVICES), but CUDA does not see them;
- the default partition `test`, whose jobs are preempted by those of `urgent`: SIGTERM, grace time, requeue;
- accounting (sacct), without which submitit does not notice that a job died;
- short delays: a requeued job waits 11 seconds instead of 120. Time limits are checked every 30 seconds, as
  in any SLURM, so the signal comes 30 to 60 seconds early and the end up to 30 seconds late.

It shares the machine's files, except for /etc/slurm, an in-memory folder of the cluster with configuration,
state, and the logs of the daemons (/etc/slurm/log).

All processes are in a PID namespace whose first process is this program; mounts, addresses and host names
have namespaces too. When the first process ends, Linux ends all others. It ends with COMMAND or with the
process started here, even by SIGKILL. No folder, socket or port of the machine is used, so that several
clusters can run at the same time.
"""

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this clone's code, whichever is installed

from bn.errors import UserError
from bn.signals import end_with_parent
from scripts.slurm.cluster_daemons import Cluster

PROGRAMS = {
    "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm", "munged": "slurm-wlm",
    "ip": "iproute2", "unshare": "util-linux",
}  # fmt: skip
ACCOUNTING = {
    "slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core", "mariadb-install-db": "mariadb-server-core",
}  # fmt: skip
INSTALL = (
    "apt-get install slurm-wlm && apt-get install --no-install-recommends"
    " slurmdbd mariadb-server-core mariadb-client-core iproute2"
)
NAMESPACES = 0x00020000 | 0x04000000 | 0x20000000 | 0x40000000  # mounts, host name, processes, network

WELCOME = """\
SLURM, until this shell exits: {nodes} nodes with {cpus} CPUs and {gpus} simulated GPUs each.
  sinfo, squeue, sacct    nodes, queued and running jobs, ended jobs
  srun -N {nodes} hostname      run a command on each node
  sbatch -p urgent ...    submit a job that preempts those of the default partition, `test`
  /etc/slurm/log          logs of the daemons
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default, meaning in (
        ("nodes", 2, "nodes"),
        ("cpus", 4, "CPUs per node; may exceed the machine's"),
        ("gpus", 2, "simulated GPUs per node"),
        ("memory", 4000, "MB per node; may exceed the machine's"),
        ("grace", 10, "grace time of preempted jobs, in seconds"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (%(default)s)")
    parser.add_argument("--no-accounting", dest="accounting", action="store_false", help="no sacct")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="command to run in it (default: a shell)")
    options = parser.parse_args()
    if lacking := missing(options.accounting):
        sys.exit(f"throwaway_cluster.py: {lacking}")
    first = fork_into_namespaces()
    if first == 0:
        sys.exit(run_in(options))
    sys.exit(wait_outside(first))


def missing(accounting: bool = True) -> str | None:
    """One line with what this machine lacks for a cluster and how to get it, or None."""
    if sys.platform != "linux":
        return f"SLURM needs Linux, this is {sys.platform}"
    programs = PROGRAMS | (ACCOUNTING if accounting else {})
    # Daemons are in sbin, which is on the PATH of root only.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    absent = [program for program in programs if not shutil.which(program, path=path)]
    if absent:
        return f"SLURM is not installed ({', '.join(absent)}): {INSTALL}"
    if subprocess.run(["unshare", "-nmup", "--fork", "true"], capture_output=True).returncode:
        return "a throwaway SLURM needs root that may make namespaces: sudo, or docker run --privileged"
    return None


def fork_into_namespaces() -> int:
    """Like os.fork(), but the child is the first process of new namespaces, and ends with its parent."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NAMESPACES):
        raise OSError(ctypes.get_errno(), "unshare")
    if first := os.fork():
        return first
    end_with_parent()
    return 0


def wait_outside(first: int) -> int:
    """Wait for the first process and return its exit code. SIGTERM and SIGHUP kill it, and so everything."""
    code = 0

    def end(number, _frame):
        nonlocal code
        code = 128 + number
        os.kill(first, signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGINT, lambda *_: None)  # a terminal also sends it to the processes inside
    _, status = os.waitpid(first, 0)  # returns when all processes of the namespace have ended
    return code or exit_code(status)


def exit_code(status: int) -> int:
    """Convert a wait status to a shell's exit code."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def run_in(options: argparse.Namespace) -> int:
    """Start the cluster and run the command in it; return its exit code."""
    try:
        command = options.command or [os.environ.get("SHELL", "/bin/sh")]
        if not shutil.which(command[0]):
            raise UserError(f"{command[0]}: no such command")
        Cluster(options).start()
    except UserError as error:
        print(f"throwaway_cluster.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if not options.command:
        print(WELCOME.format(**vars(options)), end="", file=sys.stderr, flush=True)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is handled by the command
    started = subprocess.Popen(command)
    while True:  # as the first process it must reap all orphans
        pid, status = os.wait()
        if pid == started.pid:
            return exit_code(status)


if __name__ == "__main__":
    main()
