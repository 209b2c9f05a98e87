"""Keys that only change how often something is saved keep the run; keys that change its records are named."""

import pytest
import yaml

from bn.errors import Interrupted

RUN = "experiment=mnist_bn"


def test_saving_more_often_is_the_same_run(trained, stop_after, cli, typed, undisturbed, bits, planned):
    with pytest.raises(Interrupted):
        trained(RUN, stop_signal=stop_after(30))
    code, out, err = cli(*typed(RUN, "checkpoint_every=7"))
    assert (code, err) == (0, "")
    assert out.startswith("mnist_bn: seed 0, from step 30 of 120 steps -> ")
    assert bits(planned(RUN)) == bits(undisturbed(RUN))


def test_keys_that_change_the_records_are_named(trained, cli, typed, planned):
    default = ("evaluate.at.early=[100,200,500,1000,1500,2000,3000,4000]", "evaluate.at.every=2500")
    same = (
        "probe.at.early=[0,500,1000,2500]",
        "probe.at.every=5000",
        "probe.examples=10000",
    )
    plain = trained(RUN, *default, *same, "log_every=100")
    code, out, err = cli(*typed(RUN, *default, *same, "log_every=50"))
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith(
        "train.py: log_every: changes the records, so this is a different run from "
    )
    assert out.splitlines()[0].endswith(plain.name)
    code, out, err = cli(*typed(RUN, *default, *same, "log_every=50"))  # it exists now
    assert "changes the records" not in out


def test_a_directory_with_other_records_names_them(trained, planned):
    run = trained(RUN)
    there = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(there.replace("log_every: 20", "log_every: 10"))
    again = planned(RUN)
    assert again.differences(yaml.safe_load((run.path / "config.yaml").read_text())) == [
        "log_every (there 10, here 20, which changes the records)"
    ]
