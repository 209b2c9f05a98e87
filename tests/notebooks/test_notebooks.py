"""Each notebook runs from top to bottom, on the committed results or on runs that it trains."""

import re

import pytest

from bn.files import REPOSITORY

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

from scripts.run_notebooks import NOTEBOOKS, executed  # noqa: E402, nbformat may be absent

# The notebook's machinery (jupyter_client, zmq) warns of its own plumbing.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")

SHOWN = {  # of each: figures, tables of results/, data frames
    "figure1": (3, 2, 0),
    "batch_normalization": (2, 0, 0),
    "inception": (5, 0, 0),
    "why": (12, 0, 0),
    "look_inside": (3, 0, 0),
    "compare": (2, 0, 3),
}
FROM_RECORDS = ("inception", "why")  # whose text follows from results/ alone
LARGEST = 400_000  # bytes
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def test_each_is_run_here() -> None:
    assert NOTEBOOKS.keys() == SHOWN.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_notebook_runs(name: str, monkeypatch) -> None:
    """It shows as many outputs as are committed, and the same text where that follows from records."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    committed = nbformat.read(NOTEBOOKS[name], as_version=4)
    assert shown(committed) == SHOWN[name]
    now = executed(NOTEBOOKS[name])
    assert shown(now) == SHOWN[name]
    if name in FROM_RECORDS:
        assert printed(now) == printed(committed), f"to keep what it shows: run_notebooks.py {name}"


@pytest.mark.parametrize("name", SHOWN)
def test_notebook_is_small_and_its_links_resolve(name: str) -> None:
    path = NOTEBOOKS[name]
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert [link for link in LINK.findall(text) if not (path.parent / link).exists()] == []


def shown(notebook) -> tuple[int, int, int]:
    found = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    figures = ["image/png" in data for data in found]
    tables = ["|---|" in data.get("text/markdown", "") for data in found]
    return sum(figures), sum(tables), sum("<table" in data.get("text/html", "") for data in found)


def printed(notebook) -> list[str]:
    """The printed text of each cell, with its parts joined."""
    return ["".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in notebook.cells]
