"""scripts/runs.py rm and gc: what they remove, and what they never remove."""

import os
import shutil
import time

import pytest

from bn.compare import leftovers, removal
from bn.errors import UserError
from bn.files import atomic_file
from bn.run.heartbeat import introduction
from tests.compare.fake_runs import config_text, line, stat
from tests.compare.test_terminal import in_a_terminal, plain


@pytest.fixture
def run(make):
    def made(name, state="done", **contents):
        contents = {"status": stat(state, 400), "metrics": line(400), "lock": "", **contents}
        return make(name, config=config_text("mnist_bn"), **contents)

    return made


def test_only_the_given_runs_are_removed(run, listed, snapshot, tmp_path):
    one, other = run("mnist_bn/a/seed_0"), run("mnist_bn/a/seed_1")
    (one / "checkpoints").mkdir()
    (one / "checkpoints" / "x.pt").write_bytes(b"1")
    before = snapshot(other)
    lines = listed("rm", one, "--yes")
    assert lines == [f"{os.path.relpath(one)}: done, step 400/400", f"removed {os.path.relpath(one)}"]
    assert [path.name for path in one.parent.iterdir()] == ["seed_1"]
    assert snapshot(other) == before


@pytest.mark.parametrize(("answer", "left"), [("y", False), ("yes", False), ("n", True), ("", True)])
def test_it_asks(run, answer, left):
    path = run("mnist_bn/a/seed_0")
    asked = "remove this? [y/N] "
    code, written = in_a_terminal(["rm", path], 200, 20, lambda text: asked in text, f"{answer}\n")
    assert code == 0
    assert asked in plain(written)
    assert path.exists() == left


def test_it_cannot_ask_without_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(UserError, match=r"nothing removed: no terminal .*--yes"):
        removal.confirmed(1)


def test_never_a_running_one(run, planned, refused):
    path = run("mnist_bn/a/seed_0", state="running", lock=introduction())
    assert refused("rm", path, "--yes") == f"runs.py: {os.path.relpath(path)}: running: stop it first"
    started = planned("experiment=mnist_bn")
    started.open()
    try:
        assert refused("rm", started.path, "--yes").endswith(": running: stop it first")
        (started.path / "lock").unlink()  # the folder is locked too
        with pytest.raises(UserError, match=r"in use by .*: wait for it, or stop it"):
            removal.remove(started.path)
    finally:
        started.close()
    assert started.path.exists()
    assert path.exists()


def test_all_are_checked_before_the_first_is_removed(run, refused):
    one, other = run("mnist_bn/a/seed_0"), run("mnist_bn/a/seed_1", lock=introduction(), state="running")
    refused("rm", one, other, "--yes")
    assert one.exists()


def test_only_runs_of_this_program(run, make, refused, tmp_path):
    foreign = make("mnist_bn/a/seed_5", config="name: mine\n")
    assert refused("rm", foreign, "--yes").endswith(
        "its config.yaml is not that of a run; accepted: a run directory"
    )
    run("mnist_bn/a/seed_6")
    assert refused("rm", tmp_path / "runs", "--yes").endswith("contains 2 runs; accepted: the folder of one")
    (tmp_path / "notes").mkdir()
    assert refused("rm", tmp_path / "notes", "--yes").endswith("contains 0 runs; accepted: the folder of one")
    assert foreign.exists()


def test_never_through_a_link(run, refused, tmp_path):
    path = run("mnist_bn/a/seed_0")
    (tmp_path / "link").symlink_to(path)
    assert f"link: a link to {path}" in refused("rm", tmp_path / "link", "--yes")
    assert path.exists()


def test_from_inside_the_run_directory(run, listed, monkeypatch):
    path = run("mnist_bn/a/seed_0")
    monkeypatch.chdir(path)
    listed("rm", ".", "--yes")
    assert not path.exists()


def test_killed_in_between(run, listed, monkeypatch, tmp_path):
    """The run is not listed any more, and gc removes the rest."""
    path = run("mnist_bn/a/seed_0")

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        listed("rm", path, "--yes")
    assert not path.exists()
    (rest,) = path.parent.iterdir()
    (path.parent / ".removed-notes").mkdir()  # not made by this program
    assert listed(tmp_path / "runs") == ["0 runs"]
    assert listed("gc", tmp_path / "runs", "--yes") == [f"{os.path.relpath(rest)}: files of a removed run"]
    assert [other.name for other in path.parent.iterdir()] == [".removed-notes"]


