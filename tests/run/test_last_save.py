"""If the last save of a run fails, the same command completes it."""

import pytest

from bn import train as loop
from bn.observe.percentiles import Percentiles


@pytest.mark.parametrize("what", ["percentiles", "checkpoint"])
def test_a_last_save_that_fails_is_made_again(trained, undisturbed, bits, monkeypatch, what) -> None:
    """At the last step writing one of the two files fails; in the end no record may be missing."""
    saves = iter(range(1, 100))
    real_save, real_checkpoint = Percentiles.save, loop.save_checkpoint

    def save(self, path) -> None:
        if next(saves) == 3:  # of those at 40, 80 and 120
            raise OSError(28, "No space left on device")
        real_save(self, path)

    def save_checkpoint(folder, step, state):
        if step == 120:
            raise OSError(28, "No space left on device")
        return real_checkpoint(folder, step, state)

    with monkeypatch.context() as broken:
        if what == "percentiles":
            broken.setattr(Percentiles, "save", save)
        else:
            broken.setattr(loop, "save_checkpoint", save_checkpoint)
        with pytest.raises(OSError, match="No space"):
            trained("experiment=mnist_bn")
    run = trained("experiment=mnist_bn")
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))
