"""scripts/slurm/train.sbatch, with a fake srun that prints how it was started."""

import os
import subprocess
from itertools import chain, combinations

import pytest

from bn.files import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "slurm" / "train.sbatch"
MEMORY = ("SLURM_MEM_PER_CPU", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_GPU")
SETS = list(chain.from_iterable(combinations(MEMORY, count) for count in range(len(MEMORY) + 1)))


@pytest.mark.parametrize("names", SETS, ids="+".join)
def test_memory_settings_of_the_surrounding_job_are_not_inherited(tmp_path, names):
    """Inherited from salloc, for instance: srun refuses two different memory requests."""
    for name, text in (("srun", 'env; echo "started $@"'), ("scontrol", "echo node1; echo node2")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "20001", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2"}
    job |= {"SLURM_CPUS_PER_TASK": "4", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-eu", SCRIPT, "experiment=bn_x30", "seed=1"], capture_output=True, text=True, check=True,
        env={**job, **dict.fromkeys(names, "1024")},
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert done.stderr == ""
    assert not [line for line in said if line.startswith("SLURM_MEM_PER_")]
    assert "SRUN_CPUS_PER_TASK=4" in said
    assert said[-1].startswith("started --kill-on-bad-exit=0 ")
    assert said[-1].endswith(" train.py experiment=bn_x30 seed=1")
    assert "--rdzv-endpoint=node1:20001" in said[-1]
