"""Each program in scripts/ and benchmarks/ starts and describes itself with --help."""

import runpy
import sys

import pytest

from bn.files import REPOSITORY

SCRIPTS = sorted(
    path
    for folder in ("scripts", "benchmarks")
    for path in (REPOSITORY / folder).rglob("*.py")
    if "__main__" in path.read_text()
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_says_what_the_script_is_for(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path), run_name="__main__")
    assert stop.value.code == 0
    summary = path.read_text().removeprefix('"""').split("\n\n")[0]
    assert " ".join(summary.split()) in " ".join(capsys.readouterr().out.split())
