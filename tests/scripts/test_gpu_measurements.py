"""GPU measurements, rehearsed on the CPU by the same script."""

import json
import sys

import pytest
import torch

from bn.files import REPOSITORY
from bn.run.environment import processor
from scripts import gpu_measurements
from scripts.gpu_measurements import MEASUREMENTS, is_done


@pytest.fixture
def call(monkeypatch, tmp_path, capfd):
    """Run `gpu_measurements.py --device cpu ...` with --out tmp_path/out and no kept records; its output."""
    monkeypatch.setattr(gpu_measurements, "KEPT", tmp_path / "kept")

    def run(*arguments):
        command = ["gpu_measurements.py", "--device", "cpu", "--out", str(tmp_path / "out"), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        gpu_measurements.main()
        return capfd.readouterr().out

    return run


@pytest.mark.slow
def test_all_measurements(call, tmp_path):
    out = tmp_path / "out"
    call()
    assert all(is_done(name, "cpu", out) for name in MEASUREMENTS)
    assert {path.name for path in out.iterdir()} == {
        *(f"{name}.txt" for name in MEASUREMENTS), "cpu.json", "data-cpu.json", "images-cpu.json",
        "parts-cpu.json",
    }  # fmt: skip
    for name in ("cpu", "data-cpu", "images-cpu"):
        assert json.loads((out / f"{name}.json").read_text())["rounds"] == 1
    assert "missing" not in call("--list")
    assert call() == ""  # nothing is measured twice


@pytest.mark.slow
def test_a_record_of_an_earlier_call_is_continued(call, tmp_path):
    """The earlier call left a record with one row, with an impossible speed as a marker."""
    facts = {
        "device": processor(), "torch": torch.__version__, "batch": 32, "size": 32, "width": 0.05,
        "turn_s": 0.0, "rounds": 1,
    }  # fmt: skip
    row = {"name": "plain eager, NCHW", "precision": "float32", "images_per_second": 1e9}
    row |= {"memory": None, "top_five": None}
    key = "training: plain eager, NCHW, float32"
    record = {"facts": facts, "found": {key: [row]}, "commits": {key: "0" * 40}}
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "images-cpu.part.json").write_text(json.dumps(record))
    printed = call("images")
    assert f"{key}:" not in printed
    assert "training: plain eager, channels last, float32:" in printed
    assert json.loads((tmp_path / "out" / "images-cpu.json").read_text())["training"][0] == row
    assert not list((tmp_path / "out").glob("*.part.json"))


def test_a_measurement_that_fails_leaves_its_log_and_the_others_run(call, tmp_path, monkeypatch):
    one = MEASUREMENTS["first"]._replace(rehearsal=("-c", "print('so far'); raise SystemExit('no more')"))
    two = MEASUREMENTS["first"]._replace(rehearsal=("-c", "print('well')"))
    monkeypatch.setattr(gpu_measurements, "MEASUREMENTS", {"first": one, "compiled": two})
    with pytest.raises(SystemExit, match=r"^gpu_measurements.py: failed: first; their logs: "):
        call()
    assert (tmp_path / "out" / "first.txt").read_text().splitlines()[1:3] == ["so far", "no more"]
    assert is_done("compiled", "cpu", tmp_path / "out")
    assert not is_done("first", "cpu", tmp_path / "out")


def test_kept_records_count():
    for one in MEASUREMENTS.values():
        for argument in (*one.command, *one.rehearsal):
            if argument.startswith(("benchmarks/", "tests/")):
                assert (REPOSITORY / argument).exists(), argument
