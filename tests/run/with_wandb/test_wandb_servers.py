"""W&B online with a failing server: the run continues, and the announced offline run exists.

Each server listens on the loopback interface and answers all requests alike.
"""

import contextlib
import socket
import threading
import time

import pytest

from bn.run.loggers import wandb as logger

wandb = pytest.importorskip("wandb", reason="wandb is not installed")
RUN = ("experiment=mnist_bn", "logger=wandb", "logger.wandb.mode=online")


def answer(status, body=b"", kind=b"application/json"):
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
        status, kind, len(body), body,
    )  # fmt: skip


def sends(content):
    def serve(connection):
        connection.recv(1 << 16)
        connection.sendall(content)

    return serve


def slowly(connection):
    connection.recv(1 << 16)
    for byte in answer(b"200 OK", b"{}" * 1000):
        connection.sendall(bytes([byte]))
        time.sleep(0.5)


def never(connection):
    time.sleep(60)


SERVERS = {
    "401": sends(answer(b"401 Unauthorized", b'{"errors": [{"message": "no such key"}]}')),
    "403": sends(answer(b"403 Forbidden")),
    "404": sends(answer(b"404 Not Found", b"<html>", b"text/html")),
    "429": sends(answer(b"429 Too Many Requests")),
    "500": sends(answer(b"500 Internal Server Error")),
    "502": sends(answer(b"502 Bad Gateway", b"<html>", b"text/html")),
    "redirected to itself": sends(answer(b"302 Found\r\nLocation: /graphql")),
    "200 and no JSON": sends(answer(b"200 OK", b"<html>", b"text/html")),
    "200 and other JSON": sends(answer(b"200 OK", b"[1]")),
    "garbage": sends(bytes(range(256)) * 40),
    "nothing": lambda connection: None,
    "cut": sends(answer(b"200 OK", b"{" * 1000)[:100]),
    "slowly": slowly,
    "never": never,
}


@pytest.fixture
def server(monkeypatch):
    """Start a server and point W&B to it."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(logger, "START_S", 2.0)
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection, serve):
        with connection, contextlib.suppress(OSError):
            serve(connection)

    def listen(serve):
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=talk, args=(connection, serve), daemon=True).start()

    def start(serve):
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        wandb.teardown()  # it reads its settings once
        threading.Thread(target=listen, args=(serve,), daemon=True).start()

    yield start
    wandb.teardown()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", SERVERS)
def test_the_announced_offline_run_exists(server, trained, undisturbed, bits, capfd, kind):
    server(SERVERS[kind])
    began = time.monotonic()
    run = trained(*RUN)
    assert time.monotonic() - began < 60
    lines = capfd.readouterr().err.splitlines()
    (line,) = (line for line in lines if not line.startswith("wandb: "))  # W&B's own line about the key
    assert line.startswith("logger.wandb.mode=online: ")
    assert ": going offline (`wandb sync " in line
    wandb.teardown()  # as at the end of a process, so that its service writes everything
    (offline,) = (run.path / "wandb").glob("offline-run-*")
    (record,) = offline.glob("*.wandb")
    assert b"test/accuracy" in record.read_bytes()
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


@pytest.mark.slow
def test_an_answer_that_makes_the_service_of_wandb_crash(server, command, typed, planned, undisturbed, bits):
    """It prints a page about that; no offline run is announced, and the run continues."""
    server(sends(answer(b"200 OK", b'{"data": {"viewer": null}}')))
    code, _, err = command(*typed(*RUN))
    assert code == 0
    (line,) = (line for line in err.splitlines() if line.startswith("logger"))
    assert (
        line.endswith(": continuing without W&B; the local records are complete") or "going offline" in line
    )
    assert bits(planned(*RUN)) == bits(undisturbed("experiment=mnist_bn"))
