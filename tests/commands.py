"""Fixtures that run the commands: in this process, or in one of their own where that is the point."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bn import cli as entry
from bn.files import REPOSITORY


@pytest.fixture
def in_process(monkeypatch, capfd):
    """`in_process("scripts/runs.py", "list")`: a command in this process; exit code, stdout, stderr."""

    def run(program, *arguments):
        monkeypatch.setattr(sys, "argv", [Path(program).name, *map(str, arguments)])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(str(REPOSITORY / program), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if isinstance(code, str):  # what the interpreter does with it
            print(code, file=sys.stderr)
            code = 1
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def cli(in_process, monkeypatch):
    """`train.py` with these arguments, in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(entry, "outcomes", [])
        return in_process("train.py", *arguments)

    return run


class Command:
    """`python train.py ...` in a session of its own, from a directory that is not the repository."""

    def __init__(self, arguments: list[str], cwd: Path, options: list[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        self.process = subprocess.Popen(
            [sys.executable, *options, str(REPOSITORY / "train.py"), *arguments],
            cwd=cwd, env={**environment, "PYTHONWARNINGS": "default"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.pid = self.process.pid

    def wait(self, timeout=90):
        """Exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def until(self, condition, timeout=60):
        """Wait for something to be true while the command runs."""
        end = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"it did not come to that: {self.wait()}")
            time.sleep(0.01)

    def kill_group(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


@pytest.fixture
def start(tmp_path):
    """Start `python train.py` and go on; nothing of it is left after the test."""
    started = []
    cwd = tmp_path / "cwd"
    cwd.mkdir()

    def launch_it(*arguments, python_options=()):
        started.append(Command(list(arguments), cwd, list(python_options)))
        return started[-1]

    yield launch_it
    for command in started:
        command.kill_group()
        command.process.communicate()


@pytest.fixture
def command(start):
    """Run `python train.py` to its end: exit code, stdout, stderr."""
    return lambda *arguments, **options: start(*arguments, **options).wait()


@pytest.fixture
def left_of_group():
    """The processes of a group that live on ten seconds later (Linux)."""

    def living(group):
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state not in "ZX":
                    yield stat.parent.name

    def wait(group):
        end = time.monotonic() + 10
        while (left := list(living(group))) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    return wait