def test_runs_without_a_step(run, make, listed, tmp_path):
    gone = [
        run("mnist_bn/a/seed_0", status=stat("failed", 0, "no data"), metrics=None),
        run("mnist_bn/a/seed_1", status=stat("running", 0), metrics=""),  # lost
    ]
    kept = [
        run("mnist_bn/a/seed_2"),
        run("mnist_bn/a/seed_3", status=stat("failed", 0), metrics=line(100)),
        run("mnist_bn/a/seed_4", status=stat("running", 0), metrics=None, lock=introduction()),
        run("mnist_bn/a/seed_5", status=stat("interrupted", 0), metrics=None),
        run("mnist_bn/a/seed_6", submitted={"job": "1"}, status=None, metrics=None, lock=None),
        run("mnist_bn/a/seed_7", status=stat("failed", 0), metrics=None),
        make("mnist_bn/a/seed_8", config="mine: 1\n", status=stat("failed", 0), lock=""),
    ]
    (kept[5] / "checkpoints").mkdir()
    (kept[5] / "checkpoints" / "step_00000040.0123456789abcdef.pt").write_bytes(b"1")
    lines = listed("gc", tmp_path / "runs", "--yes")
    assert [line for line in lines if "no step is recorded" in line] == [
        f"{os.path.relpath(gone[1])}: lost, step 0/400: no step is recorded",
        f"{os.path.relpath(gone[0])}: failed, step 0/400: no step is recorded",
    ]
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)
    assert listed("gc", tmp_path / "runs") == ["nothing to remove"]


def test_partial_files_whose_writers_have_ended(run, listed, tmp_path):
    path = run("mnist_bn/a/seed_0")
    left = path / "status.json.0123456789ab.part"
    left.write_text("half")
    mine = path / "download.part"
    mine.write_text("not of this program")
    with atomic_file(path / "env.json") as file:
        file.write(b"{}")
        assert len(list(path.glob("*.part"))) == 3
        lines = listed("gc", tmp_path / "runs", "--yes")
        assert len(lines) == 1
    assert (path / "env.json").read_text() == "{}"
    assert (left.exists(), mine.exists()) == (False, True)


def test_empty_folders_that_are_old(run, listed, tmp_path):
    run("mnist_bn/a/seed_0")
    old, new = tmp_path / "runs" / "x" / "y", tmp_path / "runs" / "z"
    hidden = tmp_path / "runs" / ".sweeps" / "1"
    for folder in (old, new, hidden):
        folder.mkdir(parents=True)
    then = time.time() - 2 * 3600
    for folder in (old, old.parent, hidden):
        os.utime(folder, (then, then))
    listed("gc", tmp_path / "runs", "--yes")
    assert (old.parent.exists(), new.exists(), hidden.exists()) == (False, True, True)


def test_gc_removes_nothing_without_a_yes(run, snapshot, tmp_path):
    run("mnist_bn/a/seed_0", status=stat("failed", 0), metrics=None)
    before = snapshot(tmp_path / "runs")
    asked = "remove this? [y/N] "
    in_a_terminal(["gc", tmp_path / "runs"], 200, 20, lambda text: asked in text, "\n")
    assert snapshot(tmp_path / "runs") == before


def test_a_run_restarted_while_gc_asks_is_kept(run, listed, monkeypatch, tmp_path):
    path, other = (run(f"mnist_bn/a/seed_{i}", status=stat("failed", 0), metrics=None) for i in range(2))

    def confirmed(number):
        assert number == 2
        (path / "metrics.jsonl").write_text(line(100))
        return True

    monkeypatch.setattr(leftovers, "confirmed", confirmed)
    listed("gc", tmp_path / "runs")
    assert (path.exists(), other.exists()) == (True, False)


def test_gc_with_conditions_removes_only_runs(run, listed, tmp_path):
    failed = run("mnist_bn/a/seed_0", status=stat("failed", 0), metrics=None)
    lost = run("mnist_bn/a/seed_1", status=stat("running", 0), metrics=None)
    part = lost / "status.json.0123456789ab.part"
    part.write_text("half")
    listed("gc", tmp_path / "runs", "state=failed", "--yes")
    assert (failed.exists(), part.exists()) == (False, True)
