"""Two processes in one run directory: the second is refused in one line without affecting the first."""

import itertools
import os


def test_the_second_is_refused_and_the_first_unharmed(
    trained, command, typed, planned, snapshot, undisturbed, bits
):
    run = planned("experiment=mnist_bn")
    refused = []

    def start_second():
        if next(calls) == 70:
            before = snapshot(run.path)
            refused.append(command(*typed("experiment=mnist_bn")))
            assert snapshot(run.path) == before

    calls = itertools.count(1)
    trained("experiment=mnist_bn", stop_signal=start_second)
    ((code, out, err),) = refused
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"seed_0: in use by process {os.getpid()} on " in err
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


def test_a_lock_file_without_its_process_does_not_lock(trained, planned):
    run = planned("experiment=mnist_bn")
    run.path.mkdir(parents=True)
    (run.path / "lock").write_text("process 1 on elsewhere\n")
    contents = []
    trained("experiment=mnist_bn", stop_signal=lambda: contents.append((run.path / "lock").read_text()))
    assert run.finished
    assert contents[0].startswith(f"process {os.getpid()} on ")
    assert (run.path / "lock").read_text() == ""
