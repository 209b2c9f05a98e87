"""What only changes how often something is written is the same run; what changes the records is named."""

import pytest
import yaml

from bn.errors import Interrupted

RUN = "experiment=mnist_bn"


def test_how_often_it_is_saved_is_no_other_run(trained, stop_after, cli, typed, undisturbed, bits, planned):
    with pytest.raises(Interrupted):
        trained(RUN, stop_signal=stop_after(30))
    code, out, err = cli(*typed(RUN, "checkpoint_every=7"))
    assert (code, err) == (0, "")
    assert out.startswith("mnist_bn: seed 0, from step 30 of 120 steps -> ")
    assert bits(planned(RUN)) == bits(undisturbed(RUN))


def test_what_changes_the_records_says_so(trained, cli, typed, planned):
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
        "train.py: log_every: changes the records, so this is another run than "
    )
    assert out.splitlines()[0].endswith(plain.name)
    code, out, err = cli(*typed(RUN, *default, *same, "log_every=50"))  # it is there now
    assert "changes the records" not in out


def test_a_directory_with_other_records_names_them(trained, planned):
    run = trained(RUN)
    there = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(there.replace("log_every: 20", "log_every: 10"))
    again = planned(RUN)
    assert again.differences(yaml.safe_load((run.path / "config.yaml").read_text())) == [
        "log_every (there 10, here 20, which changes the records)"
    ]
