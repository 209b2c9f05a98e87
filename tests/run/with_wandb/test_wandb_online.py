"""W&B online: the key, and the offline run that takes over without a network or where the server refuses."""

import socket
import time

import pytest

from bn.cli import planned_run
from bn.errors import UserError
from tests.run.with_wandb.conftest import RUN, numbers_logged, offline_runs

wandb = pytest.importorskip("wandb", reason="wandb is not installed")
ONLINE = (*RUN, "logger.wandb.mode=online")


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


def test_online_without_a_key_is_one_line(command, typed, tmp_path, snapshot):
    before = snapshot(tmp_path)
    code, out, err = command(*typed(*ONLINE))
    assert (code, out) == (1, "")
    assert err == (
        "train.py: logger.wandb.mode=online: no W&B key: run `wandb login`, set WANDB_API_KEY, "
        "or choose logger.wandb.mode=offline\n"
    )
    new = {name for name in snapshot(tmp_path) if name not in before and not name.startswith("home")}
    assert new == set()


def test_a_key_is_found_where_wandb_keeps_it(monkeypatch, tmp_path, no_server):
    with pytest.raises(UserError, match="no W&B key"):
        planned_run(ONLINE)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine example.org login user password 0\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(UserError, match="no W&B key"):
        planned_run(ONLINE)
    netrc.write_text(f"machine {no_server.removeprefix('http://')} login user password {'0' * 40}\n")
    assert planned_run(ONLINE).config.logger.wandb
    netrc.unlink()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert planned_run(ONLINE).config.logger.wandb


@pytest.mark.slow
def test_online_without_a_network_goes_offline_within_seconds(
    cli, typed, planned, undisturbed, bits, monkeypatch, no_server
):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    began = time.monotonic()
    code, _, err = cli(*typed(*ONLINE))
    assert time.monotonic() - began < 20
    run = planned(*ONLINE)
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
        run = trained(*ONLINE)
    wandb.teardown()
    assert [call["mode"] for call in fake.calls] == ["online", "offline"]
    assert fake.calls[0]["id"] == fake.calls[1]["id"]
    assert len(numbers_logged(fake.run)) == 6
    assert run.finished
    err = capfd.readouterr().err
    assert err.startswith("logger.wandb.mode=online: PermissionError: invalid key: going offline (")
    assert err.count("\n") == 1
