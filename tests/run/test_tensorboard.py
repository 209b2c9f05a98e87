"""TensorBoard's event files, read with its own reader and through its server."""

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest

from bn.errors import Interrupted
from bn.run.directory import read_lines

pytest.importorskip("tensorboard", reason="tensorboard is not installed")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

RUN = ("experiment=mnist_bn", "logger=tensorboard")


def read_back(run):
    everything = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance=everything)
    return events.Reload()


def check(events, run):
    """They contain each metric of the records once, in float32, and the percentiles' views."""
    rows = read_lines(run.path / "metrics.jsonl")
    for name in {name for row in rows for name in row} - {"step", "wall_s"}:
        expected = [(row["step"], float(np.float32(row[name]))) for row in rows if name in row]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected
    with np.load(run.activations) as arrays:
        steps, medians = arrays["steps"].tolist(), np.median(arrays["layer3"][:, 1], axis=1)
    found = events.Scalars("percentiles/layer3/median_50")
    assert [(event.step, event.value) for event in found] == list(zip(steps, medians.tolist(), strict=True))
    histograms = events.Histograms("inputs/layer3")
    assert [event.step for event in histograms] == steps
    assert {event.histogram_value.num for event in histograms} == {600 * 100}
    (image,) = events.Images("percentiles/figure")
    assert image.step == 120
    assert image.width > 500
    (config,) = events.Tensors("config/text_summary")[-1].tensor_proto.string_val
    assert b"experiment: mnist_bn" in config


def test_the_event_files_match_the_records(trained, undisturbed, bits):
    run = trained(*RUN)
    events = read_back(run)
    check(events, run)
    other = trained(*RUN, "observe=[percentiles,gradient_norms,weight_norms]")
    assert "observe/gradient_norm/layer2" in read_back(other).Tags()["scalars"]
    check(read_back(other), other)
    (layout,) = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val
    for layer in (b"layer1", b"layer2", b"layer3"):
        assert b"percentiles/%s/typical_15" % layer in layout
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


def test_after_a_resume_nothing_is_duplicated(trained, planned, stop_after, monkeypatch):
    with pytest.raises(Interrupted):
        trained(*RUN, stop_signal=stop_after(50))

    def dies(*_):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("bn.tasks.mnist.MnistTask.evaluate_population", dies)
        with pytest.raises(RuntimeError, match="broken"):
            trained(*RUN)  # logs step 100 after a checkpoint of step 80
    run = trained(*RUN)
    assert len(list((run.path / "tensorboard").iterdir())) == 3
    check(read_back(run), run)


def test_starting_again(trained, monkeypatch):
    """Without a checkpoint, step 0 is logged again too."""

    def dies(*_):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("bn.tasks.mnist.MnistTask.evaluate", dies)
        with pytest.raises(RuntimeError, match="broken"):
            trained(*RUN, "checkpoint_every=100")
    run = trained(*RUN, "checkpoint_every=100")
    check(read_back(run), run)


def test_a_folder_that_cannot_be_written_does_not_hurt_the_run(trained, planned, undisturbed, bits, capfd):
    run = planned(*RUN)
    run.path.mkdir(parents=True)
    (run.path / "tensorboard").write_text("no folder")
    trained(*RUN)
    err = capfd.readouterr().err
    assert err.startswith("logger=tensorboard: ")
    assert err.endswith(": continuing without TensorBoard; the local records are complete\n")
    assert err.count("\n") == 1
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


def test_not_installed_is_one_line(cli, typed, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else find(name, *rest)
    )
    code, out, err = cli(*typed(*RUN))
    assert (code, out) == (1, "")
    assert err == (
        'train.py: logger=tensorboard: tensorboard is not installed: pip install -e ".[tensorboard]"\n'
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_tensorboard_serves_it(trained, tmp_path):
    run = trained(*RUN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", tmp_path / "runs", "--host", "127.0.0.1",
         "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(what, **arguments):
        url = f"http://127.0.0.1:{port}/data/{what}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    try:
        until = time.monotonic() + 60
        while True:
            try:
                names = ask("runs")
            except OSError:
                names = []
            if names or time.monotonic() > until:
                break
            time.sleep(0.3)
        (name,) = names
        assert name == str((run.path / "tensorboard").relative_to(tmp_path / "runs"))
        accuracy = ask("plugin/scalars/scalars", run=name, tag="test/accuracy")
        rows = [row for row in read_lines(run.path / "metrics.jsonl") if "test/accuracy" in row]
        assert [(step, value) for _, step, value in accuracy] == [
            (row["step"], pytest.approx(row["test/accuracy"], rel=1e-6)) for row in rows
        ]
        (image,) = ask("plugin/images/images", run=name, tag="percentiles/figure", sample=0)
        assert image["step"] == 120
        distributions = ask("plugin/histograms/histograms", run=name, tag="inputs/layer1")
        assert [step for _, step, _ in distributions] == [0, 30, 60, 120]
        layout = ask("plugin/custom_scalars/layout")
        assert [chart["title"] for chart in layout["category"][0]["chart"]] == ["layer1", "layer2", "layer3"]
    finally:
        server.terminate()
        server.wait()
