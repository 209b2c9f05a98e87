"""A throwaway SLURM on this machine, real but for its GPUs, to try sweeps on and to test them.

    python scripts/slurm/throwaway_cluster.py COMMAND...    runs COMMAND in it and exits with its code
    python scripts/slurm/throwaway_cluster.py               a shell in it, until `exit`

It starts in 2 to 8 seconds, needs root, and leaves nothing behind. What is in it:

- node1 and node2, each with an address of its own and two GPUs for which /dev/null stands in: SLURM hands them
  out (--gres=gpu:1 sets CUDA_VISIBLE_DEVICES), CUDA does not see them;
- the partition `test`, the default, whose jobs `urgent` preempts: SIGTERM, the grace time, then a requeue;
- accounting (sacct), without which submitit never learns that a job died;
- delays as short as SLURM has them: a requeued job waits 11 seconds, not 120. Time limits and the signal before
  them are looked at every 30 seconds, as everywhere: the signal comes 30 to 60 seconds early, the end up to 30 late.

Files outside /etc/slurm are the machine's own: the working directory, the repository, the virtual environment.
/etc/slurm is the cluster's: its configuration, logs and state are in memory, under /etc/slurm/{log,...}.

How it works: all processes are in a process namespace whose first process is this program, and all mounts,
addresses and host names in namespaces of their own. Linux ends them with that first process, and that one with
the command started here, however it dies, SIGKILL included. No folder, socket or port of the machine is used, so
several clusters run side by side.
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

FOLDER = Path("/etc/slurm")  # where SLURM's commands look without being told; of packages, so it is there
CONTROLLER = "10.77.0.1"
WELCOME = """\
SLURM, until this shell ends: {nodes} nodes with {cpus} CPUs and {gpus} GPUs (stand-ins) each.
  sinfo, squeue, sacct    what is there, what runs, what ran
  srun -N {nodes} hostname      a command on each node
  sbatch -p urgent ...    a job that preempts those of the default partition, `test`
  /etc/slurm/log          what the daemons say
