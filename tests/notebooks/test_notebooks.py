"""Each notebook runs from top to bottom, on the committed results or on runs that it trains."""

import pytest

from bn.run.directory import REPOSITORY
from tests.conftest import slowly

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = REPOSITORY / "notebooks"

# The notebook's machinery (jupyter_client, zmq) warns of its own plumbing.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")


def test_each_is_run_here() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {"figure1", "compare"}


@pytest.mark.parametrize(
    ("name", "figures", "tables", "frames"), [("figure1", 3, 2, 0), *slowly(("compare", 2, 0, 3))]
)
def test_notebook_runs(name: str, figures: int, tables: int, frames: int, monkeypatch) -> None:
    """As its committed outputs say, it shows so many figures, tables of results/, and data frames."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert shown(notebook) == (figures, tables, frames)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(REPOSITORY))
    assert shown(notebook) == (figures, tables, frames)


def shown(notebook) -> tuple[int, int, int]:
    found = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    figures = ["image/png" in data for data in found]
    tables = ["|---|" in data.get("text/markdown", "") for data in found]
    return sum(figures), sum(tables), sum("<table" in data.get("text/html", "") for data in found)
