"""The rooms of bn/ are layers: each imports only from those before it in LAYERS."""

import ast
from collections.abc import Iterator

import pytest

from bn.files import REPOSITORY

LAYERS = (
    "errors", "files", "signals", "config", "norm", "data", "models", "fused_mlp", "run", "evaluate",
    "observe", "distributed", "tasks", "compare", "cluster", "train", "cli",
)  # fmt: skip
UPWARD = {  # imported when they are called, not with the module
    ("config", "fused_mlp"),  # which settings the fused step supports is stated once, beside it
    ("run", "observe"),  # loggers draw the percentiles
    ("run", "compare"),  # bn.run.frame
    ("compare", "cli"),  # `runs.py show` composes the experiment to tell which keys differ from it
}


def imports(tree: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """The rooms of bn that a module imports, and whether only inside a function or for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bn."):
            yield str(node.module).split(".")[1], lazy
        elif isinstance(node, ast.ImportFrom) and node.module == "bn":
            yield from ((alias.name, lazy) for alias in node.names if alias.name in LAYERS)
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name.split(".")[1], lazy) for alias in node.names if alias.name.startswith("bn.")
            )
        else:
            types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            yield from imports(node, lazy or types_only or isinstance(node, ast.FunctionDef))


def test_every_room_has_its_layer():
    rooms = {path.stem for path in (REPOSITORY / "bn").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__pycache__"} == set(LAYERS)


@pytest.mark.parametrize("room", LAYERS)
def test_imports_lead_to_earlier_layers(room):
    paths = [*(REPOSITORY / "bn" / room).rglob("*.py"), *(REPOSITORY / "bn").glob(f"{room}.py")]
    assert paths
    found = {pair for path in paths for pair in imports(ast.parse(path.read_text())) if pair[0] != room}
    upward = {(room, other, lazy) for other, lazy in found if LAYERS.index(other) > LAYERS.index(room)}
    assert {(one, other) for one, other, _ in upward} <= UPWARD
    assert all(lazy for *_, lazy in upward)
