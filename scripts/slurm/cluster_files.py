"""The files that throwaway_cluster.py writes: host names, SLURM's configuration, the start of each node."""

import argparse
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path("/etc/slurm")  # SLURM's default, created by its packages
CONTROLLER = "10.77.0.1"
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


def write_files(options: argparse.Namespace, nodes: Mapping[str, str]) -> None:
    """Write all files into FOLDER. `nodes` are the addresses by name."""
    hosts = {"localhost": "127.0.0.1", "controller": CONTROLLER, **nodes}
    (FOLDER / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
    names = {"folder": FOLDER, "controller": CONTROLLER, **vars(options)}
    names["nodes"] = "\n".join(
        NODE.format(name=name, address=address, **vars(options)) for name, address in nodes.items()
    )
    names["accounting"] = SLURM_ACCOUNTING.format(**names) if options.accounting else ""
    (FOLDER / "slurm.conf").write_text(SLURM_CONF.format(**names))
    gpus = "".join(f"Name=gpu File={FOLDER}/gpu{gpu}\n" for gpu in range(options.gpus))
    (FOLDER / "gres.conf").write_text(gpus)
    (FOLDER / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**names))
    (FOLDER / "slurmdbd.conf").chmod(0o600)
    for name, address in nodes.items():
        (FOLDER / f"{name}.sh").write_text(NODE_SCRIPT.format(name=name, address=address))
