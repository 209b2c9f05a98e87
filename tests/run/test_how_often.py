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


def test_a_directory_with_other_records_names_them(trained, planned):
    run = trained(RUN)
    there = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(there.replace("log_every: 20", "log_every: 10"))
    again = planned(RUN)
    assert again.differences(yaml.safe_load((run.path / "config.yaml").read_text())) == [
        "log_every (there 10, here 20, which changes the records)"
    ]
