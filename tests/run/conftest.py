"""A run that was stopped, for tests of its checkpoints."""

import pytest

from bn.errors import Interrupted
from bn.run.checkpoint import list_checkpoints


@pytest.fixture
def stopped(trained, planned, stop_after):
    """A run stopped at step 87, with checkpoints of steps 80 and 87."""
    with pytest.raises(Interrupted):
        trained("experiment=mnist_bn", stop_signal=stop_after(87))
    run = planned("experiment=mnist_bn")
    assert [path.name[:13] for path in list_checkpoints(run.checkpoints)] == [
        "step_00000080",
        "step_00000087",
    ]
    return run


@pytest.fixture
def kept(snapshot):
    """What a refused start of a run must leave as it is."""

    def take(run):
        files = snapshot(run.path).items()
        return {name: file for name, file in files if name not in ("lock", "config.yaml")}

    return take
