"""Suggested commands work where they are printed, inside the repository and elsewhere."""

import shlex
import subprocess
import sys

from bn.files import REPOSITORY
from bn.run.commands import command, listing
from bn.run.final_lines import final_lines


def test_inside_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert command("scripts/runs.py", "show", "a b") == "python scripts/runs.py show 'a b'"
    assert listing("runs", "--watch") == "python scripts/runs.py --watch"
    assert listing("/scratch/me") == f"python scripts/runs.py {relative('/scratch/me')}"


def relative(path):
    return "../" * (len(REPOSITORY.parts) - 1) + path.removeprefix("/")


def test_elsewhere_they_run_as_they_are(trained, tmp_path, monkeypatch):
    here = tmp_path / "with spaces and 'quotes'"
    run = trained("experiment=mnist_bn", output=here / "runs")
    monkeypatch.chdir(here)
    (line,) = [line for line in final_lines(run, "done", "") if "next: " in line]
    for typed in (line.partition("next: ")[2], listing(str(here / "runs"))):
        program, *arguments = shlex.split(typed)
        assert program == "python"
        done = subprocess.run([sys.executable, *arguments], cwd=here, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "done" in done.stdout


def test_the_command_that_evaluates_an_image_run(trained, tmp_path, monkeypatch):
    run = trained(
        "experiment=bn_x5", "scale=smoke", "steps=2", "log_every=1", "data.workers=0", "data.feed=stream",
        "probe.examples=32", "evaluate.population_batches=2",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (line,) = [line for line in final_lines(run, "done", "") if "next: " in line]
    program, script, *arguments = shlex.split(line.partition("next: ")[2])
    assert program == "python"
    assert (tmp_path / script).resolve() == REPOSITORY / "evaluate.py"
    (checkpoint,) = [word.partition("=")[2] for word in arguments if word.startswith("checkpoint=")]
    assert (tmp_path / checkpoint).samefile(run.path)
