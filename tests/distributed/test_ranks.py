"""Which process of how many, from the environment; and what cannot be shared out."""

import pytest

from bn.distributed.ranks import Ranks, check_shared, first_host, ranks_here
from bn.errors import UserError

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu-1",
    "MASTER_PORT": "29400",
}  # fmt: skip
JOB = {
    "SLURM_JOB_ID": "4711", "SLURM_NTASKS": "7", "SLURM_JOB_NODELIST": "gpu-[007-009]", "SLURM_NODEID": "0",
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
}  # fmt: skip
STEP = {
    **JOB, "SLURM_STEP_ID": "2", "SLURM_STEP_NUM_TASKS": "7", "SLURM_STEP_NODELIST": "gpu-[008-009]",
    "SLURM_STEP_TASKS_PER_NODE": "4,3", "SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_NODEID": "1",
}  # fmt: skip


def test_torchrun_says_it():
    assert ranks_here(TORCHRUN) == Ranks(5, 8, 1, 4, "gpu-1", 29400)
    assert ranks_here({**STEP, **TORCHRUN}) == ranks_here(
        TORCHRUN
    )  # within a step with one task for each node
    assert ranks_here({**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}) == Ranks()


def test_a_slurm_step_of_several_tasks_says_it():
    ranks = ranks_here(STEP)
    assert ranks == Ranks(6, 7, 2, 3, "gpu-008", ranks.port)
    assert 15_000 <= ranks.port < 30_000
    assert ranks_here({**STEP, "SLURM_STEP_ID": "3"}).port != ranks.port  # beside it, on the same nodes
    assert ranks_here({**STEP, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "2000"})[4:6] == ("10.0.0.1", 2000)
    assert ranks_here({**STEP, "SLURM_GPUS_PER_TASK": "1"}).own_gpu


@pytest.mark.parametrize("environment", [{}, JOB, {**STEP, "SLURM_STEP_NUM_TASKS": "1"}])
def test_otherwise_one_process(environment):
    """In a batch script or a shell of salloc, or as a member of a sweep, a step with one task."""
    assert ranks_here(environment) == Ranks()


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"), ("gpu-[007-009,12],login", "gpu-007"), ("a,b[1-2]", "a"),
        ("r[1-2]n[03,5]", "r1n03"), ("n[2,4-9].cluster.org,x", "n2.cluster.org"),
    ],
)  # fmt: skip
def test_the_first_host(hosts, first):
    assert first_host(hosts) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "x"}, "RANK=x: accepted: a whole number"),
        ({"LOCAL_RANK": None}, "LOCAL_RANK=: accepted: a whole number"),
        ({"MASTER_ADDR": None}, "MASTER_ADDR: missing beside RANK and WORLD_SIZE"),
    ],
)
def test_an_environment_that_contradicts_itself(change, message):
    environment = {name: value for name, value in {**TORCHRUN, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        ranks_here(environment)


IMAGES = ("experiment=bn_x5", "scale=smoke")


@pytest.mark.parametrize(
    ("overrides", "processes", "message"),
    [
        ((*IMAGES, "optim.batch=256"), 3, "optim.batch=256: accepted: a multiple of the 3 processes"),
        (
            (*IMAGES, "optim.batch=192"), 4,
            "optim.batch=192: 48 for each of 4 processes; accepted with model.norm=ghost: "
            "multiples of 4 x model.norm_group = 128",
        ),
        (
            (*IMAGES, "model.norm=batch", "optim.batch=4"), 4,
            "optim.batch=4: 1 for each of 4 processes; accepted with model.norm=batch: at least 8",
        ),
        (
            ("experiment=mnist_bn",), 2,
            r"2 processes: model=mlp is trained by one; a sweep \(-m\) runs many at once",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_out(planned, overrides, processes, message):
    with pytest.raises(UserError, match=message):
        check_shared(planned(*overrides).config, processes)


@pytest.mark.parametrize(
    ("overrides", "processes"),
    [
        ((*IMAGES, "optim.batch=256"), 8),
        ((*IMAGES, "experiment=inception", "optim.batch=4"), 4),
        (("experiment=mnist_bn",), 1),
    ],
)
def test_what_can(planned, overrides, processes):
    check_shared(planned(*overrides).config, processes)


def test_a_refusal_comes_from_one_rank_of_a_machine_before_anything_is_written(start_ranks, tmp_path):
    arguments = ["experiment=bn_x5", "scale=smoke", "optim.batch=32", f"output={tmp_path / 'runs'}"]
    codes, texts = start_ranks(2, arguments).wait()
    assert codes == [1, 0]
    assert texts[0][1].startswith("train.py: optim.batch=32: 16 for each of 2 processes; accepted with ")
    assert texts[1] == ("", "")
    assert not (tmp_path / "runs").exists()


def test_a_sweep_is_started_by_one_process(start_ranks, tmp_path):
    arguments = ["-m", "experiment=mnist_bn", "seed=0,1", f"output={tmp_path / 'runs'}"]
    codes, texts = start_ranks(2, arguments).wait()
    assert codes == [1, 1]
    assert texts[0][1] == (
        "train.py: 2 processes: a sweep (-m) is started by one; its members are trained by as many as its "
        "launcher starts\n"
    )
    assert not (tmp_path / "runs").exists()
