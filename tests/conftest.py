"""Short runs of the real thing in this process; tests/commands.py runs the commands."""

import contextlib
import dataclasses
import functools
import json
import operator
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bn import cli as entry
from bn.config import config_from, to_dict
from bn.data.mnist import load_mnist
from bn.files import REPOSITORY
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.code_state import code_state
from bn.run.directory import RunDirectory, read_lines
from bn.train import train
from tests.commands import cli, command, in_process, left_of_group, start  # noqa: F401  # fixtures

SHORT = (
    "steps=120",
    "evaluate.at.early=[]",
    "evaluate.at.every=60",
    "evaluate.population_batches=10",
    "probe.at.early=[0,30]",
    "probe.at.every=60",
    "probe.examples=600",
    "log_every=20",
    "checkpoint_every=40",
    "device=cpu",  # where bits are promised; tests/integration/gpu says otherwise
)
TIMES = ("wall_s", "train/images_per_second")  # no two runs have the same


def slowly(*cases):
    """These parameters of a test marked slow: those before them in its list represent them otherwise."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


def pytest_collection_modifyitems(items):
    """What only CUDA warns of differs with torch's version, and does not fail a test by itself."""
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.filterwarnings("default"))


def pytest_terminal_summary(terminalreporter):
    """Why tests were skipped, each reason once."""
    for reason in sorted({report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())}):
        terminalreporter.write_line(reason)


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch):
    """What the user's shell may hold must not decide a test; one thread is what the runs take."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "NETRC", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """pytest starts a process for each core: threads of their own would wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _signals_are_not_ignored():
    """A shell that starts pytest in the background, or nohup, makes it ignore some signals."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _mnist_is_read_once():
    """By the runs in this process, so that one of them takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bn.tasks.mnist.load_mnist", functools.cache(load_mnist))
        yield


@pytest.fixture(scope="session", autouse=True)
def _git_is_asked_once():
    """By the runs in this process: the code does not change while it is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("cli", "cli.single_run", "run.environment", "run.submission"):
            patch.setattr(f"bn.{module}.code_state", functools.cache(code_state))
        yield


@pytest.fixture
def no_waiting():
    """A context in which to wait for the GPU is an error."""

    @contextlib.contextmanager
    def context():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first call says that this is a prototype, and has set it
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return context


def last_of(*arguments):
    """The last that is given of each key, since the command line takes each once; flags first."""
    keys = {argument.lstrip("+").partition("=")[0]: argument for argument in arguments}
    return sorted(keys.values(), key=lambda argument: argument != "-m")


@pytest.fixture
def typed(tmp_path):
    """The arguments of a short run: `typed("experiment=mnist_bn", "seed=1")`; they replace those of SHORT."""
    return lambda *given, output=tmp_path / "runs": last_of(*SHORT, *given, f"output={output}")


@functools.cache
def composed(overrides):
    return entry.planned_run([*SHORT, *overrides])


def run_directory(overrides, output):
    """What `entry.planned_run` makes of these and of `output`; composing takes longer than training here."""
    run = composed(overrides)
    path = Path(output) / run.path.relative_to(REPOSITORY / "runs")
    return RunDirectory(path, dataclasses.replace(run.config, output=str(output)))


@pytest.fixture
def planned(tmp_path):
    """The run directory, not yet made, of a short run."""
    return lambda *overrides, output=tmp_path / "runs": run_directory(overrides, output)


@pytest.fixture
def trained(planned):
    """Train in this process, from the last checkpoint if there is one; the run directory."""

    def run_of(*overrides, stop_signal=lambda: None, **where):
        run = planned(*overrides, **where)
        run.open()
        try:
            train(run.config, run, stop_signal, progress=False)
        finally:
            run.close()
        return run

    return run_of


@pytest.fixture
def stop_after():
    """A `stop_signal` for `train` that says `signal` once `steps` steps of this start are done."""

    def make(steps, number=signal.SIGTERM):
        calls = iter(range(1, 1_000_000))
        return lambda: number if next(calls) >= steps else None

    return make


@pytest.fixture
def bits():
    """Everything that must not depend on how often a run was interrupted, as comparable plain bytes."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return (value.shape, value.numpy().tobytes()) if torch.is_tensor(value) else value

    def read(run):
        path = getattr(run, "path", run)
        last = load_checkpoint(list_checkpoints(path / "checkpoints")[-1])
        metrics = read_lines(path / "metrics.jsonl")
        activations = None
        if (path / "activations.npz").exists():  # not where nothing is observed
            with np.load(path / "activations.npz") as arrays:
                activations = {name: (array.shape, array.tobytes()) for name, array in arrays.items()}
        return {
            "step": last["step"],
            "state": json.loads((path / "status.json").read_text())["state"],
            "checkpoint": plain({key: last[key] for key in last.keys() - {"wall_s", "config", "metrics"}}),
            "metrics": [{k: v for k, v in line.items() if k not in TIMES} for line in metrics],
            "activations": activations,
        }

    return read


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The run directory of the same run trained once in one go, without anybody stopping it."""
    known = {}

    def run_of(*overrides):
        overrides = tuple(override for override in overrides if override != "seed=0")
        if overrides not in known:
            run = run_directory(overrides, tmp_path_factory.mktemp("undisturbed"))
            run.open()
            train(run.config, run, progress=False)
            run.close()
            known[overrides] = run
        return known[overrides]

    return run_of


@pytest.fixture
def snapshot():
    """Each file below a folder with its bytes and its time: what "nothing was touched" means."""

    def take(folder):
        return {
            str(path.relative_to(folder)): (
                path.stat().st_mtime_ns,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in sorted(Path(folder).rglob("*"))
        }

    return take


@pytest.fixture
def until():
    """Wait for something to be true; what it then is."""

    def wait(condition, timeout=120):
        end = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < end, "it did not come to that"
            time.sleep(0.05)
        return found

    return wait


def has_passed(run, step):
    """Whether there is a checkpoint, and a row in metrics.jsonl after `step`."""
    lines = read_lines(run.path / "metrics.jsonl")
    saved = list_checkpoints(run.checkpoints) if run.checkpoints.exists() else []
    return bool(lines and saved) and lines[-1]["step"] > step


def config_names(group):
    """The files of a group of configs."""
    return sorted(path.stem for path in (REPOSITORY / "configs" / group).glob("*.yaml"))


def changed(config, changes):
    """`config` with some flattened keys changed."""
    values = to_dict(config)
    for key, value in changes.items():
        *groups, name = key.split(".")
        functools.reduce(operator.getitem, groups, values)[name] = value
    return config_from(values)
