"""Ranks read from the environment, and configs that do not fit the number of processes."""

import pytest

from bn.distributed.ranks import Ranks, check_processes, ranks_from_env
from bn.errors import UserError

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu-1",
    "MASTER_PORT": "29400",
}  # fmt: skip
JOB = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}


def test_from_torchrun():
    assert ranks_from_env(TORCHRUN) == Ranks(5, 8, 1, 4)
    assert ranks_from_env({**JOB, "SLURM_STEP_NUM_TASKS": "2", **TORCHRUN}) == ranks_from_env(TORCHRUN)
    alone = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    assert ranks_from_env({**TORCHRUN, **alone}) == Ranks()


@pytest.mark.parametrize(
    "environment", [{}, JOB, {**JOB, "SLURM_STEP_NUM_TASKS": "1"}, {"MASTER_ADDR": "a", "MASTER_PORT": "1"}]
)
def test_without_torchrun_one_process(environment):
    """In a batch script, a shell of salloc, or a member of a sweep: a job step with one task."""
    assert ranks_from_env(environment) == Ranks()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "x"}, "RANK=x: accepted: a whole number; torchrun sets it"),
        ({"RANK": None}, "RANK=: accepted: a whole number"),
        ({"WORLD_SIZE": None}, "WORLD_SIZE=: accepted: a whole number"),
        ({"LOCAL_RANK": None}, "LOCAL_RANK=: accepted: a whole number"),
        ({"LOCAL_WORLD_SIZE": ""}, "LOCAL_WORLD_SIZE=: accepted: a whole number"),
        ({"MASTER_PORT": None}, "MASTER_PORT=: accepted: a whole number"),
        ({"MASTER_ADDR": None}, "MASTER_ADDR=: accepted: the host where the ranks meet"),
        ({"RANK": "8"}, "RANK=8 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4: accepted: ranks below"),
        (
            {"LOCAL_RANK": "4"},
            "LOCAL_RANK=4 LOCAL_WORLD_SIZE=4: accepted: ranks below the number of processes",
        ),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 "),
        ({"LOCAL_WORLD_SIZE": "9"}, "LOCAL_WORLD_SIZE=9: accepted: "),
    ],
)
def test_inconsistent_variables(change, message):
    environment = {name: value for name, value in {**TORCHRUN, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        ranks_from_env(environment)


def test_several_tasks_of_srun_without_torchrun():
    with pytest.raises(
        UserError, match=r"^srun starts several tasks without torchrun: accepted: one `torchr"
    ):
        ranks_from_env({**JOB, "SLURM_STEP_NUM_TASKS": "8"})


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
def test_configs_that_do_not_fit(planned, overrides, processes, message):
    with pytest.raises(UserError, match=message):
        check_processes(planned(*overrides).config, processes)


@pytest.mark.parametrize(
    ("overrides", "processes"),
    [
        ((*IMAGES, "optim.batch=256"), 8),
        ((*IMAGES, "experiment=inception", "optim.batch=4"), 4),
        (("experiment=mnist_bn",), 1),
    ],
)
def test_configs_that_fit(planned, overrides, processes):
    check_processes(planned(*overrides).config, processes)


@pytest.mark.slow
def test_a_refusal_comes_from_one_rank_of_a_machine_before_anything_is_written(start_ranks, tmp_path):
    arguments = ["experiment=bn_x5", "scale=smoke", "optim.batch=32", f"output={tmp_path / 'runs'}"]
    codes, texts = start_ranks(2, arguments).wait()
    assert codes == [1, 0]
    assert texts[0][1].startswith("train.py: optim.batch=32: 16 for each of 2 processes; accepted with ")
    assert texts[1] == ("", "")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_sweep_is_started_by_one_process(start_ranks, tmp_path):
    arguments = ["-m", "experiment=mnist_bn", "seed=0,1", f"output={tmp_path / 'runs'}"]
    codes, texts = start_ranks(2, arguments).wait()
    assert codes == [1, 0]
    assert [err for _, err in texts] == [
        "train.py: 2 processes: a sweep (-m) is started by one process, and so is each of its members\n", ""
    ]  # fmt: skip
    assert not (tmp_path / "runs").exists()
