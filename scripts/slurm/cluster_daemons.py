"""The daemons of the cluster that throwaway_cluster.py starts, in its namespaces."""

import argparse
import os
import re
import subprocess
import time
from collections.abc import Callable

from bn.errors import UserError
from scripts.slurm.cluster_files import CONTROLLER, FOLDER, write_files


class Cluster:
    """The daemons of the cluster. They end with this process, the first of its namespace."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.nodes = {f"node{n}": f"10.77.0.{10 + n}" for n in range(1, options.nodes + 1)}
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start all daemons and wait until all nodes are idle. UserError with a failed daemon's errors."""
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
        write_files(self.options, self.nodes)
        for gpu in range(self.options.gpus):
            do(f"mknod {FOLDER}/gpu{gpu} c 1 3")  # same device as /dev/null
        self.connect()
        self.start_munge()
        if self.options.accounting:
            self.start_accounting()
        self.start_daemon("slurmctld", "slurmctld -D")
        for name in self.nodes:
            self.start_node(name)
        self.until(self.all_idle, "slurmctld")

    def connect(self) -> None:
        """Set up the controller's side of the network, and all host names."""
        do(f"mount --bind {FOLDER}/hosts /etc/hosts")
        do("hostname controller")
        do("ip link set lo up")
        do("ip link add bridge type bridge")
        do(f"ip address add {CONTROLLER}/24 dev bridge")
        do("ip link set bridge up")

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

    def start_node(self, name: str) -> None:
        """Start a slurmd with its own host name and address, connected to the controller's bridge."""
        (FOLDER / "spool" / name).mkdir()
        slurmd = self.start_daemon(name, f"unshare --net --uts sh -e {FOLDER}/{name}.sh")
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
                log = (FOLDER / "log" / name).read_text(errors="replace")
                raise UserError(f"{name} did not start: {last_errors(log)}")
            time.sleep(0.02)


def last_errors(output: str) -> str:
    """One line with the last three errors in this output or, if it has none, its last three lines."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search("error|fatal", line, re.IGNORECASE)]
    return "; ".join((errors or lines)[-3:])


def do(command: str) -> None:
    """Run a command; UserError with its output if it fails."""
    done = subprocess.run(command.split(), capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{command}: {last_errors(done.stderr or done.stdout)}")


def answer(command: str) -> str | None:
    """The output of a SLURM command; None if it fails or times out."""
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=2, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return done.stdout
