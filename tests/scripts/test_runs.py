"""scripts/runs.py: how each run stands, from the run directories alone."""

import fcntl
import json
import os
import pty
import re
import runpy
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from bn.run.directory import REPOSITORY
from bn.run.heartbeat import introduction
from bn.run.state import STATES, find_runs, state_of

SCRIPT = str(REPOSITORY / "scripts" / "runs.py")
ELSEWHERE = "process 7 on x\n7 elsewhere/pid:[1] 99\n"


@pytest.fixture
def listed(monkeypatch, capfd):
    """What `runs.py` with these arguments prints: lines."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["runs.py", *map(str, arguments)])
        runpy.run_path(SCRIPT, run_name="__main__")
        return capfd.readouterr().out.splitlines()

    return run


@pytest.fixture
def refused(monkeypatch, capfd):
    """The one line with which `runs.py` refuses these arguments."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["runs.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(SCRIPT, run_name="__main__")
        assert capfd.readouterr() == ("", "")
        return stop.value.code

    return run


@pytest.fixture
def make(tmp_path):
    """A run directory with these contents; of two files the one in `first` is older."""

    def run(name, *, status=None, metrics=None, lock=None, submitted=None, first=(), hours_ago=3.5):
        path = tmp_path / "runs" / name
        path.mkdir(parents=True, exist_ok=True)
        files = {"config.yaml": "steps: 400\n", "metrics.jsonl": metrics, "lock": lock}
        files |= {"status.json": status, "submitted.json": submitted}
        for second, file in enumerate(sorted(files, key=lambda file: file not in first)):
            content = files[file]
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                (path / file).write_text(text)
                then = time.time() - hours_ago * 3600 + second
                os.utime(path / file, (then, then))
        return path

    return run


def said(state, step, reason=None, **more):
    return {"state": state, "step": step, "steps": 400, "reason": reason, "job": None, **more}


def line(step, **values):
    numbers = {"train/images_per_second": 1234.5, **{k.replace("_", "/", 1): v for k, v in values.items()}}
    return json.dumps({"step": step, "wall_s": 1.0, **numbers}) + "\n"


@pytest.fixture
def sweep(make):
    """A run in each state."""
    make("mnist_bn/a/seed_10", status=said("done", 400), metrics=line(400, test_accuracy=0.975), lock="")
    make("mnist_bn/a/seed_2", status=said("done", 400), metrics=line(400, test_accuracy=0.97), lock="")
    make("bn_x5/wild/seed_0", status=said("diverged", 9, "loss is nan"), lock="")
    make("mnist_bn/a/seed_3", submitted={"job": "1_3", "config": {"steps": 1000}})
    make("mnist_bn/a/seed_4", status=said("running", 200), metrics=line(300), lock=introduction())
    make("bn_x5/a/seed_5", status=said("interrupted", 100, "SIGTERM", job="1_5"), lock="")
    make("bn_x5/a/seed_6", status=said("running", 150), lock=ELSEWHERE, hours_ago=80)
    make("bn_x5/a/seed_7", status=said("failed", 20, "OSError: no picture"), lock="")


@pytest.mark.slow
def test_a_real_run_while_it_trains_killed_and_to_its_end(start, cli, typed, planned, listed, tmp_path):
    arguments = typed("experiment=mnist_bn", "steps=2400", "checkpoint_every=100", "evaluate.at.every=300")
    run = planned("experiment=mnist_bn", "steps=2400", "checkpoint_every=100", "evaluate.at.every=300")
    process = start(*arguments)
    process.until(lambda: run.path.exists() and state_of(run.path).accuracy)
    header, row, counts = listed(tmp_path / "runs")
    assert header.split() == ["state", "run", "step", "accuracy", "images/s", "age"]
    assert re.fullmatch(r"running  mnist_bn/\S+/seed_0 +\d?,?\d{3}/2,400 +\d\d\.\d\d% +[\d,]+ +\d+s", row)
    assert counts == "1 run: 1 running"

    process.process.kill()
    process.wait()
    _, row, counts = listed(tmp_path / "runs")
    assert row.startswith("lost ")
    assert row.endswith(f"  process {process.pid} on {os.uname().nodename} is gone")
    assert counts == "1 run: 1 lost"
    assert 300 <= (state_of(run.path).step or 0) <= 2400

    assert cli(*arguments)[0] == 0
    found = state_of(run.path)
    assert (found.state, found.step, found.steps, found.reason) == ("done", 2400, 2400, None)
    assert found.experiment == "mnist_bn"
    assert found.accuracy_of == "test/accuracy_population"
    assert found.accuracy is not None
    assert found.accuracy > 0.9
    _, row, counts = listed(tmp_path / "runs")
    assert f" 2,400/2,400    {found.accuracy:.2%} " in row
    assert counts == "1 run: 1 done"