"""

SLURM_CONF = """\
ClusterName=throwaway
SlurmctldHost=controller({controller})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits
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
ReturnToService=2
KillWait=5
MinJobAge=86400
SlurmdTimeout=30
GresTypes=gpu
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime={grace}
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""
NODE = "NodeName={name} NodeAddr={address} CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}"
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
        ("cpus", 4, "CPUs of a node; may be more than there are"),
        ("gpus", 2, "stand-in GPUs of a node"),
        ("memory", 4000, "MB of a node; may be more than there are"),
        ("grace", 10, "seconds that preempted jobs are given"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (%(default)s)")
    parser.add_argument("--no-accounting", dest="accounting", action="store_false", help="no sacct")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what runs in it (a shell)")
    options = parser.parse_args()
    if lacking := missing(options.accounting):
        sys.exit(f"throwaway_cluster.py: {lacking}")
    first = fork_into_namespaces()
    if first == 0:
        sys.exit(run_in(options))
    sys.exit(wait_outside(first))


def missing(accounting: bool = True) -> str | None:
    """What this machine lacks to start a cluster, and how to get it, in one line."""
    if sys.platform != "linux":
        return f"SLURM needs Linux, this is {sys.platform}"
    programs = PROGRAMS | (ACCOUNTING if accounting else {})
    # daemons are in sbin, which users other than root do not have on their PATH
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    absent = [program for program in programs if not shutil.which(program, path=path)]
    if absent:
        return f"SLURM is not installed ({', '.join(absent)}): {INSTALL}"
    if subprocess.run(["unshare", "-nmup", "--fork", "true"], capture_output=True).returncode:
        return "a throwaway SLURM needs root that may make namespaces: sudo, or docker run --privileged"
    return None


def fork_into_namespaces() -> int:
    """As os.fork(); the child is the first process of namespaces that end with it, and it with its parent."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NAMESPACES):
        raise OSError(ctypes.get_errno(), "unshare")
    if first := os.fork():
        return first
    end_with_parent()
    for command in (
        "mount --make-rprivate /",
        "mount -t proc proc /proc",
        f"mount -t tmpfs -o mode=755 throwaway {FOLDER}",
    ):
        subprocess.run(command.split(), check=True)
    return 0


def wait_outside(first: int) -> int:
    """The exit code of the first process; SIGTERM and SIGHUP end it, and thereby everything, at once."""
    code = 0

    def end(number, _frame):
        nonlocal code
        code = 128 + number
        os.kill(first, signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGINT, lambda *_: None)  # of a terminal, which sends it to those inside too
    _, status = os.waitpid(first, 0)  # Linux lets this return when all processes of the namespace are gone
    return code or os.waitstatus_to_exitcode(status)


def run_in(options: argparse.Namespace) -> int:
    """Start the cluster, run the command in it; its exit code, as a shell gives it."""
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
    signal.signal(signal.SIGINT, lambda *_: None)  # of a terminal: the command's to decide
    started = subprocess.Popen(command)
    while True:  # the first process inherits and has to bury whatever others leave
        pid, status = os.wait()
        if pid == started.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


class Cluster:
    """The daemons; they end with this process, the first of its namespace."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.nodes = {f"node{n}": f"10.77.0.{10 + n}" for n in range(1, options.nodes + 1)}
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Return when all nodes are idle. UserError with the last words of a daemon that does not start."""
        for name in list(os.environ):
            if name.startswith(("SLURM_", "SBATCH_", "SALLOC_", "SRUN_")):
                del os.environ[name]  # of a real cluster, whose node this may be
        os.environ["SLURM_CONF"] = str(FOLDER / "slurm.conf")
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        for name in ("log", "munge", "state", "spool", "database"):
            (FOLDER / name).mkdir()
        self.connect()
        self.write_configuration()
        self.start_munge()
        if self.options.accounting:
            self.start_accounting()
        self.start_daemon("slurmctld", "slurmctld", "-D")
        for number, (node, address) in enumerate(self.nodes.items(), start=1):
            self.start_node(number, node, address)
        self.until(self.all_idle, "slurmctld")

    def connect(self) -> None:
        """The controller's side of the network, and everybody's names."""
        hosts = {"localhost": "127.0.0.1", "controller": CONTROLLER, **self.nodes}
        (FOLDER / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        for command in (
            f"mount --bind {FOLDER}/hosts /etc/hosts",
            "hostname controller",
            "ip link set lo up",
            "ip link add bridge type bridge",
            f"ip address add {CONTROLLER}/24 dev bridge",
            "ip link set bridge up",
        ):
            self.do(command)

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
            self.do(f"mknod {FOLDER}/gpu{gpu} c 1 3")  # as /dev/null
        (FOLDER / "gres.conf").write_text("".join(f"Name=gpu File={FOLDER}/gpu{gpu}\n" for gpu in gpus))
        (FOLDER / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**names))
        (FOLDER / "slurmdbd.conf").chmod(0o600)

    def start_munge(self) -> None:
        """Everybody's credentials; with a key of its own, so that no other cluster takes them."""
        folder = FOLDER / "munge"
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o400)
        self.start_daemon(
            "munged", "munged", "--foreground", f"--key-file={folder}/key", f"--socket={folder}/socket",
            f"--pid-file={folder}/pid", f"--log-file={FOLDER}/log/munged", f"--seed-file={folder}/seed",
        )  # fmt: skip
        self.until((folder / "socket").exists, "munged")

    def start_accounting(self) -> None:
        folder = FOLDER / "database"
        common = ("--no-defaults", f"--datadir={folder}", "--user=root")
        self.do(
            *("mariadb-install-db", *common),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )
        socket = folder / "socket"
        self.start_daemon(
            "mariadbd", "mariadbd", *common, f"--socket={socket}", f"--tmpdir={folder}", "--skip-networking",
            f"--pid-file={folder}/pid", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        self.until(socket.exists, "mariadbd")
        self.start_daemon("slurmdbd", "env", f"MYSQL_UNIX_PORT={socket}", "slurmdbd", "-D")
        self.until(lambda: self.answer("sacctmgr", "--noheader", "show", "cluster") is not None, "slurmdbd")

    def start_node(self, number: int, name: str, address: str) -> None:
        """A slurmd under a host name and address of its own, on a cable to the controller's bridge."""
        (FOLDER / "spool" / name).mkdir()
        slurmd = self.start_daemon(
            name, "unshare", "--net", "--uts", "sh", "-ec",
            f"hostname {name}; echo plug in > {FOLDER}/spool/{name}/socket; until ip address add {address}/24"
            f" dev eth0 2> /dev/null; do sleep 0.01; done; ip link set lo up; ip link set eth0 up;"
            f" exec slurmd -D -N {name}",
        )  # fmt: skip
        self.until((FOLDER / "spool" / name / "socket").exists, name)
        self.do(f"ip link add cable{number} type veth peer name eth0 netns {slurmd.pid}")
        self.do(f"ip link set cable{number} master bridge up")

    def all_idle(self) -> bool:
        idle = self.answer("sinfo", "--noheader", "--Node", "--partition=test", "--states=idle")
        return idle is not None and len(idle.splitlines()) == len(self.nodes)

    def start_daemon(self, name: str, *command: str) -> subprocess.Popen:
        with (FOLDER / "log" / name).open("a") as log:
            self.daemons[name] = subprocess.Popen(  # a session of its own: no Ctrl-C from the terminal
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self.daemons[name]

    def until(self, condition: Callable[[], bool], name: str, timeout: float = 60) -> None:
        """Wait for what a daemon does; UserError if it has ended, another has, or the time is over."""
        end = time.monotonic() + timeout
        while not condition():
            dead = [other for other, process in self.daemons.items() if process.poll() is not None]
            if dead or time.monotonic() > end:
                name = dead[0] if dead else name
                said = (FOLDER / "log" / name).read_text(errors="replace").splitlines()[-10:]
                raise UserError(f"{name} did not start; it says:\n" + "\n".join(said))
            time.sleep(0.02)

    @staticmethod
    def answer(*command: str) -> str | None:
        """The output of a command of SLURM, None where it fails or nobody answers."""
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=2, check=True).stdout
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None

    @staticmethod
    def do(*command: str) -> None:
        """A command, in one string or several."""
        words = command if len(command) > 1 else command[0].split()
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")


if __name__ == "__main__":
    main()
