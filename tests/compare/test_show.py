"""scripts/runs.py show: everything about one run."""

import json
import re
import shutil

import numpy as np
import pytest

from bn.observe.typical import typical_unit
from bn.run.checkpoint import list_checkpoints
from bn.run.directory import read_lines
from tests.compare.fake_runs import config_text, line, stat
from tests.compare.test_terminal import in_a_terminal, plain
from tests.conftest import slowly


@pytest.fixture
def shown(undisturbed, listed, tmp_path):
    """A copy of a short run, and the shown sections by title."""
    run = undisturbed("experiment=mnist_bn", "optim.lr=0.5")
    path = shutil.copytree(run.path, tmp_path / "a-copy")
    return path, lambda: sections(listed("show", path))


def sections(lines):
    blocks = "\n".join(lines).strip().split("\n\n")
    return {block.split("\n")[0]: block.split("\n")[1:] for block in blocks}


def starting(found, word):
    (title,) = (title for title in found if title.startswith(word))
    return title, found[title]


def test_config_numbers_curves_percentiles_environment_and_checkpoints(shown):
    path, show = shown
    found = show()
    rows = read_lines(path / "metrics.jsonl")
    assert "  state     done" in next(iter(found.values()))
    _, config = starting(found, "config: experiment=mnist_bn, except for")
    assert ["optim.lr", "0.5", "(0.1)"] in [row.split() for row in config]
    assert not [row for row in config if "nonlinearity" in row]
    numbers = {row.split()[0]: row.split()[1:] for row in found["numbers"]}
    last = rows[-1]
    assert numbers["test/accuracy_population"] == [f"{last['test/accuracy_population']:.4g}", "at", "120"]
    assert numbers["train/loss"][0] == f"{last['train/loss']:.4g}"
    best = max((row["test/accuracy"], -row["step"]) for row in rows if "test/accuracy" in row)
    assert numbers["test/accuracy"][3:] == ["best", f"{best[0]:.4g}", "at", f"{-best[1]}"]
    title, table = starting(found, "percentiles")
    assert title == "percentiles (15, 50, 85) of the input to a typical unit"
    with np.load(path / "activations.npz") as arrays:
        layer = arrays["layer2"]
    unit = typical_unit(layer)
    values = [f"{value:.2f}" for place in (0, len(layer) // 2, -1) for value in layer[place, :, unit]]
    assert ["layer2", str(unit), *values] in [row.split() for row in table]
    env = json.loads((path / "env.json").read_text())
    assert ["torch", env["torch"]] in [row.split() for row in found["environment"]]
    assert env["command"] in " ".join(" ".join(found["environment"]).split())
    title, rows = starting(found, "checkpoints")
    assert re.fullmatch(r"checkpoints; \d\.\d MB in all", title)
    assert [row.split()[:2] for row in rows] == [["step", "80"], ["step", "120"]]
    assert [path / row.split()[-1] for row in rows] == list_checkpoints(path / "checkpoints")
    for name in ("test/accuracy", "train/loss"):
        assert any("⠉" in row or "⣀" in row for row in found[name])


def test_resumptions(shown):
    path, show = shown
    assert not [title for title in show() if title.startswith("resumed")]
    env = json.loads((path / "env.json").read_text())
    again = {key: value for key, value in env.items() if key != "resumed"}
    env["extends"] = {"run": "runs/the/shorter", "steps": 40}
    env["resumed"] = [
        {**again, "step": 40, "host": "another"},
        {**again, "step": 80, "dirty": True, "commit": "b" * 40},
    ]
    (path / "env.json").write_text(json.dumps(env))
    assert ["extends", "runs/the/shorter"] in [row.split() for row in show()["environment"]]
    first, second = show()["resumed 2 times"]
    assert re.match(r"  step 40  \S+  host another", first)
    assert re.fullmatch(r"  step 80  \S+  commit bbbbbbbbbb with changes", second)


def test_an_unknown_experiment_shows_the_whole_config(make, listed):
    config = config_text("mnist_bn").replace("experiment: mnist_bn", "experiment: of_old")
    found = sections(listed("show", make("of_old/a/seed_0", config=config, status=stat("done", 1), lock="")))
    title, rows = starting(found, "config")
    assert title == "config: experiment=of_old, which this clone does not have"
    assert ["model.nonlinearity", "sigmoid"] in [row.split() for row in rows]


def test_a_run_that_has_just_started_and_damaged_records(make, listed):
    path = make("mnist_bn/a/seed_0", config=config_text("mnist_bn"))
    found = sections(listed("show", path))
    assert {"numbers: none yet", "environment: no env.json"} <= found.keys()
    starting(found, "config: experiment=mnist_bn")
    (path / "metrics.jsonl").write_text("x\n")
    (path / "env.json").write_text("[]")
    (path / "activations.npz").write_bytes(b"")
    (path / "config.yaml").write_text("{")
    page = " ".join(" ".join(listed("show", path)).split())
    assert page.count("metrics.jsonl: damaged (line 1: not JSON)") == 1
    assert page.count("env.json: damaged") == 1
    assert page.count("activations.npz: damaged (not an npz file)") == 1
    assert "config: missing or damaged" in page


@pytest.mark.parametrize("columns", [80, *slowly(120)])
def test_it_fits_the_terminal(undisturbed, columns):
    code, written = in_a_terminal(["show", undisturbed("experiment=mnist_bn").path], columns, 50, None)
    rows = plain(written).splitlines()
    assert code == 0
    assert max(map(len, rows)) < columns


def test_refusals(make, refused, tmp_path):
    make("mnist_bn/a/seed_0", metrics=line(1))
    make("mnist_bn/a/seed_1", metrics=line(1))
    assert refused("show", tmp_path / "runs") == (
        f"runs.py: {tmp_path / 'runs'}: contains 2 runs; accepted: the folder of one"
    )
    assert refused("show").startswith("runs.py show: the following arguments are required: RUN")
    assert refused("show", "nothing") == (
        "runs.py: nothing: no such run; accepted: its folder, its name below runs/, or its id in the list"
    )
