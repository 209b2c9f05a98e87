"""Numbers are traceable: the recorded commit is this repository's, and each choice has a single name."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from hydra.errors import HydraException

from bn.cli import planned_run
from bn.cli.arguments import choices_of
from bn.errors import Interrupted, UserError
from bn.files import REPOSITORY
from bn.run import code_state as module
from bn.run.code_state import MAX_BYTES, MAX_FILES, CodeState, code_state
from bn.run.state import find_runs
from tests.conftest import slowly

RUN = "experiment=mnist_bn"
SCRIPTS = [
    path
    for folder in ("benchmarks", "scripts")
    for path in sorted((REPOSITORY / folder).glob("*.py"))
    if "__main__" in path.read_text()
]


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def repository(folder):
    folder.mkdir(parents=True)
    (folder / "train.py").write_text("then\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", f"of {folder.name}")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = repository(tmp_path / "here")
    monkeypatch.setattr(module, "REPOSITORY", folder)
    return folder


def test_git_variables_do_not_lead_to_another_repository(here, tmp_path, monkeypatch):
    other = repository(tmp_path / "other")
    commit = git(here, "rev-parse", "HEAD")
    assert commit != git(other, "rev-parse", "HEAD")
    values = {
        "GIT_DIR": other / ".git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / ".git" / "index",
        "GIT_COMMON_DIR": other / ".git", "GIT_OBJECT_DIRECTORY": other / ".git" / "objects",
        "GIT_CEILING_DIRECTORIES": here.parent, "GIT_NAMESPACE": "a", "GIT_PREFIX": "a/",
        "GIT_EXTERNAL_DIFF": "/bin/false", "GIT_DIFF_OPTS": "-u0", "GIT_LITERAL_PATHSPECS": "1",
    }  # fmt: skip
    for count in (1, 2, len(values)):
        for names in itertools.combinations(values, count):
            with monkeypatch.context() as patch:
                for name in names:
                    patch.setenv(name, str(values[name]))
                assert code_state() == (commit, ""), names


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_copy_inside_another_repository_has_no_commit(tmp_path, monkeypatch, depth):
    folder = repository(tmp_path / "outer").joinpath(*["inner"] * depth)
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "REPOSITORY", folder)
    assert code_state() == (None, "")


def test_a_link_to_the_repository_is_the_repository(here, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(here)
    monkeypatch.setattr(module, "REPOSITORY", tmp_path / "link")
    assert code_state().commit == git(here, "rev-parse", "HEAD")


@pytest.mark.parametrize("output", ["", f"{REPOSITORY}", f"{REPOSITORY}\n"])
def test_a_git_that_does_not_answer_in_time_counts_as_none(tmp_path, monkeypatch, output):
    """It is killed before or in the middle of its output."""
    slow = tmp_path / "git"
    slow.write_text(f"#!/bin/sh\nprintf '%s' '{output}'\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(module, "MAX_S", 0.2)
    assert code_state() == (None, "")


def environment(here):
    (here / "env" / "lib").mkdir(parents=True)
    (here / "env" / "pyvenv.cfg").touch()
    for i in range(3000):
        (here / "env" / "lib" / f"module{i}.py").write_text("x = 1\n" * 100)


def many_files(here):
    (here / "large").mkdir()
    for i in range(5000):
        (here / "large" / f"module{i}.py").write_text("x = 1\n")


def large_files(here):
    for i in range(8):
        (here / f"large{i}.yaml").write_text("- x\n" * 2_000_000)


def large_change(here):
    (here / "train.py").write_text("now\n" * 10_000_000)


@pytest.mark.parametrize("fill", [environment, *slowly(many_files, large_files, large_change)])
def test_whatever_is_in_the_checkout_the_state_is_bounded(here, fill):
    fill(here)
    began = time.monotonic()
    state = code_state()
    assert time.monotonic() - began < 30  # on a busy machine; usually a second
    assert len(state.changes) < 12 * MAX_BYTES
    if fill is environment:
        assert state.changes == ""
        return
    assert state.digest is not None
    if fill is many_files:
        assert f"and {5000 - MAX_FILES} more files" in state.changes
    (here / "aaa.py").write_text("new\n")  # is detected nevertheless
    assert "+new" in code_state().changes
    assert code_state().digest != state.digest


@pytest.mark.slow
def test_changes_beyond_the_limit_are_distinguished(here):
    large_change(here)
    before = code_state()
    with (here / "train.py").open("a") as file:
        file.write("one line more\n")
    after = code_state()
    assert "one line more" not in after.changes
    assert before.digest != after.digest


THEN, NOW = CodeState("1" * 40, ""), CodeState("2" * 40, "")
CHANGED = CodeState("1" * 40, "a change\n")


@pytest.fixture
def code(monkeypatch):
    def is_now(state):
        for name in ("cli", "cli.single_run", "run.environment"):
            monkeypatch.setattr(f"bn.{name}.code_state", lambda: state)

    return is_now


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "now", "text"),
    [
        (THEN, NOW, "its code was 1111111111, now it is 2222222222"),
        (THEN, CHANGED, "its code was 1111111111, now it is 1111111111 with changes"),
        (CHANGED, THEN, "its code was 1111111111 with changes, now it is 1111111111"),
        (THEN, THEN, None),
        (CHANGED, CHANGED, None),
        (THEN, CodeState(None, ""), None),
    ],
)
def test_changed_code_is_reported_in_one_line(code, cli, typed, trained, stop_after, then, now, text):
    code(then)
    with pytest.raises(Interrupted):
        trained(RUN, stop_signal=stop_after(60))
    code(now)
    status, out, err = cli(*typed(RUN))
    assert status == 0
    assert err.count("\n") == (text is not None)
    assert (
        text is None
        or f"seed_0: resumes with changed code: {text}: to start over with this code, choose another output="
        in err
    )
    code(then)
    status, out, err = cli(*typed(RUN))
    assert (status, err, out.count("\n")) == (0, "", 2)  # and the next command
    assert ("its code was" in out) == (text is not None)
    _, out, _ = cli(*typed("-m", RUN, "seed=0"))
    assert ("(1 with code other than the present 1111111111" in out) == (text is not None)


def spellings(group, name):
    yield from (f"{name}.yaml", f"./{name}", f"../{group}/{name}", f"{name}/", f"x/../{name}", f".//{name}")
    yield str(REPOSITORY / "configs" / group / name)


@pytest.mark.parametrize(
    "group", ["experiment", *slowly("scale", "optim", "data", "ablation", "logger", "sweep")]
)
def test_a_choice_is_a_name(group, tmp_path):
    tried = 0
    for name in choices_of(group)[:3]:
        base = ["experiment=bn_x5", "scale=smoke"]
        chosen = [other for other in base if not other.startswith(f"{group}=")] + [
            f"output={tmp_path / 'runs'}"
        ]
        for spelling in spellings(group, name):
            with pytest.raises((UserError, HydraException)) as error:
                planned_run([*chosen, f"{group}={spelling}"])
            if isinstance(error.value, UserError):
                assert f"{group}=" in str(error.value)
                assert "accepted: " in str(error.value)
            tried += 1
    assert tried >= 7
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spelling", ["mnist_bn.yaml", "./mnist_bn", "../experiment/mnist_bn"])
def test_a_choice_is_a_name_on_the_command_line(cli, typed, tmp_path, spelling):
    for flags in ([], ["-m"]):
        code, out, err = cli(*typed(*flags, f"experiment={spelling}"))
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"train.py: experiment={spelling}: unknown; accepted: ")
    assert not (tmp_path / "runs").exists()


def test_linked_run_folders_are_listed(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "mnist_bn"
    for seed in range(3):
        (elsewhere / "default" / f"seed_{seed}").mkdir(parents=True)
        (elsewhere / "default" / f"seed_{seed}" / "status.json").write_text(
            json.dumps({"state": "failed", "step": 1})
        )
    runs = tmp_path / "runs"
    (runs / "bn_x5").mkdir(parents=True)
    (runs / "mnist_bn").symlink_to(elsewhere)
    (runs / "again").symlink_to(elsewhere)
    (runs / "bn_x5" / "seed_9").symlink_to(elsewhere / "default" / "seed_0")
    (runs / "bn_x5" / "loop").symlink_to(runs)
    (elsewhere / "loop").symlink_to(elsewhere)
    (runs / "gone").symlink_to(tmp_path / "nothing")
    found = [path.resolve() for path in find_runs(runs)]
    assert sorted(found) == sorted((elsewhere / "default").iterdir())


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A copy of the programs and their code, while the installed `bn` is another clone's."""
    folder = tmp_path_factory.mktemp("clones")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("bn", "configs", "benchmarks", "experiments", "scripts", "hydra_plugins"):
        shutil.copytree(REPOSITORY / name, folder / "mine" / name, ignore=ignored)
    for name in ("train.py", "evaluate.py", "README.md"):
        shutil.copy(REPOSITORY / name, folder / "mine")
    for name in ("bn", "benchmarks", "experiments"):
        (folder / "installed" / name).mkdir(parents=True)
        (folder / "installed" / name / "__init__.py").write_text("raise SystemExit('of the other clone')\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("program", ["train.py", "evaluate.py", "scripts/runs.py", "scripts/make_figures.py"])
def test_a_program_uses_the_code_of_its_own_clone(clone, program):
    done = subprocess.run(
        [sys.executable, clone / "mine" / program, "--help"],
        env={**os.environ, "PYTHONPATH": str(clone / "installed")}, cwd=clone,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_every_script_sets_the_path_before_its_imports():
    line = "sys.path.insert(0, str(Path(__file__).resolve().parents[1]))"
    assert len(SCRIPTS) > 7
    for script in SCRIPTS:
        before, found, after = script.read_text().partition(line)
        assert found, script
        assert not re.search(r"^(from|import) (bn|benchmarks|experiments|scripts)\b", before, re.MULTILINE), (
            script
        )
        assert re.search(r"^(from|import) (bn|benchmarks|experiments|scripts)\b", after, re.MULTILINE), script
