"""Altered committed records are either drawn, or refused in one line that names them."""

import random
import shutil
import warnings

import pytest

from bn.errors import UserError
from experiments import EXPERIMENTS, drawing
from tests.conftest import slowly

TABLES = ("paper_rate", *slowly("figure3", "ablation", "base_rate", "rate_tolerance", "figure4"))
TRIES = 6  # of each record


def altered(text, draw):
    """A row lost, duplicated or cut, a cell replaced, a bit flipped, a column renamed, rows reordered."""
    lines = text.splitlines(keepends=True)
    i, at = draw.randrange(len(lines)), draw.randrange(len(text))
    cells = lines[i].rstrip("\n").split(",")
    cells[draw.randrange(len(cells))] = draw.choice(["abc", "", "nan", "inf", "-1", "1e999", "\0"])
    return draw.choice([
        "".join(lines[:i] + lines[i + 1 :]),
        "".join(lines[: i + 1] + lines[i:]),
        text[:at],
        lines[0],
        "".join([*lines[:i], ",".join(cells) + "\n", *lines[i + 1 :]]),
        text[:at] + chr(ord(text[at]) ^ 1 << draw.randrange(7)) + text[at + 1 :],
        text.replace("network", "netwerk", 1),
        "".join(draw.sample(lines, len(lines))),
    ])  # fmt: skip


def with_others(name, folder):
    """A copy of results/<name> among the other folders, which it may read."""
    for other in drawing.RESULTS.iterdir():
        if other.name != name:
            (folder / other.name).symlink_to(other)
    shutil.copytree(drawing.RESULTS / name, folder / name)
    return folder


@pytest.mark.parametrize("name", TABLES)
def test_one_line_or_drawn(name, tmp_path):
    draw, results = random.Random(name), with_others(name, tmp_path)
    records = [p for p in (results / name).iterdir() if p.suffix in (".csv", ".json") and p.stem != "drawn"]
    lines = []
    for record in records:
        text = record.read_text()
        for _ in range(TRIES):
            record.write_text(altered(text, draw))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # numpy's, of what is no number
                    drawing.make(name, EXPERIMENTS[name], results)
            except UserError as error:
                lines.append(str(error))
            shutil.rmtree(results / name)
            shutil.copytree(drawing.RESULTS / name, results / name)
    assert len(lines) >= len(records)
    assert all(line.isprintable() and name in line for line in lines), lines


def test_an_error_of_the_programs_own_is_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(EXPERIMENTS["paper_rate"], "draw", lambda *_: [][0])
    with pytest.raises(IndexError):
        drawing.make("paper_rate", EXPERIMENTS["paper_rate"], with_others("paper_rate", tmp_path))
