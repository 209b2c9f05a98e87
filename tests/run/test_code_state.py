"""The state of the code: its commit and uncommitted changes."""

import subprocess

import pytest

from bn.run import code_state as module
from bn.run.code_state import code_state


@pytest.fixture
def repository(tmp_path, monkeypatch):
    folder = tmp_path / "repository"
    for name in ("results", "docs"):
        (folder / name).mkdir(parents=True)
    for name in ("train.py", "README.md", "results/table.md", "docs/findings.md"):
        (folder / name).write_text("then\n")
    (folder / ".gitignore").write_text("runs/\n")

    def git(*arguments):
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    monkeypatch.setattr(module, "REPOSITORY", folder)
    return folder, git


def test_a_clean_tree(repository):
    folder, git = repository
    state = code_state()
    assert state == (git("rev-parse", "HEAD"), "")
    assert state.digest is None
    # Records and ignored files are not code.
    (folder / "README.md").write_text("now\n")
    (folder / "results" / "table.md").write_text("now\n")
    (folder / "docs" / "findings.md").write_text("now\n")
    (folder / "results" / "new.py").write_text("now\n")
    (folder / "notes.txt").write_text("now\n")
    (folder / "runs").mkdir()
    (folder / "runs" / "new.py").write_text("now\n")
    assert code_state() == state


def test_changes(repository):
    folder, git = repository
    (folder / "train.py").write_text("now\n")
    changed = code_state()
    assert "-then\n+now\n" in changed.changes
    git("add", "train.py")  # staged or not
    assert code_state() == changed
    (folder / "new.yaml").write_text("a: 1\n")
    with_new = code_state()
    assert with_new.changes.startswith(changed.changes)
    assert "+a: 1" in with_new.changes
    (folder / "new.yaml").write_text("a: 2\n")
    assert len({changed.digest, with_new.digest, code_state().digest}) == 3


def test_no_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    assert code_state() == (None, "")
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert code_state() == (None, "")
