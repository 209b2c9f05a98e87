"""scripts/runs.py rm: what is removed, and what never is."""

import os
import shutil

import pytest

from bn.compare import removal
from bn.errors import UserError
from bn.run.lock import introduction
from tests.compare.made import config_text, line, said
from tests.compare.test_terminal import in_a_terminal, plain


@pytest.fixture
def run(make):
    def made(name, state="done", **contents):
        contents = {"status": said(state, 400), "metrics": line(400), "lock": "", **contents}
        return make(name, config=config_text("mnist_bn"), **contents)

    return made


def test_what_is_named_and_nothing_else(run, listed, snapshot, tmp_path):
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
    with pytest.raises(UserError, match=r"nothing is removed: there is no terminal .*--yes"):
        removal.agreed(1)


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
        "its config.yaml is not that of a run: accepted: a run directory"
    )
    run("mnist_bn/a/seed_6")
    assert refused("rm", tmp_path / "runs", "--yes").endswith("holds 2 runs: accepted: the folder of one")
    (tmp_path / "notes").mkdir()
    assert refused("rm", tmp_path / "notes", "--yes").endswith("holds 0 runs: accepted: the folder of one")
    assert foreign.exists()


def test_never_through_a_link(run, refused, tmp_path):
    path = run("mnist_bn/a/seed_0")
    (tmp_path / "link").symlink_to(path)
    assert f"link: a link to {path}" in refused("rm", tmp_path / "link", "--yes")
    assert path.exists()


def test_from_inside(run, listed, monkeypatch):
    path = run("mnist_bn/a/seed_0")
    monkeypatch.chdir(path)
    listed("rm", ".", "--yes")
    assert not path.exists()


def test_killed_in_between(run, listed, monkeypatch, tmp_path):
    """It is in no list."""
    path = run("mnist_bn/a/seed_0")

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        listed("rm", path, "--yes")
    assert not path.exists()
    assert listed(tmp_path / "runs") == ["0 runs"]
