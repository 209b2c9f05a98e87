"""The record of an evaluation, which traces its results, and the table of all records."""

import hashlib
import json
import math
import re

import pytest
import torch

from bn.errors import UserError
from bn.evaluate.records import interval


def test_the_record_traces_the_results(checkpoint, evaluate, on_tree, tmp_path):
    path, data = checkpoint(), on_tree()
    evaluate(path.parents[1], data=data)
    (file,) = (tmp_path / "evaluations").glob("*.json")
    assert re.fullmatch(r"bn_x5__1x1__moving__[0-9a-f]{12}\.json", file.name)
    record = json.loads(file.read_text())
    assert (record["n"], record["crops"], record["models"], record["statistics"]) == (20, 1, 1, "moving")
    assert 0 <= record["top1_correct"] <= record["top5_correct"] <= 20
    assert record["data"]["root"] == data["root"]
    assert (record["data"]["name"], record["data"]["crop"]) == ("cifar10", 14)
    (network,) = record["checkpoints"]
    assert network["path"] == str(path)
    assert network["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (network["name"], network["step"]) == ("bn_x5", 7)
    assert network["config"] == torch.load(path, weights_only=True)["config"]
    assert record["device"]["type"] == "cpu"
    assert record["torch"] == torch.__version__
    assert record["wall_s"] > 0
    assert {"commit", "dirty", "command", "time", "host"} <= record.keys()


def test_an_existing_record_is_reported_without_evaluation(checkpoint, evaluate, on_tree):
    path, data = checkpoint(), on_tree()
    first = evaluate(path, data=data)
    again = evaluate(path, data=data, batch=7)  # the results do not depend on it
    assert first["probabilities"] is not None
    assert again["probabilities"] is None  # nothing was computed
    assert again["line"].startswith(first["line"])
    assert again["line"].endswith(f"(evaluated at {first['time']}; remove the file to evaluate again)")


@pytest.mark.parametrize("change", ["statistics", "precision", "crop", "checkpoint", "images"])
def test_another_evaluation_is_another_record(checkpoint, evaluate, on_tree, tmp_path, change):
    path, data, choices = checkpoint(), on_tree(), {}
    evaluate(path, data=data)
    if change == "checkpoint":
        path = checkpoint(seed=1)
    elif change == "crop":
        data["crop"] = 12
    elif change == "images":
        next((tmp_path / "images" / "val" / "class3").glob("*.png")).unlink()
    else:
        choices = {"statistics": {"statistics": "population"}, "precision": {"precision": "bf16"}}[change]
    assert evaluate(path, data=data, **choices)["probabilities"] is not None
    assert len(list((tmp_path / "evaluations").glob("*.json"))) == 2


def test_the_table_contains_all_records(checkpoint, evaluate, on_tree, tmp_path):
    data = on_tree()
    paths = [checkpoint(seed=0), checkpoint(seed=1), checkpoint("inception", seed=2)]
    ensemble, plain, single = (
        evaluate(*paths, data=data),
        evaluate(paths[2], data=data),
        evaluate(paths[0], data=data),
    )
    lines = (tmp_path / "evaluations" / "table.md").read_text().splitlines()
    assert lines[0].startswith(
        "| networks | data | resolution | crops | models | statistics | top-1 error | "
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:5]]
    assert {row[0]: row[1:6] for row in rows} == {
        "bn_x5 at step 7": ["cifar10", "14", "1", "1", "moving averages"],
        "inception at step 7": ["cifar10", "14", "1", "1", "no BN"],
        "2 x bn_x5 at step 7, inception at step 7": ["cifar10", "14", "1", "3", "moving averages"],
    }
    for row in rows:
        record = {"b": single, "i": plain, "2": ensemble}[row[0][0]]
        for cell, key in ((row[6], "top1_correct"), (row[7], "top5_correct")):
            error = 100 * (1 - record[key] / 20)
            assert cell.startswith(f"{error:.2f}% (")
    assert [row[4] for row in rows] == ["1", "1", "3"]


def test_a_damaged_record(checkpoint, evaluate, on_tree, tmp_path, capfd):
    path, data = checkpoint(), on_tree()
    evaluate(path, data=data)
    (file,) = (tmp_path / "evaluations").glob("*.json")
    file.write_text(file.read_text()[:100])
    with pytest.raises(UserError, match=rf"{file.name}: damaged \(not JSON\): remove it"):
        evaluate(path, data=data)
    evaluate(path, data=data, statistics="population")
    assert f"{file.name}: left out of the table" in capfd.readouterr().err
    table = (tmp_path / "evaluations" / "table.md").read_text()
    assert file.name not in table
    assert "population statistics" in table


def test_an_output_that_cannot_be_written(checkpoint, evaluate, on_tree, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"/file: cannot be written \(File exists\)$"):
        evaluate(checkpoint(), data=on_tree(), output=str(tmp_path / "file"))


@pytest.mark.parametrize(("count", "n"), [(0, 20), (20, 20), (7, 20), (12600, 50000)])
def test_the_interval_is_wilson(count, n):
    """At either end p, the observed fraction is 1.96 standard deviations away."""
    for end in interval(count, n):
        assert abs(count / n - end) == pytest.approx(
            1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-6, abs=1e-12
        )
