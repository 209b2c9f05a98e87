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
import time
from collections.abc import Callable
from pathlib import Path

from bn.errors import UserError
from bn.signals import end_with_parent

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

FOLDER = Path("/etc/slurm")  # SLURM's default, created by its packages
CONTROLLER = "10.77.0.1"
WELCOME = """\
SLURM, until this shell exits: {nodes} nodes with {cpus} CPUs and {gpus} simulated GPUs each.
  sinfo, squeue, sacct    nodes, queued and running jobs, ended jobs
  srun -N {nodes} hostname      run a command on each node
  sbatch -p urgent ...    submit a job that preempts those of the default partition, `test`
  /etc/slurm/log          logs of the daemons
"""

SLURM_CONF = """\
ClusterName=throwaway
SlurmctldHost=controller({controller})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also the delay of a requeued job. It must exceed KillWait: a job restarted on a node that
# still has its old processes is held, and the node drained
AuthInfo=socket={folder}/munge/socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
{accounting}
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=1
KillWait=5
MinJobAge=86400
SlurmdTimeout=30
GresTypes=gpu
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime={grace}
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""
NODE = "NodeName={name} NodeAddr={address} CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}"
NODE_SCRIPT = """\
hostname {name}
# the veth interface is created from outside
until ip address add {address}/24 dev eth0 2> /dev/null; do sleep 0.01; done
ip link set lo up
ip link set eth0 up
exec slurmd -D -N {name}
"""
SLURM_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={controller}
AccountingStoragePass={folder}/munge/socket"""
SLURMDBD_CONF = """\
DbdHost=controller
DbdAddr={controller}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounting
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


class Cluster:
    """The daemons of the cluster. They end with this process, the first of its namespace."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.nodes = {f"node{n}": f"10.77.0.{10 + n}" for n in range(1, options.nodes + 1)}
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start all daemons and wait until all nodes are idle. UserError with the log of a failed daemon."""
        for name in list(os.environ):
            if name.startswith(("SLURM_", "SBATCH_", "SALLOC_", "SRUN_")):
                del os.environ[name]  # this may be a node of a real cluster
        os.environ["SLURM_CONF"] = str(FOLDER / "slurm.conf")
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        do("mount --make-rprivate /")
        do("mount -t proc proc /proc")
        do(f"mount -t tmpfs -o mode=755 throwaway {FOLDER}")
        for name in ("log", "munge", "state", "spool", "database"):
            (FOLDER / name).mkdir()
        self.connect()
        self.write_configuration()
        self.start_munge()
        if self.options.accounting:
            self.start_accounting()
        self.start_daemon("slurmctld", "slurmctld -D")
        for name, address in self.nodes.items():
            self.start_node(name, address)
        self.until(self.all_idle, "slurmctld")

    def connect(self) -> None:
        """Set up the controller's side of the network, and all host names."""
        hosts = {"localhost": "127.0.0.1", "controller": CONTROLLER, **self.nodes}
        (FOLDER / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        do(f"mount --bind {FOLDER}/hosts /etc/hosts")
        do("hostname controller")
        do("ip link set lo up")
        do("ip link add bridge type bridge")
        do(f"ip address add {CONTROLLER}/24 dev bridge")
        do("ip link set bridge up")

    def write_configuration(self) -> None:
        names = {"folder": FOLDER, "controller": CONTROLLER, **vars(self.options)}
        names["nodes"] = "\n".join(
            NODE.format(name=name, address=address, **vars(self.options))
            for name, address in self.nodes.items()
        )
        names["accounting"] = SLURM_ACCOUNTING.format(**names) if self.options.accounting else ""
        (FOLDER / "slurm.conf").write_text(SLURM_CONF.format(**names))
        gpus = range(self.options.gpus)
        for gpu in gpus:
            do(f"mknod {FOLDER}/gpu{gpu} c 1 3")  # same device as /dev/null
        (FOLDER / "gres.conf").write_text("".join(f"Name=gpu File={FOLDER}/gpu{gpu}\n" for gpu in gpus))
        (FOLDER / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**names))
        (FOLDER / "slurmdbd.conf").chmod(0o600)

    def start_munge(self) -> None:
        """Start the authentication daemon, with a key that no other cluster accepts."""
        folder = FOLDER / "munge"
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o400)
        self.start_daemon(
            "munged",
            f"munged --foreground --key-file={folder}/key --socket={folder}/socket --pid-file={folder}/pid"
            f" --seed-file={folder}/seed --log-file={FOLDER}/log/munged",
        )
        self.until((folder / "socket").exists, "munged")

    def start_accounting(self) -> None:
        folder = FOLDER / "database"
        database = f"--no-defaults --datadir={folder} --user=root"
        # Its temporary files are named by process ids, which may be equal in two clusters.
        do(
            f"env TMPDIR={folder} mariadb-install-db {database} "
            "--auth-root-authentication-method=normal --skip-test-db"
        )
        self.start_daemon(
            "mariadbd",
            f"mariadbd {database} --socket={folder}/socket --pid-file={folder}/pid --tmpdir={folder}"
            " --skip-networking --innodb-flush-log-at-trx-commit=0",
        )
        self.until((folder / "socket").exists, "mariadbd")
        self.start_daemon("slurmdbd", f"env MYSQL_UNIX_PORT={folder}/socket slurmdbd -D")
        self.until(lambda: answer("sacctmgr --noheader show cluster") is not None, "slurmdbd")

    def start_node(self, name: str, address: str) -> None:
        """Start a slurmd with its own host name and address, connected to the controller's bridge."""
        (FOLDER / "spool" / name).mkdir()
        (FOLDER / "log" / f"{name}.sh").write_text(NODE_SCRIPT.format(name=name, address=address))
        slurmd = self.start_daemon(name, f"unshare --net --uts sh -e {FOLDER}/log/{name}.sh")
        ours = os.readlink("/proc/self/ns/net")
        self.until(lambda: os.readlink(f"/proc/{slurmd.pid}/ns/net") != ours, name)
        do(f"ip link add {name} type veth peer name eth0 netns {slurmd.pid}")
        do(f"ip link set {name} master bridge up")

    def all_idle(self) -> bool:
        idle = answer("sinfo --noheader --Node --partition=test --states=idle")
        return idle is not None and len(idle.splitlines()) == len(self.nodes)

    def start_daemon(self, name: str, command: str) -> subprocess.Popen:
        with (FOLDER / "log" / name).open("a") as log:
            self.daemons[name] = subprocess.Popen(
                command.split(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # not stopped by Ctrl-C
            )  # fmt: skip
        return self.daemons[name]

    def until(self, condition: Callable[[], bool], name: str, timeout: float = 60) -> None:
        """Wait until the condition holds; UserError if any daemon has ended or the time is up."""
        end = time.monotonic() + timeout
        while not condition():
            dead = [other for other, process in self.daemons.items() if process.poll() is not None]
            if dead or time.monotonic() > end:
                name = dead[0] if dead else name
                log = (FOLDER / "log" / name).read_text(errors="replace").splitlines()[-10:]
                raise UserError(f"{name} did not start; its log ends with:\n" + "\n".join(log))
            time.sleep(0.02)


def do(command: str) -> None:
    """Run a command; UserError with its output if it fails."""
    done = subprocess.run(command.split(), capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{command}: {(done.stderr or done.stdout).strip()}")


def answer(command: str) -> str | None:
    """The output of a SLURM command; None if it fails or times out."""
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=2, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return done.stdout


if __name__ == "__main__":
    main()
