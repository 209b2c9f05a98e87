"""Weights & Biases: it receives the numbers of the local records, and can fail without affecting the run."""

import json
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bn.cli import planned_run
from bn.config import to_dict
from bn.errors import Interrupted, UserError
from bn.observe.typical import typical_unit
from bn.run.directory import read_lines
from bn.run.loggers import open_loggers

wandb = pytest.importorskip("wandb", reason="wandb is not installed")
RUN = ("experiment=mnist_bn", "logger=wandb")


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path):
    """Hide this user's key, settings, cache and proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "home" / name))


@pytest.fixture
def no_server(monkeypatch):
    """The address of a W&B server that is down."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("WANDB_BASE_URL", url)
    wandb.teardown()  # it reads its settings once
    yield url
    wandb.teardown()


def offline_runs(run):
    return sorted((run.path / "wandb").glob("offline-run-*"))


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


def read_back(folder):
    """The records of an offline run by type, read by W&B's own reader."""
    (record,) = folder.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(record)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {}
    for line in map(json.loads, lines):
        found.setdefault(line["type"], []).append(line.get(line["type"]))
    return found


class FakeRun:
    """Stands for the run that wandb.init returns; raises in the `fails` calls."""

    def __init__(self, fails=()):
        self.fails = fails
        self.logged = []
        self.summary = {}
        self.finished = 0

    def log(self, record, step):
        if "log" in self.fails and step >= 60:
            raise RuntimeError("the service\nis gone")
        self.logged.append((step, record))

    def finish(self, exit_code):
        self.finished += 1
        self.exit_code = exit_code
        if "finish" in self.fails:
            raise BrokenPipeError("the service is gone")


@pytest.fixture
def fake(monkeypatch):
    """Replace wandb.init; records its arguments, and the run it returned or the error it raised."""
    got = SimpleNamespace(calls=[], run=FakeRun())

    def init(**arguments):
        got.calls.append(arguments)
        if isinstance(got.run, Exception):
            raise got.run
        return got.run

    monkeypatch.setattr(wandb, "init", init)
    return got


def test_what_wandb_receives(trained, fake):
    run = trained(*RUN, "logger.wandb.tags=[mine]", "logger.wandb.entity=me")
    (call,) = fake.calls
    assert call["config"] == to_dict(run.config)
    assert json.loads(json.dumps(call["config"])) == call["config"]  # plain values, lists, dicts
    assert type(call["config"]["model"]["hidden"]) is list
    assert call["tags"] == ["mnist_bn", "mine"]
    assert (call["project"], call["entity"], call["mode"]) == ("batch-normalization", "me", "offline")
    assert call["dir"] == run.path
    lines = read_lines(run.path / "metrics.jsonl")
    expected = [(line.pop("step"), {k: v for k, v in line.items() if k != "wall_s"}) for line in lines]
    assert numbers_logged(fake.run) == expected
    last = {name: value for step, record in fake.run.logged if step == 120 for name, value in record.items()}
    assert isinstance(last["inputs/layer3"], wandb.Histogram)
    assert isinstance(last["percentiles/figure"], wandb.Image)
    assert fake.run.finished == 1
    assert fake.run.summary == {"state": "done", "reason": None}


def numbers_logged(run):
    """Those of metrics.jsonl among what a fake run received."""
    return [
        (step, record)
        for step, record in run.logged
        if not any("layer" in n or "figure" in n for n in record)
    ]


def test_the_prepared_sweep_is_a_tag(fake, planned):
    run = planned(*RUN, "logger.wandb.tags=[mine,mnist_bn]")
    run.open()
    run.sweep = "figure1"
    open_loggers(run.config, run)
    run.close()
    assert fake.calls[-1]["tags"] == ["mnist_bn", "figure1", "mine"]


def test_a_member_knows_its_sweep(cli, typed, planned, monkeypatch):
    seen = []
    monkeypatch.setattr("bn.cli.attempt", lambda run, *_, **__: seen.append(run.sweep) or ("done", "well"))
    cli(*typed("sweep=figure1", "experiment=mnist_bn", "seed=0", "hydra/launcher=basic"))
    cli(*typed("experiment=mnist_bn"))
    assert seen == ["figure1", None]


@pytest.fixture
def opened(fake, tmp_path):
    """The arguments of wandb.init for given overrides, without training."""

    def arguments(*overrides):
        run = planned_run(["logger=wandb", *overrides, f"output={tmp_path}"])
        run.open()
        open_loggers(run.config, run)
        run.close()
        return fake.calls[-1]

    return arguments


def test_groups_hold_the_seeds_of_one_setting_and_fit_wandb(opened):
    many = f"model.hidden=[{','.join(map(str, range(20, 60)))}]"
    calls = [
        opened("experiment=mnist_bn", "seed=0"),
        opened("experiment=mnist_bn", "seed=1"),
        opened("experiment=mnist_baseline"),
        opened("experiment=mnist_bn", "optim.lr=0.2"),
        opened("experiment=mnist_bn", many, "optim.lr=0.2", "optim.weight_decay=0.001"),
        opened("experiment=mnist_bn", many, "optim.lr=0.2", "optim.weight_decay=0.002"),
    ]
    groups, names = ([call[key] for call in calls] for key in ("group", "name"))
    assert groups[0] == groups[1]
    assert len(set(groups)) == 5
    assert len(set(names)) == 6
    assert max(map(len, groups + names)) <= 128