def test_a_real_run_that_fails_says_why(planned, cli, typed, listed, tmp_path):
    run = planned("experiment=mnist_bn")
    (run.path / "checkpoints").mkdir(parents=True)
    (run.path / "checkpoints" / "step_00000040.0123456789abcdef.pt").write_bytes(b"damaged")
    assert cli(*typed("experiment=mnist_bn"))[0] == 1
    _, row, counts = listed(tmp_path / "runs")
    assert row.startswith("failed ")
    assert "no sound checkpoint is left (1 damaged)" in row
    assert counts == "1 run: 1 failed"


def test_each_state_in_its_place(sweep, listed, tmp_path):
    assert listed(tmp_path / "runs") == [
        "state        run                    step  accuracy  images/s  age  job  reason",
        "done         mnist_bn/a/seed_2   400/400    97.00%     1,234   3h",
        "done         mnist_bn/a/seed_10  400/400    97.50%     1,234   3h",
        "diverged     bn_x5/wild/seed_0     9/400                       3h       loss is nan",
        "queued       mnist_bn/a/seed_3   0/1,000                       3h  1_3",
        "running      mnist_bn/a/seed_4   300/400               1,234   3h",
        "interrupted  bn_x5/a/seed_5      100/400                       3h  1_5  SIGTERM",
        "lost         bn_x5/a/seed_6      150/400                       3d       process 7 on x is gone",
        "failed       bn_x5/a/seed_7       20/400                       3h       OSError: no picture",
        "8 runs: 2 done, 1 diverged, 1 queued, 1 running, 1 interrupted, 1 lost, 1 failed",
    ]


def test_filters(sweep, listed, refused, tmp_path):
    def shown(*arguments):
        *rows, counts = listed(*arguments, tmp_path / "runs")
        return [row.split()[1].rpartition("_")[2] for row in rows[1:]], counts

    assert shown("--state", "lost,failed") == (["6", "7"], "2 runs: 1 lost, 1 failed")
    assert shown("--experiment", "mnist_bn") == (
        ["2", "10", "3", "4"], "4 runs: 2 done, 1 queued, 1 running",
    )  # fmt: skip
    assert shown("--experiment", "bn_x5,mnist_bn", "--state", "done") == (["2", "10"], "2 runs: 2 done")
    assert shown("--experiment", "bn_x30") == ([], "0 runs")  # it exists, and has not been run
    assert refused("--state", "lost,gone") == f"runs.py: --state=gone: unknown; accepted: {', '.join(STATES)}"
    told = refused("--experiment", "bn_x5,bn_x55", tmp_path / "runs")
    assert told.startswith("runs.py: --experiment=bn_x55: unknown; accepted: ")
    assert "bn_x30, bn_x5, " in told
    assert refused(tmp_path / "nothing") == f"runs.py: {tmp_path / 'nothing'}: no such folder"


def test_an_experiment_without_a_config_is_known_by_its_runs(make, listed, tmp_path):
    make("of_old/default/seed_0", status=said("done", 400))
    assert listed("--experiment", "of_old", tmp_path / "runs")[-1] == "1 run: 1 done"


