"""The throwaway SLURM itself: what the tests of sweeps rely on is real, and nothing of it is left."""

import pytest

pytestmark = pytest.mark.slurm


def test_two_nodes_with_addresses_of_their_own(cluster):
    code, out, _ = cluster.run("srun", "--nodes=2", "sh", "-c", "echo $(hostname) $(hostname -I)")
    assert (code, sorted(out.splitlines())) == (0, ["node1 10.77.0.11", "node2 10.77.0.12"])


def test_a_killed_job_is_failed_in_the_accounts(cluster):
    plain, killed = cluster.submit("true"), cluster.submit("kill -KILL $$")

    def accounts():
        return {job["JobID"]: (job["State"], job["ExitCode"]) for job in cluster.sacct(f"-j{plain},{killed}")}

    cluster.until(lambda: accounts() == {plain: ("COMPLETED", "0:0"), killed: ("FAILED", "0:9")})
