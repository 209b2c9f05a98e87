"""A throwaway SLURM on this machine, to try sweeps on and for the tests: nothing of it stays.

    python scripts/slurm/throwaway_cluster.py python train.py -m sweep=figure1 hydra/launcher=slurm ...
    python scripts/slurm/throwaway_cluster.py                   a shell in which sbatch, squeue, ... work

Two nodes with network addresses of their own, stand-in GPUs (files that count as such), accounting, and two
partitions: `test`, and `urgent`, which preempts it (requeue, after a grace time). Everything is in namespaces
of its own (network, mounts, processes, host names), whose first process is this program: when that ends,
however it ends, the kernel ends the rest. Files are seen as they are; the cluster's own folder is removed.

Needs Linux, root, and Debian's packages:

    apt-get install -y slurm-wlm
    apt-get install -y --no-install-recommends slurmdbd mariadb-server-core mariadb-client-core iproute2
"""

import argparse
import contextlib
import ctypes
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "ip", "unshare")
PROGRAMS_OF_ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb")
INSTALL = (
    "apt-get install -y slurm-wlm && apt-get install -y --no-install-recommends "
    "slurmdbd mariadb-server-core mariadb-client-core iproute2"
)
INSIDE = "BN_THROWAWAY_CLUSTER"  # set once the namespaces are there
PREFIX = "throwaway-slurm-"
CONTROLLER = "10.77.0.1"  # in a network of its own, which reaches nothing
START_S = 60.0  # for all services together

SLURM_CONF = """\
ClusterName=throwaway
SlurmctldHost=controller({controller})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
{accounting}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
# At once, where a real cluster takes its time.
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=2
GresTypes=gpu
KillWait=5
MinJobAge=3600
SlurmctldTimeout=30
SlurmdTimeout=30
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={grace}
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={controller}
AccountingStoragePass={folder}/munge.socket"""
SLURMDBD_CONF = """\
DbdHost=controller
DbdAddr={controller}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
CommunicationParameters=NoInAddrAny
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument(
        "--cpus", type=int, default=4, help="of each node, whatever the machine has (%(default)s)"
    )
    parser.add_argument("--gpus", type=int, default=2, help="stand-ins, of each node (%(default)s)")
    parser.add_argument("--memory", type=int, default=8000, help="MB of each node (%(default)s)")
    parser.add_argument("--grace", type=int, default=10, help="seconds before preemption kills (%(default)s)")
    parser.add_argument("--no-accounting", action="store_true", help="no slurmdbd, as on some clusters")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="run in it; default: a shell")
    arguments = parser.parse_args()
    programs = (*PROGRAMS, *(() if arguments.no_accounting else PROGRAMS_OF_ACCOUNTING))
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        sys.exit(f"throwaway_cluster.py: {', '.join(missing)} not found: {INSTALL}")
    if os.geteuid() != 0:
        sys.exit("throwaway_cluster.py: needs root, to make namespaces")
    os.environ["PATH"] = path
    if INSIDE not in os.environ:
        remove_stale()
        enter_namespaces()
    with Cluster(arguments) as cluster:
        sys.exit(cluster.run(arguments.command or [os.environ.get("SHELL", "/bin/sh")]))


def remove_stale() -> None:
    """Folders of clusters that were killed outright: those that nobody has locked."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def enter_namespaces() -> None:
    """Start this program again as the first process of new namespaces, and end as it does."""
    command = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    process = subprocess.Popen(
        [*command, sys.executable, *sys.argv], env={**os.environ, INSIDE: "1"}, preexec_fn=end_with_parent
    )

    def stop(*_: object) -> None:  # unshare itself is deaf to it
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the command as well
    code = process.wait()
    sys.exit(code if code >= 0 else 128 - code)


