"""Time limits: a checkpoint, back into the queue, and on from there to the same bits."""

import re
import signal

from bn.run.state import state_of
from tests.integration.slurm.conftest import starts

STEPS = ("steps=8000", "checkpoint_every=500", "evaluate.at.every=2000", "log_every=200")
ONE_MINUTE = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=55")


def test_a_time_limit(cluster, ended, typed, planned, undisturbed, bits, until, in_the_middle):
    """It is reached as often as allowed; then the member stays interrupted; the same command resumes it."""
    sweep = typed("experiment=mnist_bn", *STEPS)
    run = planned("experiment=mnist_bn", *STEPS)
    command = cluster.train(*sweep, *ONE_MINUTE, "hydra.launcher.max_num_timeout=1")
    for start in (1, 2):  # stopped, so that it does not end before SLURM's signal, which wakes it
        until(lambda: in_the_middle(run) and len(starts(run)) == start, 150)  # noqa: B023
        cluster.kill(run.status["pid"], signal.SIGSTOP)
    code, _, err = ended(command)
    said = next((run.path.parents[2] / ".sweeps" / "slurm").glob("*_0_log.out")).read_text()
    assert code == 1
    assert "SIGUSR2: requeued as job " in said
    assert "has reached its time limit 2 times (hydra.launcher.max_num_timeout=1)" in said
    assert re.search(r"SIGUSR2.*: the same command resumes it", err)
    assert state_of(run.path).state == "interrupted"
    assert "has reached its time limit 2 times" in run.status["reason"]
    at = starts(run)
    assert 0 == at[0] < at[1]
    job = run.status["job"]
    code, _, err = ended(cluster.train(*sweep))
    assert (code, err) == (0, "")
    assert run.status["job"] != job
    assert bits(run) == bits(undisturbed("experiment=mnist_bn", *STEPS))
    assert starts(run)[:2] == at
    assert starts(run)[2] > at[1]
