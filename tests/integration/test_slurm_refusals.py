"""Wrong use of `hydra/launcher=slurm`, and a cluster that is not there: one line, and nothing on disk."""

import pytest

SWEEP = ("-m", "experiment=mnist_bn", "hydra/launcher=slurm")


def refused(result):
    code, out, err = result
    assert code == 1
    assert err.count("\n") == 1
    return out, err.removeprefix("train.py: ").rstrip()


def test_without_a_sweep(cli, typed, tmp_path, snapshot):
    out, line = refused(cli(*typed(*SWEEP[1:])))
    assert (out, line) == ("", "hydra/launcher=slurm: needs a sweep, even for a single run: add -m")
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("hydra.launcher.partion=gpu", "hydra.launcher.partion: unknown key; accepted: "),
        ("hydra.launcher.changed=no", "hydra.launcher.changed=no: accepted: stop, run"),
        (
            "hydra.launcher.tasks_per_node=4",
            "hydra.launcher.tasks_per_node=4: accepted: 1; to train with several processes, use sbatch "
            "scripts/slurm/train.sbatch",
        ),
        ("hydra.launcher.nodes=2", "hydra.launcher.nodes=2: accepted: 1; "),
        ("hydra.sweeper.failed=retry", "hydra.sweeper.failed=retry: accepted: leave, again"),
    ],
)
def test_wrong_keys(cli, typed, tmp_path, snapshot, argument, said):
    out, line = refused(cli(*typed(*SWEEP, argument)))
    assert line.startswith(said)
    assert out == ""
    assert snapshot(tmp_path) == {}


def test_no_slurm_here(cli, typed, tmp_path, snapshot, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    out, line = refused(cli(*typed(*SWEEP)))
    assert out == "train.py: sweep of 1 run, 0 finished before\n"
    assert line == "hydra/launcher=slurm: squeue does not answer: is this a login node of a SLURM cluster?"
    assert snapshot(tmp_path) == {}


def test_without_the_extra(cli, typed, tmp_path, snapshot, monkeypatch):
    from hydra.plugins.launcher import Launcher

    from hydra_plugins import bn_slurm_launcher

    monkeypatch.setattr(bn_slurm_launcher, "Submitit", Launcher)
    _, line = refused(cli(*typed(*SWEEP)))
    assert line == 'hydra/launcher=slurm: needs submitit: pip install -e ".[cluster]"'
    assert snapshot(tmp_path) == {}
