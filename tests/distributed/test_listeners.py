"""Something other than torchrun's store at the rendezvous address: ranks time out and respond to signals."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from tests.distributed.conftest import NETWORK

pytestmark = pytest.mark.slow


def silent(connection):
    connection.recv(1 << 16)
    time.sleep(60)


def closes(connection):
    connection.close()


def echoes(connection):
    while content := connection.recv(1 << 16):
        connection.sendall(content)


def web_server(connection):
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    time.sleep(60)


def random_bytes(connection):
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(os.urandom(64))


def drips(connection):
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"\0")
            time.sleep(0.2)


def accepts_none(_):
    pass


LISTENERS = (silent, closes, echoes, web_server, random_bytes, drips, accepts_none)


@pytest.fixture
def listening():
    """A listener on a local port that treats each connection as one of LISTENERS."""
    sockets = []

    def listen(behavior):
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    sockets.append(connection)
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection):
            with contextlib.suppress(OSError):
                behavior(connection)

        if behavior is not accepts_none:
            threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield listen
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("behavior", LISTENERS, ids=lambda one: one.__name__)
def test_a_foreign_listener_ends_the_start_with_one_line(
    start_ranks, typed, planned, listening, behavior, rank
):
    run, port = planned(*NETWORK), listening(behavior)
    began = time.monotonic()
    ranks = start_ranks(2, typed(*NETWORK, "rank_timeout_s=2"), only=[rank], port=port)
    codes, ((_, err),) = ranks.wait()
    assert codes == [1]
    assert time.monotonic() - began < 30
    (line,) = err.splitlines()
    assert line.startswith("train.py: ")
    assert f"127.0.0.1:{port}" in line
    if rank == 0:
        assert run.status["state"] in ("interrupted", "failed")
        assert f"127.0.0.1:{port}" in run.status["reason"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_stopped_while_nothing_answers(start_ranks, typed, planned, listening, until, number):
    run, port = planned(*NETWORK), listening(silent)
    ranks = start_ranks(2, typed(*NETWORK), only=[0], port=port)
    until(lambda: (run.path / "config.yaml").exists())
    time.sleep(0.5)  # it is waiting by now
    ranks.kill(number)
    began = time.monotonic()
    codes, _ = ranks.wait()
    assert codes == [1]
    assert time.monotonic() - began < 10
    assert run.status["state"] == "interrupted"
    assert run.status["reason"] == f"stopped while waiting for torchrun's store at 127.0.0.1:{port}"