@pytest.mark.parametrize(
    ("overrides", "group"),
    [
        (["optim.lr=1", "seed=3"], "mnist_bn/optim.lr-1.0"),
        (["seed=3"], "mnist_bn/default"),
        (["optim.lr=1", "seed=3", "logger.wandb.group=mine"], "mine"),
    ],
)
def test_the_group_is_the_run_directory_without_its_seed(opened, overrides, group):
    call = opened("experiment=mnist_bn", *overrides)
    assert call["group"] == group
    assert call["name"] == f"mnist_bn/{call['dir'].parent.name}/seed_3"


@pytest.mark.parametrize("fails", [("log",), ("finish",), ("log", "finish")], ids="+".join)
def test_a_failure_of_wandb_does_not_hurt_the_run(trained, fake, undisturbed, bits, capfd, fails):
    fake.run = FakeRun(fails)
    run = trained(*RUN)
    assert run.status["state"] == "done"
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "the service is gone: continuing without W&B; the local records are complete" in err


def test_a_failing_start_does_not_hurt_the_run(trained, fake, undisturbed, bits, capfd):
    fake.run = RuntimeError("no room\nfor this run")
    run = trained(*RUN)
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))
    err = capfd.readouterr().err
    assert err.startswith(
        "logger=wandb: RuntimeError: no room for this run: continuing without W&B; the local "
    )
    assert err.count("\n") == 1


def test_an_interrupted_and_a_diverged_run_are_finished_too(trained, fake, stop_after):
    with pytest.raises(Interrupted):
        trained(*RUN, stop_signal=stop_after(30))
    assert (fake.run.finished, fake.run.exit_code) == (1, 255)  # the code for Ctrl-C
    assert fake.run.summary == {"state": "interrupted", "reason": "SIGTERM"}
    trained(*RUN, "model.norm=none", "model.nonlinearity=relu", "optim.lr=1e6")
    assert (fake.run.finished, fake.run.exit_code) == (2, 0)  # divergence is a result
    assert fake.run.summary["state"] == "diverged"
    assert "at step" in fake.run.summary["reason"]


def test_disabled_leaves_nothing(trained, fake):
    run = trained(*RUN, "logger.wandb.mode=disabled")
    assert fake.calls == []
    assert not list(run.path.glob("wandb*"))


def test_online_without_a_key_is_one_line(command, typed, tmp_path, snapshot):
    before = snapshot(tmp_path)
    code, out, err = command(*typed(*RUN, "logger.wandb.mode=online"))
    assert (code, out) == (1, "")
    assert err == (
        "train.py: logger.wandb.mode=online: no W&B key: run `wandb login`, set WANDB_API_KEY, "
        "or choose logger.wandb.mode=offline\n"
    )
    new = {name for name in snapshot(tmp_path) if name not in before and not name.startswith("home")}
    assert new == set()


def test_a_key_is_found_where_wandb_keeps_it(monkeypatch, tmp_path, no_server):
    online = ("experiment=mnist_bn", "logger=wandb", "logger.wandb.mode=online")
    with pytest.raises(UserError, match="no W&B key"):
        planned_run(online)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine example.org login user password 0\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(UserError, match="no W&B key"):
        planned_run(online)
    netrc.write_text(f"machine {no_server.removeprefix('http://')} login user password {'0' * 40}\n")
    assert planned_run(online).config.logger.wandb
    netrc.unlink()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert planned_run(online).config.logger.wandb


@pytest.mark.slow
def test_online_without_a_network_goes_offline_within_seconds(
    cli, typed, planned, undisturbed, bits, monkeypatch, no_server
):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    arguments = (*RUN, "logger.wandb.mode=online")
    began = time.monotonic()
    code, _, err = cli(*typed(*arguments))
    assert time.monotonic() - began < 20
    run = planned(*arguments)
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith(
        "logger.wandb.mode=online: no answer from W&B within 3 s: going offline (`wandb sync "
    )
    assert len(offline_runs(run)) == 1
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


def test_online_where_the_server_refuses_goes_offline(trained, fake, monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        wandb.teardown()

        def init(**arguments):
            fake.calls.append(arguments)
            if arguments["mode"] == "online":
                raise PermissionError("invalid key")
            return fake.run

        monkeypatch.setattr(wandb, "init", init)
        run = trained(*RUN, "logger.wandb.mode=online")
    wandb.teardown()
    assert [call["mode"] for call in fake.calls] == ["online", "offline"]
    assert fake.calls[0]["id"] == fake.calls[1]["id"]
    assert len(numbers_logged(fake.run)) == 6
    assert run.finished
    err = capfd.readouterr().err
    assert err.startswith("logger.wandb.mode=online: PermissionError: invalid key: going offline (")
    assert err.count("\n") == 1


def test_not_installed_is_one_line(cli, typed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, out, err = cli(*typed(*RUN))
    assert (code, out) == (1, "")
    assert err == 'train.py: logger=wandb: wandb is not installed: pip install -e ".[wandb]"\n'
    assert not (tmp_path / "runs").exists()
