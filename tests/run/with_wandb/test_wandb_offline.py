"""An offline run of W&B has the numbers of the local records, and goes on after a resume."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bn.errors import Interrupted
from bn.observe.typical import typical_unit
from bn.run.directory import read_lines
from tests.run.with_wandb.conftest import RUN, offline_runs

pytest.importorskip("wandb", reason="wandb is not installed")


def read_back(folder):
    """The records of an offline run by type, read by W&B's own reader."""
    (record,) = folder.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(record)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {}
    for line in map(json.loads, lines):
        found.setdefault(line["type"], []).append(line.get(line["type"]))
    return found


@pytest.mark.slow
def test_offline_and_the_same_id_after_a_resume(
    trained, command, typed, planned, stop_after, undisturbed, bits
):
    with pytest.raises(Interrupted):
        trained(*RUN, stop_signal=stop_after(60))
    run = planned(*RUN)
    (first,) = offline_runs(run)
    run_id = json.loads((run.path / "wandb.json").read_text())["id"]
    assert first.name.endswith(f"-{run_id}")

    code, out, err = command(*typed(*RUN))
    assert (code, err) == (0, "")
    again = offline_runs(run)
    *ours, sync = out.splitlines()
    assert sync.startswith("train.py: W&B: ")
    assert f"/{run.path.name}/wandb/{again[-1].name}: wandb sync " in sync
    assert sync.endswith(f"/{run.path.name}/wandb/offline-run-*")
    assert "wandb" not in "".join(ours)
    assert len(again) == 2
    for folder in again:
        assert folder.name.endswith(f"-{run_id}")
        (record,) = folder.glob("*.wandb")
        content = record.read_bytes()
        for text in ("test/accuracy", "batch-normalization", f"mnist_bn/{run.path.parent.name}"[:100]):
            assert text.encode() in content
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))
    before, after = map(read_back, again)
    (of_first,), (of_second,) = before["run"], after["run"]
    assert of_first["run_group"] == of_second["run_group"]
    assert of_first["tags"] == of_second["tags"] == ["mnist_bn"]
    assert [each["exit_code"] for each in before["exit"]] == [255]
    assert [each.get("exit_code", 0) for each in after["exit"]] == [0]
    rows = {line["step"]: line for line in read_lines(run.path / "metrics.jsonl")}
    for records, steps in ((before, {0, 20, 30, 40, 60}), (after, {80, 100, 120})):
        history = {each["item"]["_step"]: each["item"] for each in records["history"]}
        assert set(history) == steps
        for step in steps & set(rows):
            assert history[step]["train/loss"] == rows[step]["train/loss"]
    assert after["history"][-1]["item"]["percentiles/layer3/typical_50"]
    (image_file,) = again[1].glob("files/media/images/percentiles/figure_120_*.png")
    with Image.open(image_file) as image:
        assert image.width > 500
    summary = {name: value for each in after["summary"] for name, value in each["update"].items()}
    assert (summary["state"], summary["inputs/layer3._type"]) == ("done", "histogram")


@pytest.mark.slow
def test_an_offline_run_matches_the_records(trained):
    """All metrics of metrics.jsonl, and the percentiles of units and layers."""
    run = trained(*RUN, "observe=[percentiles,gradient_norms,weight_norms]")
    (folder,) = offline_runs(run)
    history = {each["item"]["_step"]: each["item"] for each in read_back(folder)["history"]}
    rows = read_lines(run.path / "metrics.jsonl")
    assert "observe/gradient_norm/layer2" in rows[-1]
    for row in rows:
        logged = {name: value for name, value in row.items() if name not in ("step", "wall_s")}
        assert {name: history[row["step"]].get(name) for name in logged} == logged
    with np.load(run.activations) as arrays:
        for i, step in enumerate(arrays["steps"].tolist()):
            for layer in ("layer1", "layer2", "layer3"):
                unit = typical_unit(arrays[layer][: i + 1])
                for p, of_units in zip((15, 50, 85), arrays[layer][i], strict=True):
                    seen = [
                        history[step][f"percentiles/{layer}/{what}_{p}"] for what in ("typical", "median")
                    ]
                    assert seen == pytest.approx([of_units[unit], np.median(of_units)], rel=1e-6)
                assert history[step][f"inputs/{layer}._type"] == "histogram"
