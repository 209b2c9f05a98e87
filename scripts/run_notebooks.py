"""Executes the notebooks and saves their outputs, with figures small enough to commit.

    python scripts/run_notebooks.py         all of notebooks/
    python scripts/run_notebooks.py why     one of them

Figures are saved as PNG with 256 colors, a third of the bytes.
"""

import argparse
import base64
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from PIL import Image

from bn.errors import ArgumentParser
from bn.files import REPOSITORY, write_atomically

NOTEBOOKS = {path.stem: path for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NOTEBOOKS)}")
    names = parser.parse_args().names or list(NOTEBOOKS)
    for name in names:
        if name not in NOTEBOOKS:
            parser.error(f"{name}: unknown; accepted: {', '.join(NOTEBOOKS)}")
    try:
        import nbformat
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        sys.exit(f'run_notebooks.py: {error}; pip install -e ".[notebooks]"')
    for name in names:
        try:
            notebook = executed(NOTEBOOKS[name])
        except CellExecutionError as error:
            sys.exit(f"run_notebooks.py: notebooks/{name}.ipynb: a cell failed\n{error}")
        keep_small_figures(notebook)
        write_atomically(NOTEBOOKS[name], nbformat.writes(notebook) + "\n")
        print(f"run_notebooks.py: notebooks/{name}.ipynb")


def executed(path: Path):
    """Execute a notebook in a new kernel; return nbformat's NotebookNode.

    Raises nbclient's CellExecutionError if a cell fails.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False)
    notebook = client.execute(cwd=str(REPOSITORY))
    notebook.metadata.pop("language_info", None)  # includes the version of the interpreter
    return notebook


def keep_small_figures(notebook) -> None:
    """Convert each PNG output to 256 colors, in place."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if png := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = base64.b64encode(in_256_colors(base64.b64decode(png))).decode()


def in_256_colors(png: bytes) -> bytes:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    small = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    main()