def end_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Cluster:
    """In the namespaces: the services, from `with` to its end, and commands that run against them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.services: list[subprocess.Popen] = []
        self.deadline = time.monotonic() + START_S

    def __enter__(self) -> "Cluster":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        began = time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.folder.chmod(0o755)
        self.lock = (self.folder / "lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        print(
            f"throwaway_cluster.py: {self.arguments.nodes} nodes with {self.arguments.cpus} CPUs and "
            f"{self.arguments.gpus} stand-in GPUs each, partitions test and urgent, ready after "
            f"{time.monotonic() - began:.1f} s; logs: {self.folder}/log",
            file=sys.stderr,
        )
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for service in reversed(self.services):
            service.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)  # what still runs ends with this process

    def run(self, command: list[str]) -> int:
        """The command's exit code; Ctrl-C is for the command."""
        process = subprocess.Popen(command)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
        return code if code >= 0 else 128 - code

    def _start(self) -> None:
        for name in ("log", "state", "spool", "db"):
            (self.folder / name).mkdir()
        self._make_network()
        self._write_configuration()
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        socket_ = self.folder / "munge.socket"
        self._serve("munged", [
            "munged", "--foreground", f"--key-file={self.folder}/munge.key", f"--socket={socket_}",
            f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={self.folder}/munged.seed", "--force",
        ])  # fmt: skip
        self._until(socket_.exists, "munged")
        if not self.arguments.no_accounting:
            self._start_accounting()
        self._serve("slurmctld", ["slurmctld", "-D"])
        for node in range(1, self.arguments.nodes + 1):
            self._start_node(node)
        idle = ["sinfo", "--noheader", "--Node", "--partition=test", "--states=idle", "--format=%N"]
        self._until(lambda: len((self._said(idle) or "").split()) == self.arguments.nodes, "slurmctld")

    def _make_network(self) -> None:
        """A bridge, and names for the addresses on it."""
        socket.sethostname("controller")
        nodes = [f"{address(node)} node{node}" for node in range(1, self.arguments.nodes + 1)]
        hosts = self.folder / "hosts"
        hosts.write_text("\n".join(["127.0.0.1 localhost", f"{CONTROLLER} controller", *nodes]) + "\n")
        self._do("mount --make-rprivate /")
        self._do(f"mount --bind {hosts} /etc/hosts")
        self._do("ip link set lo up")
        self._do("ip link add bridge0 type bridge")
        self._do(f"ip address add {CONTROLLER}/24 dev bridge0")
        self._do("ip link set bridge0 up")

    def _write_configuration(self) -> None:
        a, names = self.arguments, {"folder": self.folder, "controller": CONTROLLER}
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        nodes = "\n".join(
            f"NodeName=node{i} NodeHostname=node{i} NodeAddr={address(i)} CPUs={a.cpus} "
            f"RealMemory={a.memory} Gres=gpu:{a.gpus} State=UNKNOWN"
            for i in range(1, a.nodes + 1)
        )
        none = "AccountingStorageType=accounting_storage/none"
        accounting = none if a.no_accounting else ACCOUNTING.format(**names)
        (self.folder / "slurm.conf").write_text(
            SLURM_CONF.format(**names, accounting=accounting, nodes=nodes, grace=a.grace)
        )
        (self.folder / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**names))
        (self.folder / "slurmdbd.conf").chmod(0o600)
        for gpu in range(a.gpus):
            os.mknod(self.folder / f"gpu{gpu}", 0o666 | 0o020000, os.makedev(1, 3))  # as /dev/null
        files = f"Name=gpu File={self.folder}/gpu[0-{a.gpus - 1}]\n" if a.gpus else ""
        (self.folder / "gres.conf").write_text(files)

    def _start_accounting(self) -> None:
        database, at = f"{self.folder}/db", f"{self.folder}/db.socket"
        self._do(
            f"mariadb-install-db --no-defaults --datadir={database} --user=root "
            "--auth-root-authentication-method=normal --skip-test-db"
        )
        self._serve("mariadbd", [
            "mariadbd", "--no-defaults", "--user=root", f"--datadir={database}", f"--socket={at}",
            "--skip-networking", f"--pid-file={self.folder}/mariadbd.pid", "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
        ])  # fmt: skip
        create = [
            "mariadb",
            "--no-defaults",
            "-uroot",
            f"--socket={at}",
            "-e",
            "create database slurm_acct_db",
        ]
        self._until(lambda: subprocess.run(create, capture_output=True).returncode == 0, "mariadbd")
        self._serve("slurmdbd", ["slurmdbd", "-D"], MYSQL_UNIX_PORT=at)
        self._until(lambda: self._said(["sacctmgr", "-nP", "show", "cluster"]) is not None, "slurmdbd")

    def _start_node(self, node: int) -> None:
        """slurmd in a network and with a host name of its own."""
        name, gate = f"node{node}", self.folder / f"gate{node}"
        (self.folder / "spool" / name).mkdir()
        os.mkfifo(gate)  # until it has its address
        script = f"hostname {name}; ip link set lo up; read -r go < {gate}; exec slurmd -D -N {name}"
        service = self._serve(f"slurmd.{name}", ["unshare", "--net", "--uts", "sh", "-c", script])
        own = os.readlink("/proc/self/ns/net")
        self._until(lambda: os.readlink(f"/proc/{service.pid}/ns/net") != own, name)
        self._do(f"ip link add to{node} type veth peer name eth0 netns {service.pid}")
        self._do(f"ip link set to{node} master bridge0 up")
        self._do(f"nsenter --target {service.pid} --net ip address add {address(node)}/24 dev eth0")
        self._do(f"nsenter --target {service.pid} --net ip link set eth0 up")
        gate.write_text("go\n")

    def _serve(self, name: str, command: list[str], **environment: str) -> subprocess.Popen:
        with (self.folder / "log" / f"{name}.out").open("wb") as out:
            service = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.services.append(service)
        return service

    def _do(self, command: str) -> None:
        done = subprocess.run(command.split(), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"throwaway_cluster.py: {command}: {' '.join((done.stderr or done.stdout).split())}")

    def _said(self, command: list[str]) -> str | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, text=True, timeout=5)
            if done.returncode == 0:
                return done.stdout
        return None

    def _until(self, condition: Callable[[], bool], name: str) -> None:
        """Wait for a service. Exits with the end of its log if it does not come."""
        while not condition():
            if time.monotonic() > self.deadline or any(s.poll() is not None for s in self.services):
                logs = sorted((self.folder / "log").glob(f"{name}*"))
                said = "".join(log.read_text(errors="replace")[-2000:] for log in logs)
                sys.exit(f"throwaway_cluster.py: {name} did not start\n{said}")
            time.sleep(0.05)


def address(node: int) -> str:
    return f"10.77.0.{10 + node}"


if __name__ == "__main__":
    main()
