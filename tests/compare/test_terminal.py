"""scripts/runs.py in a terminal, in a pipe, and until Ctrl-C."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from bn.compare.runs import find_run
from tests.compare.conftest import SCRIPT
from tests.compare.fake_runs import config_text, line, stat


def in_a_terminal(arguments, columns, lines, until, typed="\x03"):
    """Run the script in a terminal of this size; type `typed` once its output satisfies `until`.

    Returns the exit code and the output.
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
    decoder = codecs.getincrementaldecoder("utf-8")()  # a block may end within a character
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    written += decoder.decode(os.read(ours, 65536))
                except OSError:  # the process has ended
                    break
            if until is not None and until(written):
                os.write(ours, typed.encode())
                until = None
        return process.wait(timeout=10), written
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def plain(text):
    return re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text)


def test_no_line_exceeds_the_width_of_the_terminal(sweep, make, tmp_path):
    make(
        "mnist_bn/optim.lr-0.1__" + "model.something-else__" * 5 + "data.validation-10/seed_9",
        status=stat("failed", 20, "ValueError: " + "something went wrong " * 20 + "\x1b[2J\nat the end"),
    )
    code, written = in_a_terminal([tmp_path / "runs"], 80, 50, None)
    rows = plain(written).splitlines()
    assert code == 0
    assert max(map(len, rows)) < 80
    (long,) = [n for n, row in enumerate(rows) if re.match(r"failed       \w{6}  mnist_bn +5%", row)]
    assert rows[long + 1].startswith("    ValueError: something went wrong")
    assert rows[long + 1].endswith("…")
    assert "    loss is nan" in rows
    assert "\x1b[31mfailed\x1b[0m" in written


@pytest.mark.slow
def test_watch_redraws_in_place_until_ctrl_c(sweep, tmp_path):
    code, written = in_a_terminal(
        ["--watch", tmp_path / "runs"], 120, 8, lambda text: text.count("every 5 s") > 1
    )
    assert code == 0
    first, second = plain(written.replace("\x1b[H", "\x00")).split("\x00")[1:]
    assert "Traceback" not in written
    for drawn in (first, second):
        *rows, counts = drawn.split("^C")[0].rstrip().splitlines()  # the last newline may not have come yet
        assert len(rows) <= 5  # besides the counts, an empty line and the line of the cursor
        assert rows[0].startswith("state ")
        assert rows[-1].endswith("  OSError: no image")
        assert re.fullmatch(r"8 runs: 2 done.*1 failed \(\d\d:\d\d:\d\d, every 5 s\)", counts)


def test_watch_without_a_terminal_prints_block_after_block(sweep, listed, monkeypatch, tmp_path):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    written = "\n".join(listed("--watch", tmp_path / "runs"))
    assert slept == [5, 5]
    blocks = written.split("\n\n")
    assert len(blocks) == 3
    for block in blocks[:2]:
        assert len(block.splitlines()) == 10
        assert "\x1b" not in block
        assert "8 runs: 2 done" in block.splitlines()[-1]


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        (60, "state id experiment seed lr trained accuracy"),
        (80, "state id experiment seed init_std lr trained accuracy age"),
        (120, "state id experiment seed init_std lr trained accuracy images/s age"),
        (200, "state run model.init_std optim.lr step accuracy images/s age"),
    ],
)
def test_a_name_is_shown_in_full_or_replaced_by_an_id(make, tmp_path, columns, header):
    """The id can be used to find the run."""
    for lr in (0.1, 1.0):
        for std in (0.01, 0.1):
            name = f"mnist_bn/model.init_std-{std}__{'optim.something-else__' * 2}optim.lr-{lr}/seed_0"
            config = config_text("mnist_bn", lr=lr).replace("init_std: 0.1", f"init_std: {std}")
            make(name, status=stat("done", 400), config=config, lock="", metrics=line(400, test_accuracy=0.9))
    code, written = in_a_terminal([tmp_path / "runs"], columns, 50, None)
    rows = plain(written).splitlines()
    assert code == 0
    assert max(map(len, rows)) < columns
    assert rows[0].split() == header.split()
    found = [find_run(f"{tmp_path / 'runs'}/{row.split()[1]}").path for row in rows[1:5]]
    assert found == sorted((tmp_path / "runs").glob("*/*/seed_0"))


def test_keys_that_do_not_fit_are_named(make, tmp_path):
    for seed in range(2):
        keys = [f"{name}: {seed}" for name in ("a_long_key", "another_long_key", "a_third_key")]
        make(f"mnist_bn/{seed}/seed_0", status=stat("done", 400), lock="",
             config=config_text("mnist_bn") + "\n".join(keys))  # fmt: skip
    _, written = in_a_terminal([tmp_path / "runs"], 50, 50, None)
    assert plain(written).splitlines()[-2:] == [
        "no room for a_long_key, another_long_key, a_thir…", "2 runs: 2 done",
    ]  # fmt: skip


def test_it_imports_no_torch_or_hydra_and_ends_with_its_reader(sweep, tmp_path):
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
