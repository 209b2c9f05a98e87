"""The command line of scripts/runs.py, and all subcommands on running runs."""

import json
import re

import pytest

import bn.run
from bn.compare.command import SUBCOMMANDS
from bn.run.directory import read_lines
from bn.run.state import state_of


def test_one_page_of_help(listed):
    pages = [listed(*words) for words in (["--help"], ["plot", "-h"], ["runs", "--help"])]
    page = pages[0]
    assert pages == [page] * 3
    for name in SUBCOMMANDS:
        assert [line for line in page if line.startswith(f"usage: runs.py {name} ")]
    assert max(map(len, page)) <= 110


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--no-such"], " list: unrecognized arguments: --no-such; --help shows what is accepted"),
        (
            ["plot", "--x", "day"],
            r" plot: argument --x: invalid choice: 'day' \(choose from .*step.*\); --help shows .*",
        ),
        (["list", "--json", "--watch"], ": --watch, --json, --csv: accepted: one of them"),
        (["--json", "--csv"], ": --watch, --json, --csv: accepted: one of them"),
        (["gc", "no"], ": no: no such folder; accepted: .*"),
        (["diff", "a"], " diff: the following arguments are required: RUN; --help shows what is accepted"),
        (["rm"], " rm: the following arguments are required: RUN; --help shows what is accepted"),
        (["show", "a", "b"], " show: unrecognized arguments: b; --help shows what is accepted"),
        (["experiment=gone"], ": experiment=gone: accepted: bn_baseline, .*, mnist_bn"),
        (["state=gone"], ": state=gone: accepted: done, diverged, .*"),
        (["tabel"], r": tabel: no such folder; accepted: also KEY=VALUE, or a subcommand \(--help\)"),
    ],
)
def test_wrong_use_is_one_line(refused, words, line):
    assert re.fullmatch(f"runs.py{line}", refused(*words))


@pytest.mark.slow
def test_every_subcommand_on_a_running_run(start, typed, planned, tmp_path, runs_py):
    """As soon as it starts, while it trains, and after a kill."""
    overrides = (
        "experiment=mnist_bn",
        "steps=1000000",
        "log_every=1",
        "evaluate.at.every=1000",
        "probe.at.every=1000",
    )
    path, folder = planned(*overrides).path, tmp_path / "runs"
    process = start(*typed(*overrides))
    commands = (
        ["list", folder], ["list", "--json", folder], ["table", folder, "--level", "0.5"], ["show", path],
        ["diff", path, path], ["plot", folder, "--y", "train/loss", "--out", tmp_path / "a.png"],
        ["plot", folder, "--percentiles", "--out", tmp_path / "b.png"], ["list", "--csv", folder],
        ["table", folder, "--csv"], ["gc", folder],
    )  # fmt: skip

    def trains():
        return any("test/accuracy" in row for row in read_lines(path / "metrics.jsonl"))

    for begun in ((path / "config.yaml").exists, trains):
        process.until(begun)
        for words in commands:
            code, _, err = runs_py(*words)
            early = re.fullmatch(
                r"runs\.py: (no runs here; |--(y|value|percentiles).*: no run here has ).*\n", err
            )
            assert early or (code, err) == (0, ""), words
        bn.run.frame(folder)
    assert state_of(path).state == "running"
    assert runs_py("rm", path, "--yes")[2].endswith(": running: stop it first\n")
    process.process.kill()
    process.wait()
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()[:-1]]
    assert bn.run.frame(folder)["step"].tolist()[: len(rows)] == [row["step"] for row in rows]
    for words in (*commands[:-1], ["gc", folder, "--yes"]):  # a kill may leave a partial file
        assert runs_py(*words)[0] == 0, words
    assert state_of(path).state == "lost"
