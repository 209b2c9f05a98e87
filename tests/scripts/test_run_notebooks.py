"""scripts/run_notebooks.py: saved outputs and errors."""

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image

from bn.files import write_atomically
from scripts import run_notebooks

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")


def test_figures_are_small_and_look_the_same():
    figure = (run_notebooks.REPOSITORY / "results" / "figure1" / "figure1.png").read_bytes()
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(figure).decode()})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    run_notebooks.keep_small_figures(notebook)
    small = base64.b64decode(notebook.cells[0].outputs[0]["data"]["image/png"])
    assert len(small) < len(figure) / 2
    before, after = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int) for png in (figure, small))
    difference = abs(before - after)  # of 255
    assert difference.max() < 50
    assert difference.mean() < 0.5


def test_an_unknown_notebook_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", "figure9"])
    with pytest.raises(SystemExit) as stop:
        run_notebooks.main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("run_notebooks.py: figure9: unknown; accepted: batch_normalization, ")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_a_cell_that_fails_leaves_the_notebook_as_it_was(monkeypatch, tmp_path):
    path = tmp_path / "broken.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    write_atomically(path, nbformat.writes(notebook))
    before = path.read_bytes()
    monkeypatch.setattr(run_notebooks, "NOTEBOOKS", {"broken": path})
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", "broken"])
    with pytest.raises(SystemExit, match=r"run_notebooks.py: notebooks/broken.ipynb: a cell failed") as stop:
        run_notebooks.main()
    assert "ZeroDivisionError" in str(stop.value)
    assert path.read_bytes() == before