def test_folders(sweep, listed, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    (runs / ".sweeps" / "12").mkdir(parents=True)
    (runs / ".sweeps" / "12" / "config.yaml").write_text("")
    (runs / "mnist_bn" / "a" / "seed_2" / "checkpoints").mkdir()
    assert len(find_runs(runs)) == 8
    monkeypatch.chdir(tmp_path)
    # One run itself; two folders, one in the other.
    assert listed(runs / "mnist_bn" / "a" / "seed_2")[-1] == "1 run: 1 done"
    both = listed(runs / "mnist_bn", runs)
    assert both[-1].startswith("8 runs: ")
    assert both[1].split()[1] == "runs/mnist_bn/a/seed_2"


def test_json_has_all_of_it(sweep, listed, tmp_path):
    found = {run["path"]: run for run in map(json.loads, listed("--json", tmp_path / "runs"))}
    assert len(found) == 8
    done = found[str(tmp_path / "runs" / "mnist_bn" / "a" / "seed_2")]
    assert done.pop("age") == pytest.approx(3.5 * 3600, abs=60)
    assert done == {
        "path": str(tmp_path / "runs/mnist_bn/a/seed_2"), "experiment": "mnist_bn", "state": "done",
        "step": 400, "steps": 400, "accuracy": 0.97, "accuracy_of": "test/accuracy",
        "images_per_second": 1234.5, "job": None, "log": None, "reason": None,
    }  # fmt: skip


class TestQueued:
    SUBMITTED = {"job": "12_4", "log": "runs/.sweeps/12_4.out", "config": {"steps": 1000}}  # noqa: RUF012

    def test_again_with_the_step_it_has(self, make):
        for state in ("interrupted", "failed", "running"):
            status = said(state, 120, "SIGTERM", job="11")
            found = state_of(make(f"a/b/{state}", status=status, lock="", submitted=self.SUBMITTED))
            assert (found.state, found.step, found.steps) == ("queued", 120, 400)
            assert (found.job, found.log, found.reason) == ("12_4", "runs/.sweeps/12_4.out", None)

    @pytest.mark.parametrize("state", ["done", "diverged"])
    def test_never_when_it_has_ended(self, make, state):
        found = state_of(make("a/b/c", status=said(state, 400, job="11"), submitted=self.SUBMITTED))
        assert (found.state, found.step) == (state, 400)

    @pytest.mark.parametrize("state", ["interrupted", "failed"])
    def test_no_longer_once_it_ran(self, make, state):
        status = said(state, 120, "for a reason", job="12_4")
        path = make("a/b/c", status=status, lock="", submitted=self.SUBMITTED, first=["submitted.json"])
        found = state_of(path)
        assert (found.state, found.reason, found.job) == (state, "for a reason", "12_4")
        assert found.log == "runs/.sweeps/12_4.out"

    def test_started_and_not_yet_heard_of(self, make):
        """Importing torch takes seconds; the status is of the start before."""
        status = said("interrupted", 120, "SIGTERM", job="11")
        path = make("a/b/c", status=status, submitted=self.SUBMITTED, lock=introduction())
        found = state_of(path)
        assert (found.state, found.step, found.job, found.reason) == ("running", 120, "12_4", None)

    def test_killed_before_it_was_heard_of(self, make):
        first = ["submitted.json"]
        path = make("a/b/c", submitted=self.SUBMITTED, lock=ELSEWHERE, first=first)
        found = state_of(path)
        assert (found.state, found.job, found.log) == ("lost", "12_4", "runs/.sweeps/12_4.out")

    def test_before_there_is_a_job(self, make, tmp_path):
        found = state_of(make("a/b/c", submitted={**self.SUBMITTED, "job": None}))
        (found.path / "config.yaml").unlink()
        assert state_of(found.path)._replace(age=None) == found._replace(age=None)
        assert (found.state, found.steps, found.job, found.log) == ("queued", 1000, None, None)


def test_a_lost_or_failed_job_says_where_to_read_on(make, listed, tmp_path):
    submitted = {"job": "12_4", "log": "runs/.sweeps/12_4.out"}
    status = said("running", 120, job="12_4")
    make("a/b/c", status=status, submitted=submitted, lock="", first=["submitted.json"])
    row = listed(tmp_path / "runs")[1]
    assert row.endswith("  12_4  no process works here; see runs/.sweeps/12_4.err")


@pytest.mark.parametrize(
    ("lines", "accuracy", "of"),
    [
        ([line(300, test_accuracy=0.9)], 0.9, "test/accuracy"),
        ([line(300, validation_accuracy=0.8, test_accuracy=0.9)], 0.9, "test/accuracy"),
        ([line(300, validation_accuracy=0.8)], 0.8, "validation/accuracy"),
        (
            [line(300, test_accuracy=0.9), line(400, test_accuracy=0.91, test_accuracy_population=0.92)],
            0.92, "test/accuracy_population",
        ),
        ([line(2, test_accuracy=0.9), *map(line, range(3, 5000)), '{"step": 9'], 0.9, "test/accuracy"),
        ([line(300)], None, None),
    ],
)  # fmt: skip
def test_the_latest_accuracy(make, lines, accuracy, of):
    found = state_of(make("a/b/c", metrics="".join(lines)))
    assert (found.accuracy, found.accuracy_of) == (accuracy, of)
    assert found.step == [json.loads(text)["step"] for text in lines if text.endswith("\n")][-1]


@pytest.mark.parametrize("name", ["status.json", "submitted.json", "metrics.jsonl", "config.yaml", "lock"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b"\xff\x00\n\x1b[2J", b'{"step": "x", "state": [], "config": 1}']
)
def test_a_broken_file_breaks_nothing(make, listed, tmp_path, name, content):
    path = make("mnist_bn/a/seed_0", status=said("failed", 20, "why"), metrics=line(20), lock="")
    (path / name).write_bytes(content)
    found = state_of(path)
    assert found.state in STATES
    if name != "metrics.jsonl":
        assert (found.step, found.images_per_second) == (20, 1234.5)
    if name != "status.json":
        assert found.steps == 400
    elif not content.startswith(b'{"'):
        assert found.reason == "no process works here; status.json is damaged"
    rows = listed(tmp_path / "runs")
    assert len(rows) == 3
    assert all(row.isprintable() for row in rows)


def test_what_is_just_being_made(make, tmp_path, listed):
    """Directories that vanish, are empty, or hold folders where files should be."""
    (tmp_path / "runs" / "a" / "b" / "seed_0").mkdir(parents=True)
    path = make("a/b/seed_1", lock=introduction())
    for name in ("status.json", "metrics.jsonl", "submitted.json"):
        (path / name).mkdir()
    assert (state_of(path).state, state_of(path).steps) == ("running", 400)
    assert listed(tmp_path / "runs")[-1] == "1 run: 1 running"
    assert state_of(tmp_path / "gone").state == "lost"


def in_a_terminal(arguments, columns, lines, until):
    """The script in a terminal of this size, with a Ctrl-C once `until` is true of what it wrote.

    Its exit code and what it wrote.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)], stdin=its, stdout=its, stderr=its,
        env=environment, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )  # fmt: skip
    os.close(its)
    written, end = "", time.monotonic() + 30
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    written += os.read(ours, 65536).decode()
                except OSError:  # it has ended
                    break
            if until is not None and until(written):
                os.write(ours, b"\x03")
                until = None
        return process.wait(timeout=10), written
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def plain(text):
    return re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text)


def test_a_terminal_is_never_overrun(sweep, make, tmp_path):
    make(
        "mnist_bn/optim.lr-0.1__" + "model.something-else__" * 5 + "data.validation-10/seed_9",
        status=said("failed", 20, "ValueError: " + "something went wrong " * 20 + "\x1b[2J\nat the end"),
    )
    code, written = in_a_terminal([tmp_path / "runs"], 80, 50, None)
    rows = plain(written).splitlines()
    assert code == 0
    assert max(map(len, rows)) < 80
    (long,) = [n for n, row in enumerate(rows) if "…" in row and row.startswith("failed")]
    assert re.match(r"failed       mnist_bn/\S+…\S*ion-10/seed_9 +20/400 ", rows[long])
    assert rows[long + 1].startswith("    ValueError: something went wrong")
    assert rows[long + 1].endswith("…")
    assert "    loss is nan" in rows
    assert "\x1b[31mfailed\x1b[0m" in written


def test_watch_redraws_in_place_until_ctrl_c(sweep, tmp_path):
    code, written = in_a_terminal(
        [tmp_path / "runs", "--watch", "0.05"], 120, 8, lambda text: text.count("\x1b[H") > 3
    )
    assert code == 0
    first, second, *_ = plain(written.replace("\x1b[H", "\x00")).split("\x00")[1:]
    assert "Traceback" not in written
    for drawn in (first, second):
        rows = drawn.splitlines()
        assert len(rows) <= 7  # and the cursor's
        assert rows[0].startswith("state ")
        assert rows[-2].endswith("  OSError: no picture")
        assert re.fullmatch(r"8 runs: 2 done.*1 failed \(\d\d:\d\d:\d\d, every 0\.05 s\)", rows[-1])


def test_watch_without_a_terminal_prints_block_after_block(sweep, tmp_path):
    process = subprocess.Popen(
        [sys.executable, SCRIPT, str(tmp_path / "runs"), "--watch", "0.05"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    written = "".join(process.stdout.readline() for _ in range(22))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    blocks = written.split("\n\n")
    assert len(blocks) == 3
    assert blocks[2] == ""
    for block in blocks[:2]:
        assert len(block.splitlines()) == 10
        assert "\x1b" not in block
        assert "8 runs: 2 done" in block.splitlines()[-1]


def test_watch_refuses_no_seconds(monkeypatch, capfd):
    for given in ("0", "-1", "nan", "inf", "runs"):
        monkeypatch.setattr(sys, "argv", ["runs.py", f"--watch={given}"])
        with pytest.raises(SystemExit):
            runpy.run_path(SCRIPT, run_name="__main__")
        line = f"argument --watch: {given}: accepted: seconds > 0 (a FOLDER goes before --watch)"
        assert line in capfd.readouterr().err


def test_it_starts_without_torch_and_hydra_and_stops_with_its_reader(sweep, tmp_path):
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "assert not {'torch', 'hydra', 'numpy'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, SCRIPT, str(tmp_path / "runs")], check=True, capture_output=True
    )
    process = subprocess.Popen(
        [sys.executable, SCRIPT, str(tmp_path / "runs")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, b"")
