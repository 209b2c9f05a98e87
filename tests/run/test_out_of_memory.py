"""A run out of memory counts as killed: the same command resumes it, also in a sweep; no job is requeued."""

import errno
import os
from pydoc import locate

import numpy as np
import pytest
import torch

from bn.errors import UserError, is_out_of_memory, reason_of
from tests.conftest import slowly

RUN = "experiment=mnist_bn"
SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. Of the allocated memory 1.00 GiB is free"


def raised(error):
    def fail():
        raise error

    return fail


# The first three are errors of this machine.
ENDS = {
    "torch": lambda: torch.empty(1 << 50),
    "numpy": lambda: np.empty(1 << 50),
    "python": lambda: bytearray(1 << 60),
    "fork": raised(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))),
    "cuda": raised(torch.cuda.OutOfMemoryError(SAID)),
    "cuda kernel": raised(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be")),
    "cublas": raised(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")),
    "cudnn": raised(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
    "c++": raised(RuntimeError("std::bad_alloc")),
    "a worker": raised(MemoryError("Caught MemoryError in DataLoader worker.\nOriginal Traceback (most")),
}
OTHERS = (
    RuntimeError("size mismatch"), OSError(errno.ENOSPC, "No space left on device"), ValueError("memory"),
    UserError("out of range"), KeyError("out of memory"),
)  # fmt: skip
PLACES = {
    "draw": "bn.tasks.mnist.MnistTask.draw",
    "step": "bn.fused_mlp.FusedStep.__call__",
    "evaluate": "bn.tasks.mnist.MnistTask.evaluate",
    "observe": "bn.observe.percentiles.Percentiles.observe",
    "save": "bn.run.checkpoint.torch.save",
    "build": "bn.tasks.mnist.build_model",
}


@pytest.mark.parametrize("end", ENDS)
def test_errors_that_mean_out_of_memory(end):
    with pytest.raises((MemoryError, OSError, RuntimeError)) as error:
        ENDS[end]()
    assert is_out_of_memory(error.value)
    reason = reason_of(error.value)
    assert "out of memory" in reason
    assert reason.isprintable()
    assert len(reason) < 200


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_errors_that_do_not(error):
    assert not is_out_of_memory(error)


@pytest.fixture
def ends_in(monkeypatch):
    """Let the second call of a place raise; for the function that builds the network, the first."""

    def let(place, end):
        owner, _, name = PLACES[place].rpartition(".")
        original = getattr(locate(owner), name)
        calls = []

        def call(*args, **kwargs):
            calls.append(args)
            if len(calls) == (1 if place == "build" else 2):
                ENDS[end]()
            return original(*args, **kwargs)

        monkeypatch.setattr(PLACES[place], call)
        return calls

    return let


CASES = [(place, end) for i, place in enumerate(PLACES) for end in list(ENDS)[i % 3 :: 3]]
QUICK = CASES[::7]


@pytest.mark.parametrize(("place", "end"), [*QUICK, *slowly(*(case for case in CASES if case not in QUICK))])
def test_the_run_is_interrupted_and_the_same_command_resumes_it(
    cli, typed, planned, undisturbed, bits, ends_in, monkeypatch, place, end
):
    run = planned(RUN)
    with monkeypatch.context():
        calls = ends_in(place, end)
        code, _, err = cli(*typed(RUN))
        assert len(calls) in (1, 2)
        monkeypatch.undo()
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith(f"train.py: {run.name}: ")
    assert err.endswith(": the same command resumes it\n")
    assert (run.status["state"], run.status["reason"].count("out of memory")) == ("interrupted", 1)
    assert cli(*typed(RUN))[0] == 0
    assert bits(run) == bits(undisturbed(RUN))


@pytest.mark.slow
def test_a_sweep_resumes_it(cli, typed, planned, ends_in, monkeypatch):
    sweep = typed("-m", RUN, "seed=0,1", "hydra/launcher=basic")
    with monkeypatch.context():
        ends_in("draw", "python")
        assert cli(*sweep)[0] == 1
        monkeypatch.undo()
    assert [planned(RUN, f"seed={seed}").status["state"] for seed in (0, 1)] == ["interrupted", "done"]
    code, out, _ = cli(*sweep)
    assert code == 0
    assert out.startswith("train.py: sweep of 2 runs, 1 finished before\n")


def test_no_job_is_requeued_for_it(cli, typed, planned, ends_in, monkeypatch):
    """It would run out of memory again and again."""
    monkeypatch.setenv("SLURM_JOB_ID", "127")
    monkeypatch.setenv("BN_REQUEUE", "1")
    monkeypatch.setattr("bn.cluster.slurm.requeue", lambda job: pytest.fail("it was requeued"))
    ends_in("draw", "torch")
    assert cli(*typed(RUN))[0] == 1
    assert planned(RUN).status["state"] == "interrupted"


def test_a_checkpoint_is_not_called_damaged_for_it(trained, monkeypatch):
    """It is the last one, and valid."""
    run = trained(RUN)
    (run.path / "status.json").unlink()
    monkeypatch.setattr("torch.load", lambda *_, **__: ENDS["torch"]())
    with pytest.raises(UserError) as error:
        trained(RUN)
    assert is_out_of_memory(error.value)
